// A TCP client that sends the bytes it is told to, when it is told to, and remembers what came back.
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

  static async connect(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const client = new RawClient(connect({ port, host, allowHalfOpen: true }));
    await once(client.socket, 'connect');
    return client;
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

  /** Resolves when `received` contains `text`. */
  async readUntil(text: string): Promise<string> {
    while (!this.received.includes(text)) await once(this.socket, 'data');
    return this.received;
  }

  close(): Promise<unknown> {
    this.socket.destroy();
    return this.#closed;
  }
}
