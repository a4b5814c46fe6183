// Who owns a descriptor that came over the wire. Knows nothing about what the descriptor is.
import { WireError } from './errors.js';
import { native } from './native.js';

interface Cell {
  /** -1 once closed or taken. */
  fd: number;
}

const forgotten = new FinalizationRegistry<Cell>((cell) => {
  if (cell.fd === -1) return;
  const { fd } = cell;
  cell.fd = -1;
  native().closeFd(fd);
  process.emitWarning(
    `A passed descriptor (${fd}) was neither taken nor closed before it was garbage collected; it is closed now. Call close() on it, or take() it.`,
    { code: 'FDPASS_WARN_FD_LEAK' },
  );
});

/**
 * Makes the owner of a descriptor that the addon has received, so registered already. `watchForgotten` must follow, once whoever gets
 * it has had the chance to take it: most owners have ended by then, and the garbage collector has nothing to watch.
 */
export let ownReceived: (fd: number) => PassedFd;

/** From now on the garbage collector watches this owner, unless it has ended. Idempotent. */
export let watchForgotten: (owner: PassedFd) => void;

/** Says to the constructor that the addon knows the descriptor. */
const RECEIVED: unique symbol = Symbol('received');

/**
 * Sole owner of one descriptor. Exactly one of `close()` and `take()` ends the ownership; a forgotten owner closes its
 * descriptor when it is garbage collected, and emits the process warning `FDPASS_WARN_FD_LEAK`.
 */
export class PassedFd {
  /** -1 once closed or taken. */
  #fd: number;
  /** What the garbage collector's watch has of it. */
  #cell: Cell | undefined;

  static {
    ownReceived = (fd) => new PassedFd(fd, RECEIVED);
    watchForgotten = (owner) => owner.#watch();
  }

  /** Takes ownership of `fd` (0 is a descriptor like any other). @throws EBADF if it is not open */
  constructor(fd: number, origin?: typeof RECEIVED) {
    this.#fd = fd;
    if (origin === RECEIVED) return;
    // A worker thread may be terminated while it has the descriptor: then the addon closes it.
    native().registerFd(fd);
    this.#watch();
  }

  /** True once closed or taken. */
  get closed(): boolean {
    return this.#fd === -1;
  }

  /** The descriptor, borrowed. @throws `FDPASS_ERR_FD_TAKEN` once closed or taken */
  get fd(): number {
    if (this.#fd === -1) throw new WireError('FDPASS_ERR_FD_TAKEN');
    return this.#fd;
  }

  /** Hands the descriptor to the caller, who must close it from now on. @throws `FDPASS_ERR_FD_TAKEN` once closed or taken */
  take(): number {
    const { fd } = this;
    this.#end();
    return native().takeFd(fd);
  }

  /** A second owner of the same open file (fcntl(2), F_DUPFD_CLOEXEC). @throws EMFILE; `FDPASS_ERR_FD_TAKEN` */
  dup(): PassedFd {
    return new PassedFd(native().dupFd(this.fd));
  }

  /** Closes the descriptor. Idempotent; nothing happens after `take()`. */
  close(): void {
    const fd = this.#fd;
    if (fd === -1) return;
    this.#end();
    native().closeFd(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #watch(): void {
    if (this.#fd === -1 || this.#cell !== undefined) return;
    this.#cell = { fd: this.#fd };
    forgotten.register(this, this.#cell, this.#cell);
  }

  #end(): void {
    this.#fd = -1;
    if (this.#cell === undefined) return;
    this.#cell.fd = -1;
    forgotten.unregister(this.#cell);
  }
}
