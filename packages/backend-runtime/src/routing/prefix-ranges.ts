// Which of many prefixes of one family is the longest that an address is in: the prefixes flattened to ranges of 32-bit words that do not
// overlap. IPv4 is one level of them; in IPv6 a range of one level may lead on to ranges of the next word. Knows no text and no values.
import type { Prefix } from './prefix.js';

/** No prefix. */
export const NONE = -1;

/** Results from here down lead to a table of the next word. */
const FIRST_TABLE = -2;
export const WORD_BITS = 32;
const LAST_WORD = 0xffff_ffff;
/** Sorts behind every length of this word: the prefix goes on in the next. */
const GOES_ON = WORD_BITS + 1;
/** More than there are lengths. */
const LENGTHS = 64;

/** So many are read from memory at once, and the index is small enough to stay near. */
const RANGES_PER_SLOT = 4;

/** Positions inside a table's record. */
const FIRST = 0;
const SHIFT = 1;
const BASE = 2;
const INDEX = 3;
const SLOTS = 4;
const RECORD = 5;

/**
 * Finds by an index of the first bits that differ, then between two neighbours of it: the time hardly depends on the number of
 * prefixes, unless most of them lie in a sliver of the whole, and never exceeds a binary search for each word.
 */
export class PrefixRanges {
  /** For each prefix the next shorter one it is in, or {@link NONE}. */
  readonly parents: Int32Array;
  /** For each range the longest prefix that holds it, or {@link NONE}. */
  readonly prefixes: Int32Array;
  /** Where each range begins, table by table, in order; and behind it what the prefix means, none, or a table. */
  readonly #ranges: Uint32Array;
  readonly #tables: Int32Array;
  /** The range that holds the first word of each slot; slots are equally wide. */
  readonly #index: Uint32Array;

  /**
   * @param prefixes of one family, each only once; a prefix is known by its position in this array
   * @param meanings of each prefix a number from 0 on, to be had with a lookup's last access to memory
   */
  constructor(prefixes: readonly Prefix[], meanings: readonly number[]) {
    const { bounds, results, tables, index, parents } = new Builder(prefixes);
    this.parents = parents;
    this.prefixes = new Int32Array(results);
    this.#ranges = new Uint32Array(bounds.length * 2);
    for (let nth = 0; nth < bounds.length; nth++) {
      const result = results[nth] as number;
      this.#ranges[2 * nth] = bounds[nth] as number;
      this.#ranges[2 * nth + 1] = result < 0 ? result : (meanings[result] as number);
    }
    this.#tables = new Int32Array(tables);
    this.#index = new Uint32Array(index);
  }

  /** @returns the range that holds the address */
  find(words: Uint32Array): number {
    let range = this.#findWord(0, words[0] as number);
    for (let level = 1; level < words.length; level++) {
      const meaning = this.meaningOf(range);
      if (meaning > FIRST_TABLE) break;
      range = this.#findWord((FIRST_TABLE - meaning) * RECORD, words[level] as number);
    }
    return range;
  }

  /** Of the longest prefix that holds a range; {@link NONE} if none does. */
  meaningOf(range: number): number {
    return (this.#ranges[2 * range + 1] as number) | 0;
  }

  #findWord(table: number, word: number): number {
    const tables = this.#tables;
    const ranges = this.#ranges;
    const first = tables[table + FIRST] as number;
    const slots = tables[table + SLOTS] as number;
    if (slots === 0 || word < (ranges[2 * first + 2] as number)) return first;
    const slot = (word >>> (tables[table + SHIFT] as number)) - ((tables[table + BASE] as number) >>> 0);
    const at = (tables[table + INDEX] as number) + Math.min(slot, slots - 1);
    let low = this.#index[at] as number;
    let high = this.#index[at + 1] as number;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((ranges[2 * middle] as number) <= word) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** A table that is still to be made. */
interface Planned {
  /** Of prefixes that are equal in the words before `level`, and longer than these. */
  readonly ids: number[];
  readonly level: number;
  /** The longest prefix that holds all of them. */
  readonly outer: number;
}

class Builder {
  readonly bounds: number[] = [];
  readonly results: number[] = [];
  readonly tables: number[] = [];
  readonly index: number[] = [];
  readonly parents: Int32Array;
  readonly #prefixes: readonly Prefix[];
  /** In the order of the tables' numbers. */
  readonly #planned: Planned[];
  /** Ranges that hold the word under way, the narrowest last: where they end, and their results. */
  readonly #ends: number[] = [];
  readonly #open: number[] = [];

  constructor(prefixes: readonly Prefix[]) {
    this.#prefixes = prefixes;
    this.parents = new Int32Array(prefixes.length).fill(NONE);
    this.#planned = [{ ids: Array.from(prefixes.keys()), level: 0, outer: NONE }];
    for (const planned of this.#planned) this.#addTable(planned);
  }

  #addTable({ ids, level, outer }: Planned): void {
    const first = this.bounds.length;
    const keys = this.#keysOf(ids, level);
    // By their word, shorter ones first.
    const order = new Uint32Array(ids.length);
    for (let place = 0; place < order.length; place++) order[place] = place;
    order.sort((a, b) => (keys[a] as number) - (keys[b] as number));
    this.#ends.push(LAST_WORD);
    this.#open.push(outer);
    this.#begin(first, 0, outer);
    let going: Planned | undefined;
    let goingWord = NONE;
    for (const place of order) {
      const key = keys[place] as number;
      const id = ids[place] as number;
      const word = Math.floor(key / LENGTHS);
      const bits = key % LENGTHS;
      if (going !== undefined && bits === GOES_ON && word === goingWord) {
        going.ids.push(id);
        continue;
      }
      this.#endBefore(first, word);
      const around = this.#open[this.#open.length - 1] as number;
      let result = id;
      if (bits === GOES_ON) {
        result = FIRST_TABLE - this.#planned.length;
        going = { ids: [id], level: level + 1, outer: around };
        goingWord = word;
        this.#planned.push(going);
        this.#ends.push(word);
      } else {
        this.parents[id] = around;
        this.#ends.push(word + 2 ** (WORD_BITS - bits) - 1);
      }
      this.#open.push(result);
      this.#begin(first, word, result);
    }
    this.#endBefore(first, LAST_WORD);
    this.#ends.length = 0;
    this.#open.length = 0;
    this.#addIndex(first);
  }

  /** What they are sorted by. */
  #keysOf(ids: readonly number[], level: number): Float64Array {
    const keys = new Float64Array(ids.length);
    for (let place = 0; place < ids.length; place++) {
      const { words, length } = this.#prefixes[ids[place] as number] as Prefix;
      const bits = length - WORD_BITS * level;
      keys[place] = (words[level] as number) * LENGTHS + (bits > WORD_BITS ? GOES_ON : bits);
    }
    return keys;
  }

  /** Goes back to the ranges around those that end before a word. */
  #endBefore(first: number, word: number): void {
    let last = this.#ends.length - 1;
    for (let end = this.#ends[last] as number; end < word; end = this.#ends[last] as number) {
      this.#ends.length = last;
      this.#open.length = last--;
      this.#begin(first, end + 1, this.#open[last] as number);
    }
  }

  #begin(first: number, bound: number, result: number): void {
    let last = this.bounds.length - 1;
    // What begins where the last one began leaves nothing of it.
    if (last >= first && this.bounds[last] === bound) {
      this.bounds.length = last;
      this.results.length = last--;
    }
    if (last >= first && this.results[last] === result) return;
    this.bounds.push(bound);
    this.results.push(result);
  }

  /** Of the ranges from `first` on, which are the last table's. */
  #addIndex(first: number): void {
    const { bounds, index } = this;
    const count = bounds.length - first;
    if (count < 2) {
      this.tables.push(first, 0, 0, 0, 0);
      return;
    }
    const lowest = bounds[first + 1] as number;
    const highest = bounds[bounds.length - 1] as number;
    const shift = Math.min(
      WORD_BITS - 1,
      Math.max(0, Math.ceil(Math.log2(((highest - lowest + 1) * RANGES_PER_SLOT) / count))),
    );
    const base = lowest >>> shift;
    const slots = (highest >>> shift) - base + 1;
    this.tables.push(first, shift, base | 0, index.length, slots);
    let at = first;
    for (let slot = 0; slot <= slots; slot++) {
      const word = (base + slot) * 2 ** shift;
      while (at + 1 < bounds.length && (bounds[at + 1] as number) <= word) at++;
      index.push(at);
    }
  }
}
