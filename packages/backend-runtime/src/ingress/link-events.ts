// The kernel's news that network interfaces have changed, on a netlink socket of its own. Which ones is not told: whoever wants to know
// reads them all.
import { PassedFd } from '@fdpass/scgi-fdpass';
import { type FdPoller, native } from '../native.js';

/** Interfaces may change by the thousand, and each time is told: what is told within a pause counts as one. */
const PAUSE_MS = 50;

export class LinkEvents {
  readonly #socket: PassedFd;
  readonly #poller: FdPoller;
  readonly #onChange: () => void;
  readonly #onLost: (error: unknown) => void;
  #pause: NodeJS.Timeout | undefined;

  /**
   * Tells from now on, and keeps no process alive.
   * @param onLost nothing is told any more; it is closed
   * @throws a system error
   */
  constructor(onChange: () => void, onLost: (error: unknown) => void) {
    this.#onChange = onChange;
    this.#onLost = onLost;
    this.#socket = new PassedFd(native().openLinkEvents());
    try {
      this.#poller = new (native().FdPoller)(this.#socket.fd, () => this.#read());
    } catch (error) {
      this.#socket.close();
      throw error;
    }
    this.#poller.unref();
    this.#poller.start(native().constants.READABLE);
  }

  /** Idempotent. */
  close(): void {
    clearTimeout(this.#pause);
    this.#poller.close();
    this.#socket.close();
  }

  #read(): void {
    try {
      if (!native().drainLinkEvents(this.#socket.fd)) return;
    } catch (error) {
      this.close();
      return this.#onLost(error);
    }
    this.#poller.stop();
    this.#pause = setTimeout(() => this.#poller.start(native().constants.READABLE), PAUSE_MS).unref();
    this.#onChange();
  }
}
