// A backend that can keep the connections of a sender, by hand: it answers messages when and as the test says, and serves clients with
// a few bytes. It decodes nothing but where a message ends, and which target the client asked for.
import { type FdListener, loadNative, RECORD, RECORD_FLAG } from '#native/index.js';
import { listeningSocket } from './wire-backend.js';

const native = loadNative();

/** Taken, and the connection stays. */
export const KEPT = 0x16;

/** What stands behind the netstring's length: where the message ends. */
function endOfMessage(bytes: string): number | undefined {
  const digits = /^(\d+):/.exec(bytes);
  if (digits === null) return undefined;
  const earlyBytes = /^\d+:CONTENT_LENGTH\0(\d+)\0/.exec(bytes)?.[1];
  if (earlyBytes === undefined) return undefined;
  return digits[0].length + Number(digits[1]) + 1 + Number(earlyBytes);
}

/** A whole message, and the client that came with it. */
export class ChannelMessage {
  readonly connection: ChannelConnection;
  readonly bytes: string;
  #client: number | undefined;

  constructor(connection: ChannelConnection, bytes: string, client: number) {
    this.connection = connection;
    this.bytes = bytes;
    this.#client = client;
  }

  /** The values of a header, as often as it came. */
  values(name: string): string[] {
    const parts = this.bytes.slice(this.bytes.indexOf(':') + 1).split('\0');
    return parts.filter((_value, at) => at % 2 === 1 && parts[at - 1] === name);
  }

  get target(): string {
    return this.values('REQUEST_URI')[0] ?? '';
  }

  /** Answers the client with a 200 and ends it, also where another process has a copy. */
  serve(body: string): void {
    if (this.#client === undefined) throw new Error('the client is gone');
    const head = `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`;
    native.write(this.#client, Buffer.from(head + body, 'latin1'));
    native.shutdown(this.#client, 1);
    this.drop();
  }

  /** Lets go of the client without a word. */
  drop(): void {
    if (this.#client !== undefined) native.closeFd(this.#client);
    this.#client = undefined;
  }
}

/** One connection of a sender. */
export class ChannelConnection {
  /** In the order they came. */
  readonly messages: ChannelMessage[] = [];
  /** The sender has ended it. */
  isOver = false;
  /** This side has. */
  isClosed = false;
  readonly #listener: FdListener;
  readonly #id: number;
  #rest = '';
  readonly #clients: number[] = [];

  constructor(listener: FdListener, id: number) {
    this.#listener = listener;
    this.#id = id;
    listener.keepConnection(id);
  }

  /** Sends answers, all in one piece. @returns 0, or the errno */
  answer(...bytes: number[]): number {
    return this.#listener.answer(this.#id, Buffer.from(bytes), bytes.length);
  }

  /** Ends it, behind `byte` if there is one. @returns 0, or the errno */
  close(byte?: number): number {
    this.isClosed = true;
    return this.#listener.closeConnection(this.#id, byte);
  }

  /** Lets go of every client. */
  drop(): void {
    for (const message of this.messages) message.drop();
    for (const fd of this.#clients.splice(0)) native.closeFd(fd);
  }

  /** The messages that became whole by this. */
  received(bytes: string, client: number | undefined): ChannelMessage[] {
    this.#rest += bytes;
    if (client !== undefined) this.#clients.push(client);
    const whole: ChannelMessage[] = [];
    for (let end = endOfMessage(this.#rest); end !== undefined; end = endOfMessage(this.#rest)) {
      if (this.#rest.length < end) break;
      const fd = this.#clients.shift();
      if (fd === undefined) throw new Error('a message without its client');
      whole.push(new ChannelMessage(this, this.#rest.slice(0, end), fd));
      this.#rest = this.#rest.slice(end);
    }
    this.messages.push(...whole);
    return whole;
  }
}

export class ChannelBackend {
  /** In the order they were accepted. */
  readonly connections: ChannelConnection[] = [];
  /** Of all connections, in the order they came. */
  readonly messages: ChannelMessage[] = [];
  readonly #listener: FdListener;

  /** @param behave what becomes of a message that is whole */
  constructor(path: string, behave: (message: ChannelMessage) => void = () => {}) {
    const connections = new Map<number, ChannelConnection>();
    this.#listener = new native.FdListener(
      listeningSocket(path, 4096),
      { maxBatch: 64, messageTimeoutMs: 600_000, maxPendingConnections: 4096, minFreeDescriptors: 16 },
      (bytes, records) => {
        for (let at = 0; at < records.length; at += RECORD.STRIDE) {
          const field = (name: Exclude<keyof typeof RECORD, 'STRIDE'>): number =>
            records[at + RECORD[name]] ?? 0;
          const id = field('CONNECTION');
          const client = field('FD_COUNT') > 0 ? native.takeFd(field('FD_0')) : undefined;
          let connection = connections.get(id);
          if (connection === undefined) {
            connection = new ChannelConnection(this.#listener, id);
            connections.set(id, connection);
            this.connections.push(connection);
          }
          connection.isOver ||= (field('FLAGS') & (RECORD_FLAG.EOF | RECORD_FLAG.ERROR)) !== 0;
          const from = field('OFFSET');
          for (const message of connection.received(
            bytes.toString('latin1', from, from + field('LENGTH')),
            client,
          )) {
            this.messages.push(message);
            behave(message);
          }
        }
      },
    );
    this.#listener.start();
  }

  /** What came for a target, in order. */
  messagesFor(target: string): ChannelMessage[] {
    return this.messages.filter((message) => message.target === target);
  }

  close(): void {
    for (const connection of this.connections) {
      connection.drop();
      connection.close();
    }
    this.#listener.close();
  }
}

/** Takes each client and keeps its connection; the client gets `name` and its target. */
export const keeping =
  (name = 'kept') =>
  (message: ChannelMessage): void => {
    if (message.connection.answer(KEPT) === 0) message.serve(`${name} ${message.target}`);
    else message.drop();
  };
