// Where a receiver listens: binding a path with its mode and owner, replacing a stale socket, taking over a live one, and
// removing the path again. Does not accept.
import { chmodSync, chownSync, lstatSync, renameSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { WireError } from './errors.js';
import { native } from './native.js';
import { isUnixListener } from './socket-facts.js';

/** Where to listen: a path of our own, or a listening descriptor inherited from a supervisor (socket activation). */
export type ListenAddress = ListenPath | ListenFd;

export interface ListenPath {
  /** At most 107 bytes (unix(7)). A path that begins with NUL is abstract: it has no mode and no owner. */
  path: string;
  /** Permission bits of the socket: who may connect can claim any client address. @default 0o660 */
  mode?: number;
  /** User id or name that owns the socket. @default the process's */
  owner?: number | string;
  /** Group id or name of the socket, e.g. the web server's. @default the process's */
  group?: number | string;
  /** Accept queue; the kernel clamps it to net.core.somaxconn. @default 4096 */
  backlog?: number;
  /** Replace a socket that another process listens on, without a gap; that process should then drain. @default false */
  takeover?: boolean;
}

export interface ListenFd {
  /** A bound AF_UNIX stream socket, listening. The receiver takes ownership. */
  fd: number;
}

/** A bound, listening descriptor and what is needed to give its place back. */
export interface UnixListener {
  /** Owned by whoever gets this. */
  readonly fd: number;
  /** The path it listens on; '' for an inherited descriptor without a name. */
  readonly path: string;
  /** False for a descriptor shared with a supervisor: its accept queue is not ours to drain. */
  readonly exclusive: boolean;
  /**
   * Removes the path, if it still is this socket (after a takeover it is another's). Does not close the descriptor. Where that
   * fails (no permission any more, no descriptor left for the lock) the path stays: whoever listens next replaces it.
   */
  removePath(): void;
}

const DEFAULT_MODE = 0o660;
const DEFAULT_BACKLOG = 4096;
const LOCK_TIMEOUT_MS = 1000;
/** Short, because it must fit where the path fits. */
const TEMPORARY_NAME = '.fdp';

/**
 * Binds and listens.
 * @throws EADDRINUSE if another process listens on the path (unless `takeover`), or if it is no socket; EACCES, ENOENT and the
 * like from bind(2), chown(2); `FDPASS_ERR_LISTEN_FD` for an inherited descriptor that is not a listening UNIX stream socket
 */
export function openUnixListener(address: ListenAddress): UnixListener {
  if ('fd' in address) return adoptListener(address.fd);
  if (address.path.startsWith('\0')) return bindAbstract(address);
  return native().withDirectoryLock(dirname(address.path), LOCK_TIMEOUT_MS, () => bindPath(address));
}

function adoptListener(fd: number): UnixListener {
  if (!isUnixListener(native().inspectSocket(fd))) throw new WireError('FDPASS_ERR_LISTEN_FD', fd);
  return { fd, path: native().localAddress(fd).address, exclusive: false, removePath() {} };
}

function bindAbstract(address: ListenPath): UnixListener {
  const fd = native().bindUnix(address.path, DEFAULT_MODE);
  try {
    native().listen(fd, address.backlog ?? DEFAULT_BACKLOG);
  } catch (error) {
    native().closeFd(fd);
    throw error;
  }
  return { fd, path: address.path, exclusive: true, removePath() {} };
}

function bindPath(address: ListenPath): UnixListener {
  const { path } = address;
  const occupied = occupant(path);
  if (occupied === 'other' || (occupied === 'socket' && address.takeover !== true && isLive(path))) {
    throw addressInUse(path, occupied);
  }
  const bound = occupied === 'none' ? path : join(dirname(path), TEMPORARY_NAME);
  // Only a process that died in the middle can have left one: the directory is locked.
  if (bound !== path && occupant(bound) === 'socket') unlinkSync(bound);
  const mode = address.mode ?? DEFAULT_MODE;
  const fd = native().bindUnix(bound, mode);
  try {
    // Nobody can connect before listen(): mode and owner are right from the first connection on.
    chmodSync(bound, mode);
    if (address.owner !== undefined || address.group !== undefined) {
      chownSync(bound, userId(address.owner), groupId(address.group));
    }
    native().listen(fd, address.backlog ?? DEFAULT_BACKLOG);
    const { dev, ino } = lstatSync(bound, EXACT);
    if (bound !== path) renameSync(bound, path);
    return { fd, path, exclusive: true, removePath: () => removePath(path, dev, ino) };
  } catch (error) {
    native().closeFd(fd);
    unlinkSync(bound);
    throw error;
  }
}

/**
 * Not only for the numbers: Node.js 20 and 22 keep what they last said of a file otherwise, and take a socket there for a part of the path
 * of the next module that is loaded by a symbolic link, which they then do not follow.
 */
const EXACT = { bigint: true } as const;

type Occupant = 'none' | 'socket' | 'other';

function occupant(path: string): Occupant {
  const entry = lstatSync(path, { ...EXACT, throwIfNoEntry: false });
  if (entry === undefined) return 'none';
  return entry.isSocket() ? 'socket' : 'other';
}

/** Not asked before a takeover: who listens would take the question for a sender without a message. */
function isLive(path: string): boolean {
  try {
    native().closeFd(native().connectUnix(path));
    return true;
  } catch (error) {
    // EAGAIN is a full backlog, EACCES a socket that only others may use: somebody listens.
    return (error as NodeJS.ErrnoException).code !== 'ECONNREFUSED';
  }
}

function removePath(path: string, dev: bigint, ino: bigint): void {
  try {
    native().withDirectoryLock(dirname(path), LOCK_TIMEOUT_MS, () => {
      const entry = lstatSync(path, EXACT);
      if (entry.dev === dev && entry.ino === ino) unlinkSync(path);
    });
  } catch {
    // Closing goes on.
  }
}

function addressInUse(path: string, occupied: Occupant): Error {
  const why =
    occupied === 'other'
      ? 'it exists and is not a socket; it was left alone'
      : 'another process listens on it; the option takeover would replace that one';
  return Object.assign(new Error(`listen EADDRINUSE: ${path}: ${why}`), {
    code: 'EADDRINUSE',
    errno: -constants.errno.EADDRINUSE,
    syscall: 'listen',
    address: path,
  });
}

const userId = (owner: number | string | undefined): number =>
  typeof owner === 'string' ? lookUp('user', owner, native().userId) : (owner ?? UNCHANGED);

const groupId = (group: number | string | undefined): number =>
  typeof group === 'string' ? lookUp('group', group, native().groupId) : (group ?? UNCHANGED);

/** What chown(2) takes for "leave it". */
const UNCHANGED = -1;

function lookUp(what: string, name: string, find: (name: string) => number): number {
  try {
    return find(name);
  } catch (error) {
    // The system's own text speaks of a file or directory.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      (error as Error).message = `listen: no ${what} is named ${name}`;
    throw error;
  }
}
