// A backend that speaks the wire by hand, for what no proper receiver would do. It keeps every client it is offered until the
// test says what becomes of it; it decodes nothing but where a message ends.
import { chmodSync } from 'node:fs';
import { loadNative, RECORD, RECORD_FLAG } from '#native/index.js';
import { until } from './until.js';

const native = loadNative();

export const TAKEN = 0x06;
export const REFUSED = 0x15;

/** One connection of a sender, and the client that came with it. */
export class Offer {
  /** What came so far, as latin1. */
  bytes = '';
  /** The sender has ended the connection. */
  isOver = false;
  /** The client, once it is here. */
  client: number | undefined;
  readonly #connection: number;
  readonly #listener: InstanceType<typeof native.FdListener>;
  #detached: number | undefined;
  #isClosed = false;

  constructor(listener: InstanceType<typeof native.FdListener>, connection: number) {
    this.#listener = listener;
    this.#connection = connection;
  }

  get isWhole(): boolean {
    const digits = /^(\d+):/.exec(this.bytes);
    if (digits === null) return false;
    const earlyBytes = /^\d+:CONTENT_LENGTH\0(\d+)\0/.exec(this.bytes)?.[1] ?? '0';
    return this.bytes.length >= digits[0].length + Number(digits[1]) + 1 + Number(earlyBytes);
  }

  /** Ends the connection, behind `byte` if there is one. @returns 0, or the errno of a byte that could not be sent */
  close(byte?: number): number {
    if (this.#isClosed) return 0;
    this.#isClosed = true;
    if (this.#detached !== undefined) {
      native.closeFd(this.#detached);
      return 0;
    }
    return this.#listener.closeConnection(this.#connection, byte);
  }

  /** Sends a byte and keeps the connection open, on which nothing more is read. */
  reply(byte: number): void {
    const fd = this.#listener.detachConnection(this.#connection, byte);
    if (fd < 0) throw new Error(`the sender is gone: errno ${-fd}`);
    this.#detached = native.takeFd(fd);
  }

  /** Answers the client and ends it, also where another backend has a copy. */
  answer(text: string): void {
    if (this.client === undefined) throw new Error('no client came');
    native.write(this.client, Buffer.from(text, 'latin1'));
    native.shutdown(this.client, 1);
    this.drop();
  }

  /** So many bytes of the client, as latin1. */
  async read(length: number): Promise<string> {
    const bytes = Buffer.alloc(length + 1);
    let read = 0;
    await until(`the client has sent ${length} bytes`, () => {
      if (read < length) read += Math.max(0, native.read(this.client ?? -1, bytes.subarray(read)));
      return read >= length;
    });
    return bytes.toString('latin1', 0, read);
  }

  /** Lets go of the client without a word. */
  drop(): void {
    if (this.client !== undefined) native.closeFd(this.client);
    this.client = undefined;
  }
}

export class WireBackend {
  readonly offers: Offer[] = [];
  readonly #listener: InstanceType<typeof native.FdListener>;

  /** @param behave called whenever something came on a connection @param isReading without: it listens, and never accepts */
  constructor(path: string, behave: (offer: Offer) => void = () => {}, isReading = true) {
    const offers = new Map<number, Offer>();
    this.#listener = new native.FdListener(
      listeningSocket(path, 4096),
      { maxBatch: 64, messageTimeoutMs: 600_000, maxPendingConnections: 4096, minFreeDescriptors: 16 },
      (bytes, records) => {
        for (let at = 0; at < records.length; at += RECORD.STRIDE) {
          const field = (name: Exclude<keyof typeof RECORD, 'STRIDE'>): number =>
            records[at + RECORD[name]] ?? 0;
          const connection = field('CONNECTION');
          let offer = offers.get(connection);
          if (offer === undefined) {
            offer = new Offer(this.#listener, connection);
            offers.set(connection, offer);
            this.offers.push(offer);
          }
          offer.bytes += bytes.toString('latin1', field('OFFSET'), field('OFFSET') + field('LENGTH'));
          offer.isOver ||= (field('FLAGS') & (RECORD_FLAG.EOF | RECORD_FLAG.ERROR)) !== 0;
          if (field('FD_COUNT') > 0) offer.client = native.takeFd(field('FD_0'));
          behave(offer);
        }
      },
    );
    if (isReading) this.#listener.start();
  }

  /** Begins to read, where it did not from the start. */
  start(): void {
    this.#listener.start();
  }

  close(): void {
    for (const offer of this.offers) {
      offer.drop();
      offer.close();
    }
    this.#listener.close();
  }
}

/** A listening socket that any user may connect to; returns ownership. */
export function listeningSocket(path: string, backlog: number): number {
  const fd = native.bindUnix(path, 0o666);
  // nginx's workers are another user, whatever the umask here.
  chmodSync(path, 0o666);
  native.listen(fd, backlog);
  return fd;
}

/** A socket on which nobody accepts, with a full accept queue; returns what ends it. */
export function fullQueue(path: string): () => void {
  const fds = [listeningSocket(path, 1)];
  try {
    for (;;) fds.push(native.connectUnix(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
  }
  return () => {
    for (const fd of fds) native.closeFd(fd);
  };
}

/** Accepts, answers without having read anything, and stays; returns what ends it. */
export function answeringUnread(path: string, byte: number): () => void {
  const listening = listeningSocket(path, 16);
  const fds = [listening];
  const poller = new native.FdPoller(listening, () => {
    for (let fd = native.accept(listening); fd !== -1; fd = native.accept(listening)) {
      fds.push(fd);
      native.write(fd, Buffer.of(byte));
    }
  });
  poller.start(native.constants.READABLE);
  return () => {
    poller.close();
    for (const fd of fds) native.closeFd(fd);
  };
}
