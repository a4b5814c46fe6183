// The address a client connected to, as a label: one spelling for each.
import type { SocketAddress } from '../native.js';

const MAPPED = '::ffff:';

/** `203.0.113.1`, `2001:db8::1`, with the port `203.0.113.1:443`, `[2001:db8::1]:443` (RFC 5952); `unix` and `unknown` where there is none. */
export function vipOf(local: SocketAddress | undefined, withPort: boolean): string {
  if (local === undefined) return 'unknown';
  const { family, port } = local;
  if (family === 'unix') return 'unix';
  const address = withoutMapping(local.address);
  if (!withPort) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** An IPv4 client of a socket for both families is one of IPv4. */
const withoutMapping = (address: string): string =>
  address.startsWith(MAPPED) && address.includes('.') ? address.slice(MAPPED.length) : address;

export const isIPv4 = (local: SocketAddress | undefined): boolean =>
  local !== undefined && (local.family === 'IPv4' || withoutMapping(local.address) !== local.address);
