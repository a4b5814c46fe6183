// From a handover to the socket that http.Server gets: full (the descriptor alone), partial (read the UNIX connection, write
// the descriptor) or relay (the UNIX connection in CGI form); under kernel TLS as records. Takes the handover's descriptors on every path.
import { Socket } from 'node:net';
import {
  closeHandover,
  type FullHandover,
  type Handover,
  type PartialHandover,
  type PassedFd,
  type RelayHandover,
} from '@fdpass/scgi-fdpass';
import { CloseNotify } from './close-notify.js';
import type { ConnectionFacts } from './connection-info.js';
import { RuntimeError } from './errors.js';
import { HandoverSocket } from './handover-socket.js';
import { checkKernelTls } from './kernel-tls.js';
import { native, type SocketAddress } from './native.js';
import type { ResolvedOptions } from './options.js';
import { RelaySocket } from './relay-socket.js';
import { SplitSocket } from './split-socket.js';
import { isConnected } from './tcp-state.js';
import { TlsSource } from './tls-source.js';

export interface Adopted {
  readonly socket: HandoverSocket;
  /** What the answer is written to: borrowed, valid until the socket is closed. */
  readonly writeFd: number;
}

/**
 * Makes the socket; nothing is read from or written to it yet. The socket owns the descriptors.
 * @throws `BKR_ERR_ADOPT`, `BKR_ERR_TLS_MISMATCH`; the descriptors are closed then
 */
export function adopt(handover: Handover, facts: ConnectionFacts, options: ResolvedOptions): Adopted {
  try {
    if (handover.kind !== 'relay') {
      checkKernelTls(handover.passedFd.fd, { isEncrypted: facts.isEncrypted, kind: handover.kind });
    }
    if (handover.kind === 'full') {
      return facts.isEncrypted ? adoptFullTls(handover, facts, options) : adoptFull(handover, facts, options);
    }
    if (handover.kind === 'partial') return adoptPartial(handover, facts, options);
    return adoptRelay(handover, facts, options);
  } catch (cause) {
    try {
      closeHandover(handover);
    } catch {
      // A descriptor that somebody closed behind its owner's back: the cause says so.
    }
    if (cause instanceof RuntimeError) throw cause;
    throw new RuntimeError('BKR_ERR_ADOPT', { cause });
  }
}

function adoptFull(handover: FullHandover, facts: ConnectionFacts, options: ResolvedOptions): Adopted {
  const passedFd = aboveStandardStreams(handover.passedFd);
  tuneTcp(passedFd.fd, options);
  const writeFd = passedFd.fd;
  const socket = own(
    passedFd,
    (fd) => new HandoverSocket(socketFacts(facts), options, { fd, ...bufferSize(options) }),
  );
  applyOptions(socket, options);
  return { socket, writeFd };
}

/** The kernel decrypts and encrypts; its records that are no data are for this side to read, and to write. */
function adoptFullTls(handover: FullHandover, facts: ConnectionFacts, options: ResolvedOptions): Adopted {
  const split = splitOptions(facts, options);
  const passedFd = aboveStandardStreams(handover.passedFd);
  tuneTcp(passedFd.fd, options);
  const writeFd = passedFd.fd;
  // A descriptor of its own to read: libuv watches each one for one owner only.
  const reading = passedFd.dup();
  const closeNotify = new CloseNotify(writeFd);
  const events = {
    onTruncated: () => facts.noteTruncation(),
    onError: (error: RuntimeError) => {
      // What cannot be read stays there, unread.
      closeNotify.awaitClient(options.lingeringTimeMs);
      socket.owner?.onTlsError(error);
    },
  };
  let source: TlsSource | undefined;
  let sink: Socket | undefined;
  let socket: SplitSocket;
  try {
    source = new TlsSource(reading, events, options.highWaterMark);
    sink = writingSocket(passedFd);
    socket = new SplitSocket({
      ...split,
      source,
      sink,
      closeNotify,
      isPeerGone: () => false,
      isClientGone: () => !isConnected(writeFd),
    });
    applyOptions(socket, options);
    return { socket, writeFd };
  } catch (error) {
    source?.destroy();
    sink?.destroy();
    reading.close();
    throw error;
  }
}

function adoptPartial(
  { version, ...handover }: PartialHandover,
  facts: ConnectionFacts,
  options: ResolvedOptions,
): Adopted {
  const split = splitOptions(facts, options);
  const passedFd = aboveStandardStreams(handover.passedFd);
  const connection = aboveStandardStreams(handover.connection);
  tuneTcp(passedFd.fd, options);
  const writeFd = passedFd.fd;
  const sourceFd = connection.fd;
  // Never read: what the client sends there is for the web server to decrypt.
  const sink = writingSocket(passedFd);
  try {
    const socket = new SplitSocket({
      ...split,
      source: unixSocket(connection),
      sink,
      closeNotify: facts.isEncrypted ? new CloseNotify(writeFd) : undefined,
      // The public module closes for either end of the client; the answer may still be wanted.
      isPeerGone: () => version === 1 && isPeerGone(sourceFd),
      isClientGone: () => !isConnected(writeFd),
    });
    applyOptions(socket, options);
    return { socket, writeFd };
  } catch (error) {
    sink.destroy();
    throw error;
  }
}

function adoptRelay(
  { contentLength, earlyBytes, ...handover }: RelayHandover,
  facts: ConnectionFacts,
  options: ResolvedOptions,
): Adopted {
  const connection = aboveStandardStreams(handover.connection);
  const writeFd = connection.fd;
  const socket = new RelaySocket({
    ...splitOptions(facts, options),
    source: unixSocket(connection),
    contentLength,
    bodyBytes: contentLength - earlyBytes.length,
    isPeerGone: () => isPeerGone(writeFd),
    isClientGone: () => isPeerGone(writeFd),
  });
  return { socket, writeFd };
}

const splitOptions = (facts: ConnectionFacts, options: ResolvedOptions) => ({
  facts: socketFacts(facts),
  lingering: options,
  local: facts.local ?? NO_ADDRESS,
  highWaterMark: options.highWaterMark,
});

const NO_ADDRESS: SocketAddress = { family: 'unix', address: '', port: 0 };
const NOTHING = new Uint8Array(0);

/** Tells a full close from SHUT_WR: only after the former does the kernel refuse even an empty write. */
function isPeerGone(fd: number): boolean {
  try {
    native().write(fd, NOTHING);
    return false;
  } catch {
    return true;
  }
}

const writingSocket = (passedFd: PassedFd): Socket =>
  own(passedFd, (fd) => new Socket({ fd, readable: false, writable: true, allowHalfOpen: true }));

const unixSocket = (connection: PassedFd): Socket =>
  own(connection, (fd) => new Socket({ fd, readable: true, writable: true, allowHalfOpen: true }));

const socketFacts = (facts: ConnectionFacts) => ({
  client: facts.client,
  encrypted: facts.isEncrypted,
});

const bufferSize = ({ highWaterMark }: ResolvedOptions): { highWaterMark?: number } =>
  highWaterMark === undefined ? {} : { highWaterMark };

/** libuv never closes descriptors 0 to 2, which it takes for the standard streams: a socket gets another number for them. */
function aboveStandardStreams(passedFd: PassedFd): PassedFd {
  if (passedFd.fd > 2) return passedFd;
  using low = passedFd;
  return aboveStandardStreams(low.dup());
}

/** Moves a descriptor into a socket; whichever of the two fails, it has exactly one owner. */
export function own<T extends Socket>(passedFd: PassedFd, makeSocket: (fd: number) => T): T {
  const fd = passedFd.take();
  try {
    return makeSocket(fd);
  } catch (error) {
    native().closeFd(fd);
    throw error;
  }
}

/** As net.Server does; through the socket, so that it knows what a later `setNoDelay(false)` changes. */
export function applyOptions(socket: Socket, options: ResolvedOptions): void {
  if (options.noDelay) socket.setNoDelay(true);
  if (options.tcpKeepAlive) socket.setKeepAlive(true, options.tcpKeepAliveInitialDelayMs);
}

/** The web server's settings do not fit a socket that Node.js writes: nginx corks. Borrows. */
export function tuneTcp(fd: number, { tcpUserTimeoutMs }: ResolvedOptions): void {
  const { setOption, constants } = native();
  try {
    setOption(fd, constants.IPPROTO_TCP, constants.TCP_CORK, 0);
    if (tcpUserTimeoutMs > 0) {
      setOption(fd, constants.IPPROTO_TCP, constants.TCP_USER_TIMEOUT, tcpUserTimeoutMs);
    }
  } catch {
    // AF_UNIX clients have no TCP options, and a client that is gone already refuses them: reading will tell.
  }
}
