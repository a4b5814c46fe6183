// A client that sends the bytes it is told to, when it is told to, and remembers what came back.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export class RawClient {
  readonly socket: Socket;
  /** What came so far, as latin1. */
  received = '';
  /** The code of the error the connection ended with, if it did. */
  error: string | undefined;
  readonly #closed: Promise<unknown>;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code;
    });
    this.#closed = new Promise((resolve) => socket.on('close', resolve));
  }

  /** @param target a TCP port, or the path of a UNIX socket */
  static async connect(target: number | string, host = '127.0.0.1'): Promise<RawClient> {
    const place = typeof target === 'string' ? { path: target } : { port: target, host };
    const client = new RawClient(connect({ ...place, allowHalfOpen: true }));
    await once(client.socket, 'connect');
    return client;
  }

  /** A client of a socket that exists; it must allow half-open connections. */
  static of(socket: Socket): RawClient {
    return new RawClient(socket);
  }

  /** Resolves when the kernel has the bytes. */
  send(bytes: string | Buffer): Promise<void> {
    return new Promise((resolve) => {
      this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, () => resolve());
    });
  }

  /** Everything until the other side ends; then this side ends too. */
  async readToEnd(): Promise<string> {
    if (!this.socket.readableEnded && !this.socket.destroyed) {
      await Promise.race([once(this.socket, 'end'), this.#closed]).catch(() => {});
    }
    this.socket.end();
    await this.#closed;
    return this.received;
  }

  /** Resolves when `received` contains `text`. @throws if the connection closes before */
  async readUntil(text: string): Promise<string> {
    while (!this.received.includes(text)) {
      if (this.socket.destroyed)
        throw new Error(`closed before ${JSON.stringify(text)} came: ${this.received}`);
      await Promise.race([once(this.socket, 'data'), this.#closed]);
    }
    return this.received;
  }

  close(): Promise<unknown> {
    this.socket.destroy();
    return this.#closed;
  }
}
