// Longest prefix match: a table from prefixes, with a port or without, to values. Built whole and never changed: whoever holds it swaps
// it for another.
import { RuntimeError } from '../errors.js';
import { checkInteger } from '../option-check.js';
import { EVERY_PORT, FamilyTable } from './family-table.js';
import { type IpVersion, readAddress } from './ip-address.js';
import { type HostBits, Prefix, parsePrefix } from './prefix.js';

export interface LpmEntry<Value> {
  /** CIDR text, or an address alone; left out it holds for every address, and for clients that have none. */
  prefix?: string | undefined;
  /** 1 to 65535; left out it holds for every port. */
  port?: number | undefined;
  value: Value;
}

export interface LpmOptions {
  /** What is done with `203.0.113.7/24`: refused, or taken for `203.0.113.0/24`. @default 'refuse' */
  hostBits?: HostBits | undefined;
  /**
   * Refuses prefixes that overlap, that is, are equal under the shorter one's mask, for a common port; else the longer one wins.
   * @default false
   */
  strict?: boolean | undefined;
  /** Where the entries are written, for errors: an entry is `place[index]`. @default 'entries' */
  place?: string | ((index: number) => string);
}

/** Building a larger table would have the event loop for seconds. */
const MAX_ENTRIES = 1_000_000;

/** @throws `BKR_ERR_PREFIX_TABLE` */
export function checkTableSize(entries: readonly unknown[], placeOf: (index: number) => string): void {
  if (entries.length <= MAX_ENTRIES) return;
  throw new RuntimeError('BKR_ERR_PREFIX_TABLE', placeOf(MAX_ENTRIES), MAX_ENTRIES);
}

/** Filled in by one call, and read again in it. */
const address = new Uint32Array(4);

/** Values may be anything but undefined. */
export class LpmTable<Value extends {}> {
  /** Entries. */
  readonly size: number;
  readonly #ipv4 = new FamilyTable<Value>();
  readonly #ipv6 = new FamilyTable<Value>();
  /** Without a prefix: a table of one that holds everything. */
  readonly #others = new FamilyTable<Value>();

  /**
   * @throws `BKR_ERR_PREFIX`, `BKR_ERR_PREFIX_TWICE`, `BKR_ERR_PREFIX_OVERLAP`, `BKR_ERR_PREFIX_TABLE`, `BKR_ERR_OPTION`, with the
   * entry's place
   */
  constructor(entries: readonly LpmEntry<Value>[], options: LpmOptions = {}) {
    const { place = 'entries', hostBits, strict = false } = options;
    const placeOf = typeof place === 'string' ? (index: number) => `${place}[${index}]` : place;
    checkTableSize(entries, placeOf);
    for (const [index, { prefix: text, port, value }] of entries.entries()) {
      if (port !== undefined) checkInteger(`${placeOf(index)}.port`, port, 1, 65_535);
      const prefix =
        text === undefined ? EVERYTHING : parsePrefix(text, () => `${placeOf(index)}.prefix`, hostBits);
      const other = this.#tableOf(prefix).add(prefix, port ?? EVERY_PORT, value, index);
      if (other !== undefined) {
        const what = described(prefix, port ?? EVERY_PORT);
        throw new RuntimeError('BKR_ERR_PREFIX_TWICE', placeOf(index), placeOf(other), what);
      }
    }
    this.size = entries.length;
    for (const table of [this.#ipv4, this.#ipv6, this.#others]) {
      const overlap = table.finish(strict);
      if (overlap === undefined) continue;
      const { inner, outer } = overlap;
      throw new RuntimeError(
        'BKR_ERR_PREFIX_OVERLAP',
        placeOf(inner.index),
        described(inner.prefix, inner.port),
        placeOf(outer.index),
        described(outer.prefix, outer.port),
      );
    }
  }

  /**
   * The value of the longest prefix that holds the address; of equal ones that with the port.
   * @param text an IP address; anything else finds only entries without a prefix
   */
  lookup(text: string | undefined, port: number = EVERY_PORT): Value | undefined {
    return this.#among(text)?.lookup(address, port) ?? this.#others.lookup(NOWHERE, port);
  }

  /**
   * Goes through all that match, from the longest prefix to the shortest, until `pick` makes something of one.
   * @returns what `pick` returned last, undefined if it was undefined for all
   */
  find<Result>(
    text: string | undefined,
    port: number,
    pick: (value: Value) => Result | undefined,
  ): Result | undefined {
    return this.#among(text)?.find(address, port, pick) ?? this.#others.find(NOWHERE, port, pick);
  }

  /** The prefixes of an address's family, and the address in `address`. */
  #among(text: string | undefined): FamilyTable<Value> | undefined {
    if (text === undefined) return undefined;
    switch (readAddress(text, address) || readScopedAddress(text)) {
      case 4:
        return this.#ipv4;
      case 6:
        return this.#ipv6;
      default:
        return undefined;
    }
  }

  #tableOf(prefix: Prefix): FamilyTable<Value> {
    if (prefix === EVERYTHING) return this.#others;
    return prefix.family === 'ipv4' ? this.#ipv4 : this.#ipv6;
  }
}

/** The kernel tells link-local addresses with their interface: `fe80::1%eth0`. */
function readScopedAddress(text: string): IpVersion {
  const scope = text.indexOf('%');
  return scope === -1 ? 0 : readAddress(text.slice(0, scope), address);
}

const NOWHERE = new Uint32Array(4);
const EVERYTHING = new Prefix('ipv4', [0], 0);

const described = (prefix: Prefix, port: number): string =>
  `${prefix === EVERYTHING ? 'every address' : prefix.text}${port === EVERY_PORT ? '' : ` port ${port}`}`;
