// The tables that are compared: prefixes as they are in the wild, and addresses to look up, the same in every run.
import { addressText } from '#runtime/routing/ip-address.js';
import { parsePrefix } from '#runtime/routing/prefix.js';

export type Family = 'ipv4' | 'ipv6';

export interface TableCase {
  readonly family: Family;
  /** CIDR texts, each once. */
  readonly prefixes: readonly string[];
  /** Half of them first addresses of prefixes, the others anywhere in the family's part of the space. */
  readonly addresses: readonly string[];
}

const ADDRESSES = 65_536;
/** Most prefixes of a routing table are these; of IPv6 within one /32 of sites as well. */
const LENGTHS: Readonly<Record<Family, readonly number[]>> = {
  ipv4: [16, 20, 22, 24, 24, 24, 24, 28, 32],
  ipv6: [32, 44, 48, 48, 48, 56, 64],
};

export function tableCase(family: Family, count: number): TableCase {
  const random = randomWords(0x5eed + count);
  const networks = new Map<string, readonly number[]>();
  while (networks.size < count) {
    const length = pick(LENGTHS[family], random());
    const { text, words } = parsePrefix(
      `${addressText(anywhere(family, random))}/${length}`,
      'network',
      'mask',
    );
    networks.set(text, words);
  }
  const first = [...networks.values()];
  // Each a string of its own, as a connection's is: what is measured is not the way to old ones in memory.
  const addresses = Array.from({ length: ADDRESSES }, (_, nth) =>
    addressText(nth % 2 === 0 ? pick(first, random()) : anywhere(family, random)),
  );
  return { family, prefixes: [...networks.keys()], addresses };
}

function anywhere(family: Family, random: () => number): number[] {
  if (family === 'ipv4') return [random()];
  return [(0x2001_0000 | (random() & 0x0fff)) >>> 0, random(), random(), random()];
}

const pick = <Item>(items: readonly Item[], word: number): Item => items[word % items.length] as Item;

/** Marsaglia's xorshift32. */
function randomWords(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
