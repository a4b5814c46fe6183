// The values of one family's prefixes, by number: for every port, or for one. Knows where its entries are written only by number.
import type { Prefix } from './prefix.js';
import { NONE, PrefixRanges, WORD_BITS } from './prefix-ranges.js';

/** For entries without a port. */
export const EVERY_PORT = 0;

interface PortEntry<Value> {
  readonly value: Value;
  readonly index: number;
}

/** Two entries that are for some connections in common. */
export interface Overlap {
  readonly inner: { readonly index: number; readonly prefix: Prefix; readonly port: number };
  readonly outer: Overlap['inner'];
}

/** The numbers of prefixes of one length; words as signed ones, which a Map finds fast. */
type Words = Map<number, Words | number>;

/** Where a prefix's meaning is a number from here on, it is one value for every port; below, its ports must be asked. */
const ASK_PORTS = 0;

export class FamilyTable<Value extends {}> {
  /** Until it is finished; by length, and then word by word. */
  #ids: Words[] = [];
  #prefixes: Prefix[] = [];
  /** The entries' numbers, of those for every port. */
  #indexes: number[] = [];
  /** Of each prefix, for every port. */
  readonly #values: (Value | undefined)[] = [];
  /** Of those prefixes that have any. */
  readonly #byPort = new Map<number, Map<number, PortEntry<Value>>>();
  /** By meaning. */
  readonly #distinct: (Value | undefined)[] = [undefined];
  #ranges = new PrefixRanges([], []);

  /** @returns the number of an earlier entry for the same */
  add(prefix: Prefix, port: number, value: Value, index: number): number | undefined {
    const { words, length } = prefix;
    this.#ids[length] ??= new Map();
    let ids = this.#ids[length];
    const last = Math.max(0, Math.ceil(length / WORD_BITS) - 1);
    for (let nth = 0; nth < last; nth++) ids = within(ids, words[nth] as number);
    const lastWord = (words[last] as number) | 0;
    let id = ids.get(lastWord) as number | undefined;
    if (id === undefined) {
      id = this.#prefixes.push(prefix) - 1;
      ids.set(lastWord, id);
      this.#values.push(undefined);
      this.#indexes.push(NONE);
    }
    if (port === EVERY_PORT) {
      if (this.#values[id] !== undefined) return this.#indexes[id];
      this.#values[id] = value;
      this.#indexes[id] = index;
      return undefined;
    }
    let ports = this.#byPort.get(id);
    if (ports === undefined) {
      ports = new Map();
      this.#byPort.set(id, ports);
    }
    const other = ports.get(port);
    if (other === undefined) ports.set(port, { value, index });
    return other?.index;
  }

  /**
   * Nothing can be found before, and nothing added after.
   * @param wantsOverlap goes through all of them once more
   */
  finish(wantsOverlap: boolean): Overlap | undefined {
    this.#ranges = new PrefixRanges(this.#prefixes, this.#meanings());
    const overlap = wantsOverlap ? this.#overlap() : undefined;
    this.#ids = [];
    this.#prefixes = [];
    this.#indexes = [];
    return overlap;
  }

  /** {@link find} of the first that matches, whatever it is. */
  lookup(words: Uint32Array, port: number): Value | undefined {
    const range = this.#ranges.find(words);
    const meaning = this.#ranges.meaningOf(range);
    if (meaning > ASK_PORTS) return this.#distinct[meaning];
    return meaning === NONE ? undefined : this.#pick(range, port, itself<Value>);
  }

  /** Goes through what matches, the longest prefix first, that with the port before that without, until `pick` makes something of it. */
  find<Result>(
    words: Uint32Array,
    port: number,
    pick: (value: Value) => Result | undefined,
  ): Result | undefined {
    return this.#pick(this.#ranges.find(words), port, pick);
  }

  #pick<Result>(range: number, port: number, pick: (value: Value) => Result | undefined): Result | undefined {
    const { prefixes, parents } = this.#ranges;
    for (let id = prefixes[range] as number; id !== NONE; id = parents[id] as number) {
      const own = this.#byPort.get(id)?.get(port);
      const any = this.#values[id];
      const result = (own && pick(own.value)) ?? (any === undefined ? undefined : pick(any));
      if (result !== undefined) return result;
    }
    return undefined;
  }

  #meanings(): number[] {
    const meanings = new Map<Value | undefined, number>();
    return this.#values.map((value, id) => {
      if (value === undefined || this.#byPort.has(id)) return ASK_PORTS;
      let meaning = meanings.get(value);
      if (meaning === undefined) {
        meaning = this.#distinct.push(value) - 1;
        meanings.set(value, meaning);
      }
      return meaning;
    });
  }

  /** The first prefix that is in another one, for a port that both are for; or has an entry for every port and one for a single one. */
  #overlap(): Overlap | undefined {
    const { parents } = this.#ranges;
    for (const id of this.#prefixes.keys()) {
      for (let outer = id; outer !== NONE; outer = parents[outer] as number) {
        for (const inner of this.#entriesOf(id)) {
          const other = this.#entriesOf(outer).find(
            ({ index, port }) =>
              index !== inner.index &&
              (port === inner.port || port === EVERY_PORT || inner.port === EVERY_PORT),
          );
          if (other !== undefined) return { inner, outer: other };
        }
      }
    }
    return undefined;
  }

  #entriesOf(id: number): Overlap['inner'][] {
    const prefix = this.#prefixes[id] as Prefix;
    const entries = Array.from(this.#byPort.get(id) ?? [], ([port, { index }]) => ({ index, prefix, port }));
    const index = this.#indexes[id] as number;
    return index === NONE ? entries : [{ index, prefix, port: EVERY_PORT }, ...entries];
  }
}

function within(words: Words, word: number): Words {
  let next = words.get(word | 0) as Words | undefined;
  if (next === undefined) {
    next = new Map();
    words.set(word | 0, next);
  }
  return next;
}

const itself = <Value>(value: Value): Value => value;
