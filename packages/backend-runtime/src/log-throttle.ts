// Keeps clients from filling the log: of lines with the same key at most one per second is written, with the number of those left out.
import type { Logger } from './options.js';

const INTERVAL_MS = 1_000;
/** More kinds of lines than there are routes and codes would be a mistake: then old ones are forgotten. */
const MAX_KEYS = 1_000;

export class LogThrottle {
  readonly #logger: Pick<Logger, 'warn'> | undefined;
  readonly #kinds = new Map<string, { nextAt: number; suppressed: number }>();

  constructor(logger: Pick<Logger, 'warn'> | undefined) {
    this.#logger = logger;
  }

  warn(key: string, fields: object, message: string): void {
    if (this.#logger === undefined) return;
    const now = performance.now();
    const kind = this.#kinds.get(key);
    if (kind !== undefined && now < kind.nextAt) {
      kind.suppressed++;
      return;
    }
    const suppressed = kind?.suppressed ?? 0;
    if (this.#kinds.size >= MAX_KEYS) this.#kinds.clear();
    this.#kinds.set(key, { nextAt: now + INTERVAL_MS, suppressed: 0 });
    this.#logger.warn(suppressed === 0 ? fields : { ...fields, suppressed }, message);
  }
}
