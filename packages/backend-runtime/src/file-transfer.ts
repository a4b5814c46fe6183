// Sends a piece of a file on an adopted connection by sendfile(2), past http.ServerResponse and past this process's memory.
// Waits for room on a duplicate of the client's descriptor, so that a connection closed underneath it can harm nobody else.
import { PassedFd } from '@fdpass/scgi-fdpass';
import type { Connection } from './connection.js';
import { RuntimeError } from './errors.js';
import { type FdPoller, native } from './native.js';

/** Bytes per job in the thread pool: long enough to be cheap, short enough that downloads take turns. */
const STEP_BYTES = 4 * 1024 * 1024;

/** A process that lacks descriptors at the moment: the head is out already, so the rest waits for some. */
const SHORTAGES: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE']);
const SHORTAGE_RETRY_MS = 50;

export class FileTransfer {
  readonly #connection: Connection;
  readonly #fileFd: number;
  #offset: number;
  #remaining: number;
  #writable: { readonly fd: PassedFd; readonly poller: FdPoller } | undefined;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};

  /** @param fileFd borrowed until the transfer has ended */
  constructor(connection: Connection, fileFd: number, offset: number, length: number) {
    this.#connection = connection;
    this.#fileFd = fileFd;
    this.#offset = offset;
    this.#remaining = length;
  }

  /**
   * Runs after everything written before. Resolves when the kernel has it all.
   * @throws system errors of the client's socket (EPIPE, ECONNRESET); `BKR_ERR_SEND_FILE` if the file became shorter
   */
  async run(): Promise<void> {
    const { socket } = this.#connection;
    await new Promise<void>((resolve, reject) => {
      socket.write('', (error) => (error ? reject(error) : resolve()));
    });
    if (socket.destroyed) throw gone();
    this.#connection.isSendingFile = true;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
        this.#step();
      });
    } finally {
      this.#connection.isSendingFile = false;
      this.#writable?.poller.close();
      this.#writable?.fd.close();
    }
  }

  #step(): void {
    if (this.#remaining === 0) return this.#resolve();
    // Its descriptor may be another's by now.
    if (this.#connection.socket.sink.destroyed) return this.#reject(gone());
    const length = Math.min(this.#remaining, STEP_BYTES);
    this.#attempt(() =>
      native().sendfile(
        this.#connection.writeFd,
        this.#fileFd,
        this.#offset,
        length,
        (error, bytes, wouldBlock) => this.#onSent(error, bytes, wouldBlock),
      ),
    );
  }

  /** A client that takes nothing in the meantime is the write-stall timeout's to close. */
  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!SHORTAGES.has((error as NodeJS.ErrnoException).code)) return this.#reject(error as Error);
      setTimeout(() => this.#step(), SHORTAGE_RETRY_MS);
    }
  }

  #onSent(error: Error | null, bytes: number, wouldBlock: boolean): void {
    if (error !== null) return this.#reject(error);
    if (bytes === 0 && !wouldBlock) {
      return this.#reject(becameShorter());
    }
    this.#offset += bytes;
    this.#remaining -= bytes;
    const { socket } = this.#connection;
    // net.Socket refreshes its idle timeout for bytes it writes itself.
    if (socket.timeout !== undefined && socket.timeout > 0) socket.setTimeout(socket.timeout);
    if (wouldBlock && !socket.destroyed) this.#attempt(() => this.#awaitWritable());
    else this.#step();
  }

  #awaitWritable(): void {
    this.#writable ??= this.#openPoller();
    this.#connection.socket.once('close', this.#resume);
    this.#writable.poller.start(native().constants.WRITABLE);
  }

  #openPoller(): { fd: PassedFd; poller: FdPoller } {
    const fd = new PassedFd(native().dupFd(this.#connection.writeFd));
    try {
      return { fd, poller: new (native().FdPoller)(fd.fd, this.#resume) };
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  readonly #resume = (): void => {
    this.#writable?.poller.stop();
    this.#connection.socket.off('close', this.#resume);
    this.#step();
  };
}

/** What a file does under those who send it. */
export const becameShorter = (): RuntimeError =>
  new RuntimeError('BKR_ERR_SEND_FILE', 'the file became shorter while it was sent');

const gone = (): Error =>
  Object.assign(new Error('The client closed the connection before the file was sent'), {
    code: 'ECONNRESET',
  });
