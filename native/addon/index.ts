// Loads the addon and types it. Thin on purpose: what a descriptor is for is decided by the packages above.
// Ownership: each function says whether it borrows, takes or returns ownership of a descriptor.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Positions inside one record of a batch (see {@link FdListener}); a record is `RECORD.STRIDE` 32-bit integers.
 *
 * `FD_COUNT` says how many of `FD_0`, `FD_1` are set (-1 otherwise). `FD_0_FACTS` is what {@link NativeBinding.inspectSocket}
 * would answer for `FD_0`, 0 without one. `PID`, `UID`, `GID` are the sender's, by SO_PEERCRED as of connect; ids are unsigned, so
 * read them as `records[i] >>> 0`.
 */
export const RECORD = {
  CONNECTION: 0,
  OFFSET: 1,
  LENGTH: 2,
  FLAGS: 3,
  ERRNO: 4,
  FD_COUNT: 5,
  FD_0: 6,
  FD_1: 7,
  FD_0_FACTS: 8,
  PID: 9,
  UID: 10,
  GID: 11,
  STRIDE: 12,
} as const;

/** Bits of `RECORD.FLAGS`. */
export const RECORD_FLAG = {
  /** The sender closed its end (or its write side): no more bytes will come. */
  EOF: 1,
  /** The deadline of this connection passed before the receiver closed or detached it; what came in time was reported before. */
  TIMEOUT: 2,
  /** recvmsg said MSG_CTRUNC: ancillary data was cut, descriptors were lost. */
  CONTROL_TRUNCATED: 4,
  /** More than two descriptors came; the extra ones are closed already. */
  TOO_MANY_FDS: 8,
  /** recvmsg failed; `RECORD.ERRNO` has the (positive) errno. */
  ERROR: 16,
} as const;

/** Bits of what {@link NativeBinding.inspectSocket} answers. */
export const SOCKET_FACT = {
  /** `facts & DOMAIN_MASK` is AF_INET (2), AF_INET6 (10), AF_UNIX (1), ... */
  DOMAIN_MASK: 0xff,
  /** `(facts >> TYPE_SHIFT) & 0xf` is SOCK_STREAM (1), SOCK_DGRAM (2), ... */
  TYPE_SHIFT: 8,
  /** Set for a listening socket (SO_ACCEPTCONN). */
  LISTENING: 1 << 12,
  /** Set when getpeername() answers. */
  CONNECTED: 1 << 13,
} as const;

/** What {@link FdListener} is given. All bounds are required: defaults are the receiver's business. */
export interface FdListenerOptions {
  /** Most records in one batch, and most connections accepted in one wake-up: 1 to 4096. A channel may have several of them. */
  maxBatch: number;
  /** Milliseconds from accept to `close`, `detach` or `keep` of a connection, and from `expectMessage` on a channel; from 1. */
  messageTimeoutMs: number;
  /** Accepted connections that wait for their message, from 1; at this number accepting pauses. Channels do not count. */
  maxPendingConnections: number;
  /**
   * Descriptors kept free under the soft RLIMIT_NOFILE (at most half of it); with fewer, accepting pauses. Receiving pauses when
   * less than what one message may bring is free: in the backlog and in the socket nothing is lost.
   */
  minFreeDescriptors: number;
}

/** Counters of one {@link FdListener}, since its creation. */
export interface FdListenerStats {
  accepted: number;
  /** Connections accepted and not yet closed, detached or kept. */
  pending: number;
  /** Kept, and not yet closed or detached. */
  channels: number;
  /** How often accepting or receiving paused for lack of descriptors (EMFILE, ENFILE, headroom). */
  descriptorPauses: number;
  /** How often accepting paused because `maxPendingConnections` was reached. */
  pendingPauses: number;
}

/**
 * Called once per wake-up with every message part that arrived: `bytes` holds all of them one after the other, `records`
 * says which bytes and descriptors belong to which connection. Descriptors in `records` stay registered with the addon until
 * `takeFd` or `closeFd`: an environment that ends in the middle of a batch leaks none.
 */
export type BatchListener = (bytes: Buffer, records: Int32Array) => void;

/**
 * Accepts connections on a listening UNIX stream socket and receives bytes and descriptors on them.
 * A connection about which the callback does nothing keeps waiting for more bytes until its deadline. Its end, its error and its
 * deadline are each reported once; it stays until it is closed or detached. Every method may be called from the callback; after
 * `close` they do nothing. An unknown connection is EBADF.
 */
export interface FdListener {
  /** Begins (or goes on) accepting. Idempotent. */
  start(): void;
  /** Stops accepting; pending connections go on. Idempotent. */
  pause(): void;
  /**
   * Accepts what is in the accept queue until it is empty, then closes the listening descriptor and calls `onDrained`.
   * Connections still pending afterwards go on until closed, detached or late. `onDrained` is called from the event loop, and not
   * at all if `close` comes first.
   * @throws EBADF on a closed listener
   */
  drain(onDrained: () => void): void;
  /**
   * Closes a connection. `reply` (a byte value) is sent first, without blocking.
   * @returns 0, or the positive errno if the reply could not be sent (the connection is closed all the same).
   */
  closeConnection(connection: number, reply?: number): number;
  /**
   * Gives the connection's descriptor to the caller (returns ownership; registered until `takeFd`), after sending `reply` if given.
   * @returns the descriptor, or a negative errno if the reply could not be sent (then the connection is closed).
   */
  detachConnection(connection: number, reply?: number): number;
  /**
   * Makes a connection a channel, on which many messages come: it has no deadline from now on, does not count as pending, and one
   * batch may have several records of it, in their order. Again: the message that was expected is there. Idempotent.
   * @returns 0 or EBADF
   */
  keepConnection(connection: number): number;
  /**
   * The deadline of a message that has begun on a channel: `messageTimeoutMs` from now.
   * @returns 0 or EBADF
   */
  expectMessage(connection: number): number;
  /**
   * SHUT_RD: what has arrived is reported, then the end. The sender can send nothing more, and still read its answers.
   * @returns 0 or EBADF
   */
  endReceiving(connection: number): number;
  /**
   * Sends the first `count` (1 to 64) of `answers` in one send(2), without blocking: all of them, or none. The connection stays.
   * @returns 0, or the positive errno
   */
  answer(connection: number, answers: Uint8Array, count: number): number;
  stats(): FdListenerStats;
  ref(): void;
  unref(): void;
  /** Closes the listening descriptor, every pending connection and every channel. Idempotent. */
  close(): void;
}

/**
 * `events`: a set of `READABLE` (1), `WRITABLE` (2), `DISCONNECT` (4). `errno` is 0, or positive when polling itself failed. A socket in
 * error (reset by its peer) is reported with every event that was asked for: the next operation on it says which error it is.
 */
export type PollCallback = (events: number, errno: number) => void;

/**
 * Readiness of any pollable descriptor on the environment's own loop. Level-triggered. Close it before its descriptor is closed or
 * given to a net.Socket: libuv has one watcher per descriptor.
 */
export interface FdPoller {
  /** Polls for `events`; again with other events changes them. */
  start(events: number): void;
  stop(): void;
  ref(): void;
  unref(): void;
  /** Ends polling and frees the poller; the descriptor stays the caller's. Idempotent. */
  close(): void;
}

/** Positions inside one record of a {@link ParkingListener}; a record is `PARKING.STRIDE` 32-bit integers. */
export const PARKING = { FD: 0, EVENT: 1, OFFSET: 2, LENGTH: 3, STRIDE: 4 } as const;

/** What `PARKING.EVENT` says. */
export const PARKING_EVENT = {
  /** The client has sent something, which is in the bytes. It stays parked, without a deadline. */
  READ: 1,
  /** The client closed its end, or the socket failed. It has left. */
  ENDED: 2,
  /** It was parked for as long as it might. It has left. */
  EXPIRED: 3,
} as const;

/** Called once per wake-up: `bytes` holds what all of them have sent, `records` says whose is what. */
export type ParkingListener = (bytes: Buffer, records: Int32Array) => void;

/**
 * Clients that wait for nothing but their next request, at some hundred bytes each, on the environment's own loop. Borrows their
 * descriptors: one that is closed must be unparked before. While it is not empty it keeps the process alive.
 */
export interface ParkingLot {
  /** @param timeoutMs from now on, 0: for ever; of one that is parked already it is set anew */
  park(fd: number, timeoutMs: number): void;
  /** @returns false if it is not parked (any more) */
  unpark(fd: number): boolean;
  size(): number;
  /** Forgets all of them. Idempotent. */
  close(): void;
}

export interface SocketAddress {
  family: 'IPv4' | 'IPv6' | 'unix';
  /** IP address in canonical text (IPv4-mapped stays `::ffff:…`), or the path of a UNIX socket ('' if unnamed). */
  address: string;
  /** 0 for UNIX sockets. */
  port: number;
}

export interface PeerCredentials {
  pid: number;
  uid: number;
  gid: number;
}

/** From `getsockopt(TCP_INFO)`, see tcp(7) and linux/tcp.h. Fields an older kernel lacks are 0. */
export interface TcpInfo {
  state: number;
  rttUs: number;
  rttVarianceUs: number;
  retransmits: number;
  totalRetransmits: number;
  sendMss: number;
  receiveMss: number;
  advertisedMss: number;
  pathMtu: number;
  sendCongestionWindow: number;
  receiveSpace: number;
  unacked: number;
  bytesAcked: number;
  bytesReceived: number;
  bytesSent: number;
  bytesRetransmitted: number;
  notSentBytes: number;
  deliveryRate: number;
}

export interface NetworkInterface {
  index: number;
  name: string;
}

/**
 * What the addon exports. A function that fails throws a system error: an `Error` with `code` ('ENOENT'), `errno` (negative,
 * as Node.js has it, which also calls EOPNOTSUPP 'ENOTSUP') and `syscall`, and where it applies `path` ('@' for the NUL of an abstract
 * one), `address` and `port`. Wrong argument types throw a `TypeError`, numbers out of bounds a `RangeError`.
 * Functions that say so answer -1 instead of throwing EAGAIN.
 */
export interface NativeBinding {
  readonly FdListener: new (
    /** A listening AF_UNIX stream socket; the listener takes ownership when the constructor returns. */
    fd: number,
    options: FdListenerOptions,
    onBatch: BatchListener,
  ) => FdListener;
  readonly FdPoller: new (
    /** Borrowed, and made nonblocking. If something in this loop polls it already (EEXIST) a dup is polled, and closed with the poller. */
    fd: number,
    callback: PollCallback,
  ) => FdPoller;

  readonly ParkingLot: new (onEvents: ParkingListener) => ParkingLot;

  // --- ownership
  /**
   * Puts a descriptor the caller owns into the addon's registry: it is closed when this environment ends (a worker thread that is
   * terminated), unless `takeFd` or `closeFd` came before. Harmless for one that is registered.
   */
  registerFd(fd: number): void;
  /** Takes a descriptor out of the addon's registry: from now on the caller alone must close it. Answers `fd`, registered or not. */
  takeFd(fd: number): number;
  /** Closes a descriptor the caller owns, registered or not. EINTR counts as closed (close(2)). */
  closeFd(fd: number): void;
  /** Borrows, returns ownership of a duplicate (F_DUPFD_CLOEXEC; not registered). */
  dupFd(fd: number): number;
  /** How many descriptors are registered in this environment: 0 when nothing is in flight. */
  registeredFdCount(): number;

  // --- UNIX sockets
  /**
   * Binds (does not listen) a socket of `type` (SOCK_STREAM, SOCK_DGRAM), CLOEXEC and nonblocking, and returns ownership. `mode` is set on the socket
   * before bind, so the path never allows more than `mode & ~umask`. A path that begins with NUL is abstract. @default type SOCK_STREAM
   */
  bindUnix(path: string, mode: number, type?: number): number;
  /** Borrows. listen(2); the kernel clamps `backlog` to net.core.somaxconn. */
  listen(fd: number, backlog: number): void;
  /**
   * Connects a nonblocking socket of `type` and returns ownership. Throws at once: ECONNREFUSED, EAGAIN (backlog full), ENOENT.
   * @default type SOCK_STREAM
   */
  connectUnix(path: string, type?: number): number;
  /** Two connected AF_UNIX stream sockets, nonblocking, CLOEXEC; returns ownership of both. */
  socketpair(): [number, number];
  /**
   * Runs `whileLocked` holding an exclusive flock(2) on a directory.
   * @throws EWOULDBLOCK if another process holds it for longer than `timeoutMs`.
   */
  withDirectoryLock<T>(directory: string, timeoutMs: number, whileLocked: () => T): T;

  // --- TCP sockets
  /**
   * Binds (does not listen) a nonblocking TCP socket with SO_REUSEADDR; `address` is an IP literal; '::' is dual-stack. Returns ownership.
   * @param reusePort SO_REUSEPORT: it may share the port with sockets of the same user that have it, too. @default false
   */
  bindTcp(address: string, port: number, reusePort?: boolean): number;
  /** Borrows. accept4(2); returns ownership of a nonblocking CLOEXEC socket, or -1 for EAGAIN and for a client that is gone. */
  accept(fd: number): number;
  /** Takes. Closes with SO_LINGER 0: a TCP client gets a reset. Any other descriptor is just closed. */
  resetTcp(fd: number): void;
  /**
   * Borrows. SO_ATTACH_REUSEPORT_CBPF: from now on `program` chooses among all listening sockets of the SO_REUSEPORT group of `fd`, by the
   * order of their listen(), from 0; with a number past the last one the kernel spreads by hash. It replaces the program before.
   * @param program up to 4096 struct sock_filter (linux/filter.h) of 8 bytes each, in the byte order of the machine
   * @throws EINVAL if the kernel takes no such program, or the socket has listened without SO_REUSEPORT and alone; ENOMEM if it is larger
   *   than net.core.optmem_max allows
   */
  attachReuseportFilter(fd: number, program: Uint8Array): void;

  // --- bytes. All borrow, none blocks.
  /** recv(MSG_PEEK). `target` must not be empty. @returns bytes, 0 at the end, -1 for EAGAIN. */
  peek(fd: number, target: Uint8Array): number;
  /** recv. `target` must not be empty. @returns bytes, 0 at the end, -1 for EAGAIN. */
  read(fd: number, target: Uint8Array): number;
  /** send(MSG_NOSIGNAL). @returns bytes written, -1 for EAGAIN. */
  write(fd: number, bytes: Uint8Array): number;
  /**
   * One sendmsg of `head` (as UTF-8) and `body`.
   * @param endFollows SHUT_WR behind it, if all of it is taken: the kernel sends that in one segment with the last bytes (MSG_MORE)
   * @returns how many bytes were not taken: 0 is all of it; more, because the socket is full or has failed
   */
  sendAnswer(fd: number, endFollows: boolean, head: string, body?: Uint8Array): number;
  /**
   * One sendmsg with `fds` (1 or 2) in SCM_RIGHTS; borrows them. `bytes` must not be empty: descriptors travel with the first one.
   * @returns bytes written (may be short: the rest is written without `fds`), -1 for EAGAIN.
   * @throws ENOTSUP on a socket that is not AF_UNIX
   */
  sendFds(fd: number, bytes: Uint8Array, fds: readonly number[]): number;
  /** `how`: 0 SHUT_RD, 1 SHUT_WR, 2 SHUT_RDWR. ENOTCONN is not an error. */
  shutdown(fd: number, how: 0 | 1 | 2): void;
  /**
   * sendfile(2) from `inFd` at `offset` to `outFd`, up to `length` bytes, in the thread pool. Stops early at EAGAIN, unless there is room
   * again within 1 ms (for 5 ms in all, and one job of the process at a time), and at the end of its turn: after 10 ms, or after 4 MiB
   * while other jobs want a thread; then nothing tells but the bytes sent. Borrows both and makes `outFd` nonblocking; it works on
   * duplicates, so a descriptor that is closed too early does no harm. `error` is a system error.
   * @param callback gets the bytes sent and whether it stopped because the socket is full.
   */
  sendfile(
    outFd: number,
    inFd: number,
    offset: number,
    length: number,
    callback: (error: Error | null, bytes: number, wouldBlock: boolean) => void,
  ): void;

  // --- kernel TLS (linux/tls.h). All borrow, none blocks.
  /**
   * What the kernel does for a socket in one direction: 1 is TLS_TX (it encrypts), 2 TLS_RX (it decrypts).
   * @returns `version * 65536 + cipher` (0x0303 is TLS 1.2; ciphers as in linux/tls.h), 0 for a socket without TLS, -1 for one with TLS
   *   that has no keys for this direction
   */
  tlsDirection(fd: number, direction: 1 | 2): number;
  /**
   * recvmsg with the record's type. `target` must not be empty. Empty records of data are read past.
   * @returns bytes of application data, 0 at the end of the TCP stream, -1 for EAGAIN, and for a record of another type (21 is an
   *   alert, 22 a handshake message) `-(type * 65536 + length)`, with its bytes in `target`
   * @throws EBADMSG, EKEYEXPIRED, EINVAL for records that cannot be decrypted; writing goes on as before
   */
  readTlsRecord(fd: number, target: Uint8Array): number;
  /**
   * Sends one alert record; `level`: 1 warning, 2 fatal. close_notify is (1, 0).
   * @returns 2, or -1 for EAGAIN
   */
  sendTlsAlert(fd: number, level: 1 | 2, description: number): number;

  // --- facts and options. All borrow.
  /** SO_DOMAIN, SO_TYPE, SO_ACCEPTCONN and whether getpeername() answers, as {@link SOCKET_FACT} bits; 0 if it is no socket. */
  inspectSocket(fd: number): number;
  localAddress(fd: number): SocketAddress;
  peerAddress(fd: number): SocketAddress;
  /** SO_PEERCRED. A socket without (TCP) answers pid 0 and ids of 4294967295. */
  peerCredentials(fd: number): PeerCredentials;
  /**
   * The interface the client came in by: the device of the ACK that completed the handshake. 0 if the kernel does not say
   * (active-open sockets, AF_UNIX). The option it needs is switched on and off again at once.
   */
  ingressIfindex(fd: number): number;
  tcpInfo(fd: number): TcpInfo;
  /**
   * Bytes received (`target[0]`), and sent or still to be sent, each once (`target[1]`), since the connection began.
   * @param target of two numbers
   * @returns false, and writes nothing, for what is no TCP socket
   */
  tcpBytes(fd: number, target: Float64Array): boolean;
  getOption(fd: number, level: number, name: number): number;
  setOption(fd: number, level: number, name: number, value: number): void;
  /** The name of the TCP upper layer protocol (TCP_ULP): 'tls', or '' for none, also on a socket that is not TCP. */
  tcpUlp(fd: number): string;
  /** ioctl(SIOCINQ): bytes not yet read. */
  readQueueBytes(fd: number): number;
  /** ioctl(SIOCOUTQ): bytes not yet acknowledged (TCP) or not yet read by the peer (UNIX). */
  writeQueueBytes(fd: number): number;
  /** if_nameindex(3). */
  interfaces(): NetworkInterface[];
  /**
   * A nonblocking CLOEXEC socket of rtnetlink(7) that is readable when a network interface has come, gone or changed. Returns
   * ownership. Needs no privileges.
   */
  openLinkEvents(): number;
  /** Borrows. Reads what waits there, a bounded number of messages. @returns whether an interface has changed, or messages were lost */
  drainLinkEvents(fd: number): boolean;
  /** getpwnam_r(3). @throws a system error with code ENOENT if there is no such user */
  userId(name: string): number;
  /** getgrnam_r(3). @throws a system error with code ENOENT if there is no such group */
  groupId(name: string): number;
  /** `{ soft, hard }` of RLIMIT_NOFILE. */
  descriptorLimits(): { soft: number; hard: number };

  /** Levels, option names and event bits by their C names: `SOL_SOCKET`, `TCP_NODELAY`, `READABLE`, ... */
  readonly constants: Readonly<Record<NativeConstant, number>>;
}

export type NativeConstant =
  | 'SOL_SOCKET'
  | 'SO_RCVLOWAT'
  | 'SO_KEEPALIVE'
  | 'SO_RCVBUF'
  | 'SO_SNDBUF'
  | 'SO_REUSEADDR'
  | 'SO_REUSEPORT'
  | 'IPPROTO_TCP'
  | 'TCP_NODELAY'
  | 'TCP_CORK'
  | 'TCP_USER_TIMEOUT'
  | 'TCP_MAXSEG'
  | 'AF_UNIX'
  | 'AF_INET'
  | 'AF_INET6'
  | 'SOCK_STREAM'
  | 'SOCK_DGRAM'
  | 'READABLE'
  | 'WRITABLE'
  | 'DISCONNECT';

const require = createRequire(import.meta.url);
const packageRoot = join(dirname(fileURLToPath(import.meta.url)), '..');
let loaded: NativeBinding | undefined;

/**
 * Loads the addon: from `build/` if it was built here, else from a prebuild. The second call answers the first one's binding.
 * @throws `ERR_FDPASS_PLATFORM` on another system than Linux; `ERR_FDPASS_ADDON` if there is no binary for this machine (with what
 * to do about it; `cause` has the loader's own error).
 */
export function loadNative(): NativeBinding {
  if (loaded !== undefined) return loaded;
  if (process.platform !== 'linux') {
    throw Object.assign(
      new Error(`@fdpass passes descriptors by Linux system calls: it does not run on ${process.platform}.`),
      { code: 'ERR_FDPASS_PLATFORM' },
    );
  }
  try {
    loaded = require('node-gyp-build')(packageRoot) as NativeBinding;
  } catch (cause) {
    throw Object.assign(
      new Error(
        `@fdpass/native has no binary for ${process.arch} here: install python3, make and g++, then run "node install.cjs" in ${packageRoot}.`,
        { cause },
      ),
      { code: 'ERR_FDPASS_ADDON' },
    );
  }
  return loaded;
}
