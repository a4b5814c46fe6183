// All pairs of source tag and address, up to a limit; what is beyond it is counted together.
import type { Layout } from './layout.js';
import { Pair } from './pair.js';

/** Source tag and address of the pair for what is beyond the limit. */
const OVERFLOW = 'overflow';

export class PairTable {
  /** Connections whose pair there was no room for. */
  overflowCount = 0;
  readonly #layout: Layout;
  readonly #maxPairs: number;
  readonly #byTag = new Map<string, Map<string, Pair>>();
  readonly #pairs: Pair[] = [];
  #overflow: Pair | undefined;

  constructor(layout: Layout, maxPairs: number) {
    this.#layout = layout;
    this.#maxPairs = maxPairs;
  }

  /** Those there are, the overflow's last. */
  get pairs(): readonly Pair[] {
    return this.#overflow === undefined ? this.#pairs : [...this.#pairs, this.#overflow];
  }

  /** The pair to count on. */
  pair(sourceTag: string, vip: string): Pair {
    return this.#byTag.get(sourceTag)?.get(vip) ?? this.#add(sourceTag, vip);
  }

  #add(sourceTag: string, vip: string): Pair {
    if (this.#pairs.length >= this.#maxPairs) {
      this.overflowCount++;
      this.#overflow ??= new Pair(this.#layout, OVERFLOW, OVERFLOW);
      return this.#overflow;
    }
    const pair = new Pair(this.#layout, sourceTag, vip);
    const byVip = this.#byTag.get(sourceTag) ?? new Map<string, Pair>();
    this.#byTag.set(sourceTag, byVip.set(vip, pair));
    this.#pairs.push(pair);
    return pair;
  }
}
