// From a message with the descriptors beside it to a handover: whether they are those it needs, and which is which. Answers nobody, and
// closes no descriptor.

import { WireError } from './errors.js';
import type { Handover } from './handover.js';
import type { IncomingConnection } from './incoming-connection.js';
import { kindOf, type Message } from './message.js';
import { isListed, type PeerList } from './peer-list.js';
import { describeDescriptor, inspect, isConnectedStream, isUnixConnection } from './socket-facts.js';

/**
 * For a message of the dialect `fd_pass`: the client's descriptor; in a partial handover that was passed on the first sender's UNIX
 * connection behind it; in a relay that was passed on that connection alone.
 *
 * @throws FDPASS_ERR_NO_FD, FDPASS_ERR_NO_CONNECTION, FDPASS_ERR_TOO_MANY_FDS
 * @throws FDPASS_ERR_FD_TYPE, FDPASS_ERR_CONNECTION_TYPE
 */
export function checkDescriptors(
  { passedFd, fdFacts, secondFd, hasTooManyFds }: IncomingConnection,
  message: Message,
): void {
  const kind = kindOf(message);
  const needsSecond = kind === 'partial' && message.via !== undefined;
  if (passedFd === undefined) throw new WireError('FDPASS_ERR_NO_FD');
  if (hasTooManyFds || (secondFd !== undefined && !needsSecond)) {
    throw new WireError('FDPASS_ERR_TOO_MANY_FDS');
  }
  if (kind === 'relay') return checkConnection(fdFacts);
  if (!isConnectedStream(fdFacts)) throw new WireError('FDPASS_ERR_FD_TYPE', describeDescriptor(fdFacts));
  if (!needsSecond) return;
  if (secondFd === undefined) throw new WireError('FDPASS_ERR_NO_CONNECTION');
  checkConnection(inspect(secondFd.fd));
}

function checkConnection(facts: number): void {
  if (!isUnixConnection(facts)) {
    throw new WireError('FDPASS_ERR_CONNECTION_TYPE', describeDescriptor(facts));
  }
}

/**
 * The handover of a checked message that is all its connection brings; it owns the descriptors from now on.
 * @param trustedRouters who is believed who handed over first
 */
export function wholeHandover(
  connection: IncomingConnection,
  message: Message,
  trustedRouters: Required<PeerList>,
): Handover {
  const { headers, earlyBytes, via } = message;
  const isBelieved = via !== undefined && isListed(trustedRouters, connection.sender);
  const sender = isBelieved ? via.sender : connection.sender;
  const version = via?.version ?? message.version;
  const hops = via?.hops ?? 0;
  const passedFd = connection.takeFd();
  const kind = kindOf(message);
  switch (kind) {
    case 'full':
      return { kind, headers, version, sender, hops, earlyBytes, passedFd };
    case 'partial': {
      const second = connection.takeSecondFd();
      return { kind, headers, version, sender, hops, earlyBytes, passedFd, connection: second };
    }
    case 'relay': {
      const contentLength = message.relayLength as number;
      return { kind, headers, version, sender, hops, earlyBytes, connection: passedFd, contentLength };
    }
  }
}
