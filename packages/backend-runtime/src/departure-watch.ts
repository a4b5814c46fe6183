// A client that has ended its side may wait for its answer, or may be gone: TCP does not say which until something is sent to it.
// While nothing is, its kernel is asked (keepalive probes, tcp(7)), and the answer looked at now and then: nobody reads this
// connection any more, and nobody tells of an error that is not read.
import type { Socket } from 'node:net';

/** Until the first probe; the next ones follow each second, as libuv has it. */
const PROBE_AFTER_MS = 5000;
const LOOK_INTERVAL_MS = 1000;

export class DepartureWatch {
  readonly #isGone: () => boolean;
  readonly #onGone: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(isGone: () => boolean, onGone: () => void) {
    this.#isGone = isGone;
    this.#onGone = onGone;
  }

  /** @param sink is probed */
  start(sink: Socket): void {
    sink.setKeepAlive(true, PROBE_AFTER_MS);
    this.#timer ??= setInterval(() => {
      if (!this.#isGone()) return;
      this.stop();
      this.#onGone();
    }, LOOK_INTERVAL_MS).unref();
  }

  /** Idempotent. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
