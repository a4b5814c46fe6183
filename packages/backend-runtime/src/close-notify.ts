// The end of what this side says under kernel TLS: one alert record, which the kernel never sends by itself. Without it a client
// cannot tell an answer that was cut from one that is over (RFC 8446, section 6.1).
import { PassedFd } from '@fdpass/scgi-fdpass';
import { type FdPoller, native } from './native.js';
import { isConnected } from './tcp-state.js';

const WARNING = 1;
const CLOSE_NOTIFY = 0;
const FIRST_LOOK_MS = 1;
const LONGEST_PAUSE_MS = 64;

export class CloseNotify {
  readonly #fd: number;
  #waiting: { readonly fd: PassedFd; readonly poller: FdPoller } | undefined;
  #nextLook: NodeJS.Timeout | undefined;
  #patienceMs: number | undefined;

  /** @param fd borrowed until `cancel()`, or the callback of `send()` */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * From now on `send()` calls back only when the client's kernel has everything, or has taken nothing for so long: for a
   * connection that has unread bytes to its end, because closing it is a reset, which throws away what the client has not got.
   */
  awaitClient(patienceMs: number): void {
    this.#patienceMs = patienceMs;
  }

  /** Sends it behind everything the kernel has, when there is room. A client that is gone needs none: then nothing is sent. */
  send(callback: () => void): void {
    if (!this.#sendNow()) return this.#wait(callback);
    this.cancel();
    if (this.#patienceMs === undefined) callback();
    else this.#awaitClient(this.#patienceMs, callback);
  }

  /** The same for a socket that is being destroyed: without waiting for room. */
  sendLast(callback: () => void): void {
    this.cancel();
    this.#sendNow();
    if (this.#patienceMs === undefined) callback();
    else this.#awaitClient(this.#patienceMs, callback);
  }

  /** @returns false if there is no room for it */
  #sendNow(): boolean {
    try {
      return native().sendTlsAlert(this.#fd, WARNING, CLOSE_NOTIFY) !== -1;
    } catch {
      // Whoever writes or reads next hears of it.
      return true;
    }
  }

  /** Gives up waiting; the callback is not called. Idempotent. */
  cancel(): void {
    clearTimeout(this.#nextLook);
    this.#waiting?.poller.close();
    this.#waiting?.fd.close();
    this.#waiting = undefined;
  }

  #wait(callback: () => void): void {
    if (this.#waiting !== undefined) return;
    try {
      this.#waiting = this.#watch(() => this.send(callback));
    } catch {
      // No descriptor is left: it is tried again instead.
      this.#nextLook = setTimeout(() => this.send(callback), LONGEST_PAUSE_MS);
    }
  }

  #watch(onRoom: () => void): { fd: PassedFd; poller: FdPoller } {
    // net.Socket watches the descriptor itself.
    const fd = new PassedFd(native().dupFd(this.#fd));
    let poller: FdPoller | undefined;
    try {
      poller = new (native().FdPoller)(fd.fd, onRoom);
      poller.start(native().constants.WRITABLE);
      return { fd, poller };
    } catch (error) {
      poller?.close();
      fd.close();
      throw error;
    }
  }

  /** Nobody tells that a queue is empty: it is looked at now and then. */
  #awaitClient(patienceMs: number, callback: () => void): void {
    let before = Number.POSITIVE_INFINITY;
    let sinceMs = 0;
    let pauseMs = FIRST_LOOK_MS;
    const look = (): void => {
      // What a reset has left there nobody will take.
      const left = isConnected(this.#fd) ? native().writeQueueBytes(this.#fd) : 0;
      const nowMs = performance.now();
      if (left < before) [before, sinceMs] = [left, nowMs];
      if (left === 0 || nowMs - sinceMs >= patienceMs) return callback();
      this.#nextLook = setTimeout(look, pauseMs);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    };
    look();
  }
}
