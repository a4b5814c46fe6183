// What has come and gone on a socket since it was upgraded, and since when: there is no request and no answer any more to count.
import type { Duplex } from 'node:stream';

/** Node.js's own counters of a socket. */
type CountingSocket = Duplex & { readonly bytesRead?: number; readonly bytesWritten?: number };

export class UpgradedBytes {
  readonly startedMs = performance.now();
  readonly #socket: CountingSocket;
  readonly #read: number;
  readonly #written: number;

  /** @param earlyBytes of the client's, read already behind its request */
  constructor(socket: CountingSocket, earlyBytes: number) {
    this.#socket = socket;
    this.#read = (socket.bytesRead ?? 0) - earlyBytes;
    this.#written = socket.bytesWritten ?? 0;
  }

  get received(): number {
    return (this.#socket.bytesRead ?? 0) - this.#read;
  }

  /** With the head of the answer, which the application writes itself. */
  get sent(): number {
    return (this.#socket.bytesWritten ?? 0) - this.#written;
  }
}
