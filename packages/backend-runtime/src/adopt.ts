// From a handover to the socket that http.Server gets: full (the descriptor alone), partial (read the UNIX connection, write
// the descriptor) or relay (the UNIX connection in CGI form). Takes the handover's descriptors on every path.
import { Socket } from 'node:net';
import { closeHandover, type Handover, type PassedFd } from '@fdpass/scgi-fdpass';
import type { ConnectionFacts } from './connection-info.js';
import { RuntimeError } from './errors.js';
import { HandoverSocket } from './handover-socket.js';
import { native } from './native.js';
import type { ResolvedOptions } from './options.js';
import { RelaySocket } from './relay-socket.js';
import { SplitSocket } from './split-socket.js';

export interface Adopted {
  readonly socket: HandoverSocket;
  /** What the answer is written to: borrowed, valid until the socket is closed. */
  readonly writeFd: number;
}

/**
 * Makes the socket; nothing is read from or written to it yet. The socket owns the descriptors.
 * @throws `BKR_ERR_ADOPT`; the descriptors are closed then
 */
export function adopt(handover: Handover, facts: ConnectionFacts, options: ResolvedOptions): Adopted {
  try {
    if (handover.kind === 'full') return adoptFull(handover.passedFd, facts, options);
    if (handover.kind === 'partial')
      return adoptPartial(handover.passedFd, handover.connection, facts, options);
    return adoptRelay(
      handover.connection,
      handover.contentLength - handover.earlyBytes.length,
      facts,
      options,
    );
  } catch (cause) {
    closeHandover(handover);
    throw new RuntimeError('BKR_ERR_ADOPT', { cause });
  }
}

function adoptFull(passedFd: PassedFd, facts: ConnectionFacts, options: ResolvedOptions): Adopted {
  tuneTcp(passedFd.fd, options);
  const writeFd = passedFd.fd;
  const socket = own(
    passedFd,
    (fd) => new HandoverSocket(socketFacts(facts), options, { fd, ...bufferSize(options) }),
  );
  if (options.tcpKeepAlive) socket.setKeepAlive(true, options.tcpKeepAliveInitialDelayMs);
  return { socket, writeFd };
}

function adoptPartial(
  passedFd: PassedFd,
  connection: PassedFd,
  facts: ConnectionFacts,
  options: ResolvedOptions,
): Adopted {
  tuneTcp(passedFd.fd, options);
  const writeFd = passedFd.fd;
  const local = facts.local ?? { family: 'unix', address: '', port: 0 };
  // Never read: what the client sends there is for the web server to decrypt.
  const sink = own(
    passedFd,
    (fd) => new Socket({ fd, readable: false, writable: true, allowHalfOpen: true }),
  );
  try {
    const source = unixSocket(connection);
    const socket = new SplitSocket({
      facts: socketFacts(facts),
      lingering: options,
      source,
      sink,
      local,
      highWaterMark: options.highWaterMark,
    });
    if (options.tcpKeepAlive) socket.setKeepAlive(true, options.tcpKeepAliveInitialDelayMs);
    return { socket, writeFd };
  } catch (error) {
    sink.destroy();
    throw error;
  }
}

function adoptRelay(
  connection: PassedFd,
  bodyBytes: number,
  facts: ConnectionFacts,
  options: ResolvedOptions,
): Adopted {
  const writeFd = connection.fd;
  const socket = new RelaySocket({
    facts: socketFacts(facts),
    lingering: options,
    source: unixSocket(connection),
    bodyBytes: Math.max(0, bodyBytes),
    local: facts.local ?? { family: 'unix', address: '', port: 0 },
    highWaterMark: options.highWaterMark,
  });
  return { socket, writeFd };
}

const unixSocket = (connection: PassedFd): Socket =>
  own(connection, (fd) => new Socket({ fd, readable: true, writable: true, allowHalfOpen: true }));

const socketFacts = (facts: ConnectionFacts) => ({
  client: facts.client,
  encrypted: facts.tls !== undefined,
});

const bufferSize = ({ highWaterMark }: ResolvedOptions): { highWaterMark?: number } =>
  highWaterMark === undefined ? {} : { highWaterMark };

/** Moves a descriptor into a socket; whichever of the two fails, it has exactly one owner. */
function own<T extends Socket>(passedFd: PassedFd, makeSocket: (fd: number) => T): T {
  const fd = passedFd.take();
  try {
    return makeSocket(fd);
  } catch (error) {
    native().closeFd(fd);
    throw error;
  }
}

/** The web server's settings do not fit a socket that Node.js writes: nginx corks, and leaves Nagle's algorithm on. */
function tuneTcp(fd: number, { noDelay, tcpUserTimeoutMs }: ResolvedOptions): void {
  const { setOption, constants } = native();
  try {
    setOption(fd, constants.IPPROTO_TCP, constants.TCP_CORK, 0);
    if (noDelay) setOption(fd, constants.IPPROTO_TCP, constants.TCP_NODELAY, 1);
    if (tcpUserTimeoutMs > 0) {
      setOption(fd, constants.IPPROTO_TCP, constants.TCP_USER_TIMEOUT, tcpUserTimeoutMs);
    }
  } catch {
    // AF_UNIX clients have no TCP options, and a client that is gone already refuses them: reading will tell.
  }
}
