// The end of what this side says under kernel TLS: one alert record, which the kernel never sends by itself. Without it a client
// cannot tell an answer that was cut from one that is over (RFC 8446, section 6.1).
import { PassedFd } from '@fdpass/scgi-fdpass';
import { type FdPoller, native } from './native.js';

const WARNING = 1;
const CLOSE_NOTIFY = 0;

export class CloseNotify {
  readonly #fd: number;
  #waiting: { readonly fd: PassedFd; readonly poller: FdPoller } | undefined;

  /** @param fd borrowed until `cancel()`, or the callback of `send()` */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Sends it behind everything the kernel has, when there is room. A client that is gone needs none: then nothing is sent. */
  send(callback: () => void): void {
    try {
      if (native().sendTlsAlert(this.#fd, WARNING, CLOSE_NOTIFY) === -1) return this.#wait(callback);
    } catch {
      // Whoever writes or reads next hears of it.
    }
    this.cancel();
    callback();
  }

  /** Gives up waiting; the callback is not called. Idempotent. */
  cancel(): void {
    this.#waiting?.poller.close();
    this.#waiting?.fd.close();
    this.#waiting = undefined;
  }

  #wait(callback: () => void): void {
    if (this.#waiting !== undefined) return;
    // net.Socket watches the descriptor itself.
    const fd = new PassedFd(native().dupFd(this.#fd));
    const poller = new (native().FdPoller)(fd.fd, () => this.send(callback));
    this.#waiting = { fd, poller };
    poller.start(native().constants.WRITABLE);
  }
}
