// A web server's part in handovers the front door does not make: partial ones, where it keeps reading the client and relays
// the bytes over the UNIX connection (as nginx does while it decrypts), and those of the public module's dialect.
import { Socket } from 'node:net';
import { encodeMessage, PassedFd, Sender } from '@fdpass/scgi-fdpass';
import { TcpListener } from '../front-door/listener.js';
import { type RequestHead, RequestHeadParser } from '../front-door/request-head-parser.js';
import { scgiVariables } from '../front-door/scgi-variables.js';
import { type FdPoller, native } from '../native.js';
import { rawAnswer } from '../raw-answer.js';
import type { Gateway } from './index.js';

interface PassingOptions {
  kind: 'full' | 'partial';
  version: 0 | 1;
  variables: Readonly<Record<string, string>>;
}

const LIMITS = { maxHeadBytes: 64 * 1024, maxFields: 256 };

export class PassingGateway implements Gateway {
  readonly port: number;
  readonly #path: string;
  readonly #options: PassingOptions;
  readonly #listener: TcpListener;
  /** Their head is not whole yet. */
  readonly #clients = new Map<PassedFd, FdPoller>();
  /** Being handed over. */
  readonly #passes = new Set<Promise<void>>();
  readonly #sockets = new Set<Socket>();

  static async open(path: string, options: PassingOptions): Promise<PassingGateway> {
    return new PassingGateway(path, options);
  }

  private constructor(path: string, options: PassingOptions) {
    this.#path = path;
    this.#options = options;
    this.#listener = TcpListener.claim('127.0.0.1', 0, {
      onClient: (fd) => this.#onClient(new PassedFd(fd)),
      onAcceptError: () => {},
    });
    this.port = this.#listener.address.port;
    this.#listener.start();
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    this.#listener.close();
    for (const [client, poller] of this.#clients) {
      poller.close();
      client.close();
    }
    this.#clients.clear();
    await Promise.all(this.#passes);
    await Promise.all(
      [...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve).destroy())),
    );
  }

  /** Reads until the head is whole and not once more: what stays in the kernel is the backend's to read. */
  #onClient(client: PassedFd): void {
    const parser = new RequestHeadParser(LIMITS);
    const buffer = Buffer.alloc(LIMITS.maxHeadBytes);
    let length = 0;
    const poller = new (native().FdPoller)(client.fd, () => {
      let head: RequestHead | undefined;
      try {
        const count = native().read(client.fd, buffer.subarray(length));
        if (count === -1) return;
        length += count;
        head = count === 0 ? undefined : parser.parse(buffer, length);
        if (count > 0 && head === undefined) return;
      } catch {
        // A head that no web server passes on, or a client that is gone.
        answerBadRequest(client.fd);
      }
      poller.close();
      this.#clients.delete(client);
      if (head === undefined) return client.close();
      const pass = this.#pass(client, head, buffer.subarray(head.headBytes, length))
        // A backend that is down, or again a client that is gone.
        .catch(() => client.close())
        .finally(() => this.#passes.delete(pass));
      this.#passes.add(pass);
    });
    this.#clients.set(client, poller);
    poller.start(native().constants.READABLE);
  }

  async #pass(client: PassedFd, head: RequestHead, early: Buffer): Promise<void> {
    const headers: [string, string][] = [
      ...scgiVariables(head, native().peerAddress(client.fd), native().localAddress(client.fd)),
      ...Object.entries(this.#options.variables),
    ];
    // Without HTTPS: the kernel says that this is no TLS, and the backend asks it.
    if (this.#options.kind === 'partial') headers.unshift(['KTLS_RX', '0']);
    const connection =
      this.#options.version === 1
        ? await this.#send(headers, early, client)
        : this.#sendBlindly(headers, client);
    // Handed over in full, or refused: our copy of the client goes; a shutdown would act on the shared socket.
    if (connection === undefined) return client.close();
    const reader = new Socket({ fd: client.take(), readable: true, writable: true, allowHalfOpen: true });
    this.#relay(this.#track(reader), this.#track(connection));
  }

  async #send(headers: [string, string][], early: Buffer, client: PassedFd): Promise<Socket | undefined> {
    const outcome = await new Sender({ path: this.#path }).send({
      headers,
      earlyBytes: early,
      fd: client.fd,
    });
    if (!outcome.taken || outcome.connection === undefined) return undefined;
    return unixSocket(outcome.connection);
  }

  /** As the public module does: no early bytes, no acknowledgement. */
  #sendBlindly(headers: [string, string][], client: PassedFd): Socket | undefined {
    const connection = new PassedFd(native().connectUnix(this.#path));
    native().sendFds(connection.fd, encodeMessage({ headers }), [client.fd]);
    if (this.#options.kind === 'partial') return unixSocket(connection);
    connection.close();
    return undefined;
  }

  /** The client's bytes go to the backend; its polite end becomes SHUT_WR, anything else a close; the backend's close ends both. */
  #relay(reader: Socket, connection: Socket): void {
    reader.on('data', (chunk) => {
      if (!connection.write(chunk)) reader.pause();
    });
    connection.on('drain', () => reader.resume());
    reader.on('end', () => connection.end());
    reader.on('error', () => connection.destroy());
    connection.on('error', () => reader.destroy());
    connection.on('close', () => reader.destroy());
    connection.on('end', () => connection.destroy());
    connection.resume();
    reader.resume();
  }

  #track(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    return socket.once('close', () => this.#sockets.delete(socket));
  }
}

function answerBadRequest(fd: number): void {
  try {
    native().write(fd, Buffer.from(rawAnswer(400)));
  } catch {
    // Nobody is left to be told.
  }
}

const unixSocket = (connection: PassedFd): Socket =>
  new Socket({ fd: connection.take(), readable: true, writable: true, allowHalfOpen: true });
