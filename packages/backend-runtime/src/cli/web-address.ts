// A bound TCP address as a person types it into a browser.
import type { SocketAddress } from '../native.js';

/** `http://127.0.0.1:8080/`; a wildcard address becomes localhost. */
export function webAddress({ address, family, port }: SocketAddress): string {
  const isWildcard = address === '0.0.0.0' || address === '::';
  const host = isWildcard ? 'localhost' : family === 'IPv6' ? `[${address}]` : address;
  return `http://${host}:${port}/`;
}
