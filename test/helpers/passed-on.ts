// Messages as a router sends them, and the descriptors that go beside them.
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import type { ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { acceptedFd } from './client-source.js';
import { GET, versionOne } from './wire-sender.js';

const native = loadNative();

export type Headers = readonly (readonly [name: string, value: string])[];

/** It has come through three routers. */
export const VIA: Headers = [
  ['FD_PASS_VIA', '3'],
  ['FD_PASS_VIA_PID', '4711'],
  ['FD_PASS_VIA_UID', '33'],
  ['FD_PASS_VIA_GID', '34'],
];
const OWN: Record<HandoverKind, Headers> = {
  full: [],
  partial: [['KTLS_RX', '0']],
  relay: [['FD_PASS_RELAY', '300000']],
};
export const KINDS = Object.keys(OWN) as HandoverKind[];

export const EARLY = 'name=value';

/** Of {@link EARLY} as early bytes; a relay's body is 300000 bytes long. */
export const message = (kind: HandoverKind, more: Headers = []): Buffer =>
  versionOne({ headers: [...VIA, ...OWN[kind], ...more, ...GET], earlyBytes: Buffer.from(EARLY) });

/** A first sender's UNIX connection; both ends are closed with the test. @returns the end that travels, and the sender's */
export function unixConnection(t: ExecutionContext): [travels: number, senders: number] {
  const ends = native.socketpair();
  t.teardown(() => {
    for (const fd of ends) native.closeFd(fd);
  });
  return ends;
}

/** What a proper router sends beside a message. */
export async function descriptors(t: ExecutionContext, kind: HandoverKind): Promise<number[]> {
  const [connection] = unixConnection(t);
  if (kind === 'relay') return [connection];
  return kind === 'full' ? [await acceptedFd(t)] : [await acceptedFd(t), connection];
}
