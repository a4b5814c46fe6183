// A prefix of IP addresses, as an operator writes it: CIDR text (RFC 4632, RFC 4291) and what it means. Knows no tables.
import { RuntimeError } from '../errors.js';
import type { AddressFamily } from '../ingress/interface-rules.js';
import { addressText, readAddress, readIPv6 } from './ip-address.js';

/** What is done with bits behind a prefix's length that are not zero, as in `203.0.113.7/24`. */
export type HostBits = 'refuse' | 'mask';

export class Prefix {
  readonly family: AddressFamily;
  /** One for IPv4, four for IPv6, unsigned, the first bits first; what is behind `length` is zero. */
  readonly words: readonly number[];
  /** In bits: 0 to 32, or to 128. */
  readonly length: number;

  constructor(family: AddressFamily, words: readonly number[], length: number) {
    this.family = family;
    this.words = words;
    this.length = length;
  }

  /** In canonical form, `203.0.113.0/24`, `2001:db8::/32`. */
  get text(): string {
    return `${addressText(this.words)}/${this.length}`;
  }

  /** The same for two prefixes only if they are equal. */
  get key(): string {
    return `${this.words}/${this.length}`;
  }
}

const LENGTH = /^(?:0|[1-9]\d{0,2})$/;
const MAPPED_BITS = 96;

/** Filled in by one call, and read again in it. */
const address = new Uint32Array(4);

/**
 * Reads a prefix; an address without a length is a prefix of that address alone. `::ffff:203.0.113.0/120` is `203.0.113.0/24`, as
 * clients of a socket for both families are clients of IPv4.
 * @param place where it is written, as `routes[2].prefix`; a function is called only for an error
 * @throws `BKR_ERR_PREFIX`
 */
export function parsePrefix(
  text: string,
  place: string | (() => string),
  hostBits: HostBits = 'refuse',
): Prefix {
  const refuse = (what: string): never => {
    const where = typeof place === 'string' ? place : place();
    throw new RuntimeError('BKR_ERR_PREFIX', where, shown(text), what);
  };
  if (typeof text !== 'string') return refuse('it must be a string');
  const slash = text.indexOf('/');
  const addressPart = slash === -1 ? text : text.slice(0, slash);
  const lengthPart = slash === -1 ? undefined : text.slice(slash + 1);
  const version = readAddress(addressPart, address);
  if (version === 0) return refuse('what stands before the length is no IPv4 or IPv6 address');
  const isWritten6 = version === 6 || addressPart.includes(':');
  const mostBits = isWritten6 ? 128 : 32;
  let length = lengthPart === undefined ? mostBits : Number(lengthPart);
  if (lengthPart !== undefined && (!LENGTH.test(lengthPart) || length > mostBits)) {
    return refuse(`the length must be an integer from 0 to ${mostBits}`);
  }
  let family: AddressFamily = version === 4 ? 'ipv4' : 'ipv6';
  if (version === 4 && isWritten6) {
    if (length >= MAPPED_BITS) {
      length -= MAPPED_BITS;
    } else {
      // Wider than all mapped addresses together: one of IPv6, which no client of IPv4 has.
      readIPv6(addressPart, address);
      family = 'ipv6';
    }
  }
  const words: number[] = [];
  let hasHostBits = false;
  for (let nth = 0; nth < (family === 'ipv4' ? 1 : 4); nth++) {
    const written = address[nth] as number;
    const word = masked(written, length - 32 * nth);
    hasHostBits ||= word !== written;
    words.push(word);
  }
  const prefix = new Prefix(family, words, length);
  if (hasHostBits && hostBits === 'refuse') {
    return refuse(`there are bits behind its length; the prefix is ${prefix.text}`);
  }
  return prefix;
}

/** The first `bits` bits of a word; all or none of them if that is more or less than it has. */
function masked(word: number, bits: number): number {
  if (bits >= 32) return word;
  return bits <= 0 ? 0 : (word & (-1 << (32 - bits))) >>> 0;
}

const MAX_SHOWN = 64;

function shown(text: unknown): string {
  const whole = JSON.stringify(text) ?? String(text);
  return whole.length > MAX_SHOWN ? `${whole.slice(0, MAX_SHOWN)}...` : whole;
}
