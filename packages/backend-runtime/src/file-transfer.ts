// Sends a piece of a file on an adopted connection by sendfile(2), past http.ServerResponse and past this process's memory.
// Waits for room on a duplicate of the client's descriptor, so that a connection closed underneath it can harm nobody else. While the
// process has no descriptor left for that, it goes through memory, a piece at a time.
import { read } from 'node:fs';
import { PassedFd } from '@fdpass/scgi-fdpass';
import type { Connection } from './connection.js';
import { RuntimeError } from './errors.js';
import { type FdPoller, native } from './native.js';

/** Bytes per job in the thread pool. A job gives way to others long before; this bounds what a closed connection is still sent. */
const STEP_BYTES = 64 * 1024 * 1024;

/** A process that lacks descriptors at the moment. */
const SHORTAGES: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE']);
/** What is copied then before it is tried again without a copy. */
const PIECE_BYTES = 64 * 1024;

export class FileTransfer {
  readonly #connection: Connection;
  readonly #fileFd: number;
  #offset: number;
  #remaining: number;
  readonly #onBytes: (bytes: number) => void;
  #writable: { readonly fd: PassedFd; readonly poller: FdPoller } | undefined;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};

  /**
   * @param fileFd borrowed until the transfer has ended
   * @param onBytes told of each piece that the kernel has
   */
  constructor(
    connection: Connection,
    fileFd: number,
    offset: number,
    length: number,
    onBytes: (bytes: number) => void,
  ) {
    this.#connection = connection;
    this.#fileFd = fileFd;
    this.#offset = offset;
    this.#remaining = length;
    this.#onBytes = onBytes;
  }

  /**
   * Runs after everything written before. Resolves when the kernel has it all.
   * @throws system errors of the client's socket (EPIPE, ECONNRESET); `BKR_ERR_SEND_FILE` if the file became shorter
   */
  async run(): Promise<void> {
    const { socket } = this.#connection;
    // It may have been ended in the meantime, by an answer to what is no request.
    if (!socket.writable) throw gone();
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

  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (SHORTAGES.has((error as NodeJS.ErrnoException).code)) this.#copyPiece();
      else this.#reject(error as Error);
    }
  }

  /** Takes no descriptor. To wait for one could be for ever: all may be held by transfers that wait, two by each. */
  #copyPiece(): void {
    const piece = Buffer.allocUnsafeSlow(Math.min(this.#remaining, PIECE_BYTES));
    read(this.#fileFd, piece, 0, piece.length, this.#offset, (error, count) => {
      if (error !== null) this.#reject(error);
      else if (count === 0) this.#reject(becameShorter());
      else this.#writePiece(piece.subarray(0, count));
    });
  }

  #writePiece(piece: Buffer): void {
    const { socket } = this.#connection;
    if (!socket.writable) return this.#reject(gone());
    const onClose = (): void => this.#reject(gone());
    socket.once('close', onClose);
    socket.write(piece, (error) => {
      socket.off('close', onClose);
      if (error) return this.#reject(error);
      // net.Socket calls what it has cut off written.
      if (socket.destroyed) return this.#reject(gone());
      this.#advance(piece.length);
      this.#step();
    });
  }

  #onSent(error: Error | null, bytes: number, wouldBlock: boolean): void {
    if (error !== null) return this.#reject(error);
    if (bytes === 0 && !wouldBlock) {
      return this.#reject(becameShorter());
    }
    this.#advance(bytes);
    const { socket } = this.#connection;
    // net.Socket refreshes its idle timeout for bytes it writes itself.
    if (socket.timeout !== undefined && socket.timeout > 0) socket.setTimeout(socket.timeout);
    if (wouldBlock && !socket.destroyed) this.#attempt(() => this.#awaitWritable());
    else this.#step();
  }

  #advance(bytes: number): void {
    this.#offset += bytes;
    this.#remaining -= bytes;
    this.#onBytes(bytes);
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
