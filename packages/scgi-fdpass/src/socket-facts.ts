// What a descriptor is, from the bits the kernel answered, and whether a client can be behind it.
import { native, SOCKET_FACT } from './native.js';

const TYPE_MASK = 0xf;

/** True for a connected stream socket of AF_INET, AF_INET6 or AF_UNIX: the only thing that can be adopted. */
export function isConnectedStream(facts: number): boolean {
  const { AF_UNIX, AF_INET, AF_INET6, SOCK_STREAM } = native().constants;
  const domain = facts & SOCKET_FACT.DOMAIN_MASK;
  return (
    (domain === AF_INET || domain === AF_INET6 || domain === AF_UNIX) &&
    ((facts >> SOCKET_FACT.TYPE_SHIFT) & TYPE_MASK) === SOCK_STREAM &&
    (facts & SOCKET_FACT.LISTENING) === 0 &&
    (facts & SOCKET_FACT.CONNECTED) !== 0
  );
}

/** True for a connected AF_UNIX stream: what a sender's own connection is, also once that sender has closed it. */
export const isUnixConnection = (facts: number): boolean =>
  isConnectedStream(facts) && (facts & SOCKET_FACT.DOMAIN_MASK) === native().constants.AF_UNIX;

/** What the kernel says of a descriptor, which is borrowed; 0 for what it says nothing of (O_PATH). */
export function inspect(fd: number): number {
  try {
    return native().inspectSocket(fd);
  } catch {
    return 0;
  }
}

/** True for a listening AF_UNIX stream socket: the only thing a receiver can be given to listen on. */
export function isUnixListener(facts: number): boolean {
  const { AF_UNIX, SOCK_STREAM } = native().constants;
  return (
    (facts & SOCKET_FACT.DOMAIN_MASK) === AF_UNIX &&
    ((facts >> SOCKET_FACT.TYPE_SHIFT) & TYPE_MASK) === SOCK_STREAM &&
    (facts & SOCKET_FACT.LISTENING) !== 0
  );
}

/** For error messages: 'a listening socket', 'a datagram socket', ... */
export function describeDescriptor(facts: number): string {
  if (facts === 0) return 'no socket';
  const { SOCK_STREAM } = native().constants;
  const type = (facts >> SOCKET_FACT.TYPE_SHIFT) & TYPE_MASK;
  if ((facts & SOCKET_FACT.LISTENING) !== 0) return 'a listening socket';
  if (type !== SOCK_STREAM) return 'a socket that is no stream';
  if ((facts & SOCKET_FACT.CONNECTED) === 0) return 'a stream socket without a peer (the client may be gone)';
  return `a stream socket of address family ${facts & SOCKET_FACT.DOMAIN_MASK}`;
}
