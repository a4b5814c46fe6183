// Clients of several local addresses: all of 127.0.0.0/8 is this host, so that its parts are prefixes without a namespace.
import { isIPv6 } from 'node:net';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import { ClientSource } from './client-source.js';
import { type HandedClient, type HandOverOptions, handOver } from './hand-over.js';

/** Hands a new client of the local address `local` over to the server at `path`. */
export async function handOverAt(
  path: string,
  local: string,
  kind: HandoverKind,
  options: HandOverOptions = {},
): Promise<HandedClient> {
  if (kind === 'relay') {
    const headers = { SERVER_ADDR: local, SERVER_PORT: '80', ...options.headers };
    return handOver(path, { ...options, kind, headers });
  }
  // To an address that is the host's by its prefix alone nothing can be bound in IPv6, unlike in IPv4.
  const source = new ClientSource(isIPv6(local) ? '::' : local);
  const accepted = await source.next(local);
  source.close();
  return handOver(path, { ...options, kind, accepted });
}
