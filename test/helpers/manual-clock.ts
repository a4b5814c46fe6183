// A clock that goes when the test says so: takes the place of the timers and of performance.now(). For serial tests without I/O.
import type { ExecutionContext } from 'ava';

interface Timer {
  readonly id: number;
  readonly callback: () => void;
  readonly everyMs: number | undefined;
  dueMs: number;
}

export class ManualClock {
  #nowMs = 1000;
  #ids = 0;
  readonly #timers = new Map<number, Timer>();

  /** Puts the real clock back when the test is over. */
  static install(t: ExecutionContext): ManualClock {
    const clock = new ManualClock();
    const { setTimeout, setInterval, clearTimeout, clearInterval } = globalThis;
    const { now } = performance;
    const stop = (handle?: { id: number }): void => void clock.#timers.delete(handle?.id ?? 0);
    Object.assign(globalThis, {
      setTimeout: (callback: () => void, afterMs: number) => clock.#add(callback, afterMs, undefined),
      setInterval: (callback: () => void, everyMs: number) => clock.#add(callback, everyMs, everyMs),
      clearTimeout: stop,
      clearInterval: stop,
    });
    performance.now = () => clock.#nowMs;
    t.teardown(() => {
      Object.assign(globalThis, { setTimeout, setInterval, clearTimeout, clearInterval });
      performance.now = now;
    });
    return clock;
  }

  /** Timers that are still to fire. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Lets time pass; what falls due is called in order. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#timers.values()].sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined || next.dueMs > endMs) break;
      this.#nowMs = next.dueMs;
      if (next.everyMs === undefined) this.#timers.delete(next.id);
      else next.dueMs += next.everyMs;
      next.callback();
    }
    this.#nowMs = endMs;
  }

  /** Time passes while the process stands still; then each timer that fell due meanwhile is called once. */
  stall(ms: number): void {
    this.#nowMs += ms;
    for (const timer of [...this.#timers.values()]) {
      if (timer.dueMs > this.#nowMs) continue;
      if (timer.everyMs === undefined) this.#timers.delete(timer.id);
      else timer.dueMs = this.#nowMs + timer.everyMs;
      timer.callback();
    }
  }

  #add(callback: () => void, afterMs: number, everyMs: number | undefined): object {
    const id = ++this.#ids;
    this.#timers.set(id, { id, callback, everyMs, dueMs: this.#nowMs + afterMs });
    const handle = { id, unref: () => handle, ref: () => handle };
    return handle;
  }
}
