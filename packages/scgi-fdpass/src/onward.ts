// From a handover that was received to the message that passes it on to another backend. Pure: whose turn it is, and what becomes of
// the descriptors afterwards, is the router's business.

import { WireError } from './errors.js';
import type { Handover } from './handover.js';
import type { OutgoingHandover } from './sender.js';
import { MAX_HOPS, ROUTER_NAMES } from './via.js';

/** Written anew for each hop, or of no meaning behind one: the router's connection is no channel. */
const NOT_PASSED_ON: ReadonlySet<string> = new Set([
  'CONTENT_LENGTH',
  'SCGI',
  'FD_PASS_VERSION',
  'FD_PASS_KEEPALIVE',
  ...ROUTER_NAMES,
]);

/**
 * Makes the message that passes a handover on: `await sender.send(passOn(handover))`. It borrows the handover's descriptors. Once the
 * outcome is `taken`, close yours with `closeHandover`, which touches nothing that is shared; as long as it is not, the client is yours,
 * to be offered elsewhere, served or answered.
 *
 * @throws FDPASS_ERR_HOPS it came through 99 routers already
 * @throws FDPASS_ERR_FD_TAKEN a descriptor of it was taken or closed
 */
export function passOn(handover: Handover): OutgoingHandover {
  const { hops, sender, version, earlyBytes } = handover;
  if (hops >= MAX_HOPS) throw new WireError('FDPASS_ERR_HOPS', MAX_HOPS);
  const headers: (readonly [name: string, value: string])[] = [
    ['FD_PASS_VIA', String(hops + 1)],
    ['FD_PASS_VIA_PID', String(sender.pid)],
    ['FD_PASS_VIA_UID', String(sender.uid)],
    ['FD_PASS_VIA_GID', String(sender.gid)],
  ];
  if (version === 0) headers.push(['FD_PASS_VIA_VERSION', '0']);
  if (handover.kind === 'relay') headers.push(['FD_PASS_RELAY', String(handover.contentLength)]);
  for (const entry of handover.headers.entries()) {
    if (!NOT_PASSED_ON.has(entry[0])) headers.push(entry);
  }
  switch (handover.kind) {
    case 'full':
      return { headers, earlyBytes, fd: handover.passedFd.fd };
    case 'partial':
      return { headers, earlyBytes, fd: handover.passedFd.fd, connectionFd: handover.connection.fd };
    case 'relay':
      return { headers, earlyBytes, fd: handover.connection.fd };
  }
}
