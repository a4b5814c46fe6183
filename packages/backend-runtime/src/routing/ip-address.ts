// IP addresses as 32-bit words: read from text without making objects, as this is done for each connection, and written as RFC 5952
// has it. Knows no prefixes.

/** What an address is; 0 for none. */
export type IpVersion = 0 | 4 | 6;

/**
 * Reads an address into `words`: one word for IPv4, four for IPv6, the first bits first. An IPv4-mapped address (RFC 4291, section
 * 2.5.5.2) is one of IPv4. Scope ids (`%eth0`) and leading zeros are no address, as net.isIP() has it for IPv4.
 */
export function readAddress(text: string, words: Uint32Array): IpVersion {
  const value = readIPv4(text, 0);
  if (value >= 0) {
    words[0] = value;
    return 4;
  }
  if (!readIPv6(text, words)) return 0;
  if (words[0] !== 0 || words[1] !== 0 || words[2] !== MAPPED) return 6;
  words[0] = words[3] as number;
  return 4;
}

const MAPPED = 0xffff;
const DOT = 46;
const COLON = 58;
/** No digit. */
const NONE = 16;

/** Of each ASCII character as a hexadecimal digit. */
const DIGITS = Uint8Array.from({ length: 128 }, (_, code) => {
  const digit = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(digit) ? NONE : digit;
});

/** @returns the word, or -1 if what begins at `begin` is no IPv4 address to its end */
function readIPv4(text: string, begin: number): number {
  let value = 0;
  let octet = 0;
  let digits = 0;
  let dots = 0;
  for (let at = begin; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === DOT) {
      if (digits === 0 || dots === 3) return -1;
      value = value * 256 + octet;
      octet = 0;
      digits = 0;
      dots++;
    } else {
      const digit = code - 48;
      if (digit < 0 || digit > 9 || (digits > 0 && octet === 0)) return -1;
      octet = octet * 10 + digit;
      if (octet > 255) return -1;
      digits++;
    }
  }
  return dots === 3 && digits > 0 ? value * 256 + octet : -1;
}

/** Filled in by one call, and read again in it. */
const groups = new Uint16Array(8);

/** Mapped addresses stay what they are. @returns false if it is no IPv6 address */
export function readIPv6(text: string, words: Uint32Array): boolean {
  const { length } = text;
  let count = 0;
  /** Where `::` stands. */
  let gap = -1;
  let at = 0;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return false;
    gap = 0;
    at = 2;
  }
  while (at < length) {
    if (count === 8) return false;
    const begin = at;
    let group = 0;
    let code = 0;
    for (; at < length; at++) {
      code = text.charCodeAt(at);
      const digit = code < 128 ? (DIGITS[code] as number) : NONE;
      if (digit === NONE) break;
      group = group * 16 + digit;
    }
    if (at === begin || at > begin + 4) return false;
    if (at < length && code === DOT) {
      const last = readIPv4(text, begin);
      if (last < 0 || count > 6) return false;
      groups[count++] = last >>> 16;
      groups[count++] = last & 0xffff;
      break;
    }
    groups[count++] = group;
    if (at === length) break;
    if (code !== COLON || ++at === length) return false;
    if (text.charCodeAt(at) !== COLON) continue;
    if (gap !== -1) return false;
    gap = count;
    at++;
  }
  if (gap === -1 ? count !== 8 : count > 7) return false;
  for (let nth = 0; nth < 4; nth++) {
    words[nth] = groupAt(2 * nth, gap, count) * 0x1_0000 + groupAt(2 * nth + 1, gap, count);
  }
  return true;
}

/** Of all eight, when `count` are written and the others stand at `gap`. */
function groupAt(nth: number, gap: number, count: number): number {
  if (gap === -1 || nth < gap) return groups[nth] as number;
  const omitted = 8 - count;
  return nth < gap + omitted ? 0 : (groups[nth - omitted] as number);
}

/** An address as text (RFC 5952): of one word IPv4, of four IPv6. */
export function addressText(words: readonly number[]): string {
  const [first = 0, ...others] = words;
  if (others.length === 0) {
    return `${first >>> 24}.${(first >>> 16) & 255}.${(first >>> 8) & 255}.${first & 255}`;
  }
  const hex = words.map((word) => `${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`);
  // Shortens as RFC 5952 wants it, but for mapped addresses, which are IPv4 here.
  return new URL(`http://[${hex.join(':')}]`).hostname.slice(1, -1);
}
