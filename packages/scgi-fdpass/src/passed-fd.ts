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
 * Sole owner of one descriptor. Exactly one of `close()` and `take()` ends the ownership; a forgotten owner closes its
 * descriptor when it is garbage collected, and emits the process warning `FDPASS_WARN_FD_LEAK`.
 */
export class PassedFd {
  readonly #cell: Cell;

  /** Takes ownership of `fd` (0 is a descriptor like any other). @throws EBADF if it is not open */
  constructor(fd: number) {
    // A worker thread may be terminated while it has the descriptor: then the addon closes it.
    native().registerFd(fd);
    this.#cell = { fd };
    forgotten.register(this, this.#cell, this.#cell);
  }

  /** True once closed or taken. */
  get closed(): boolean {
    return this.#cell.fd === -1;
  }

  /** The descriptor, borrowed. @throws `FDPASS_ERR_FD_TAKEN` once closed or taken */
  get fd(): number {
    const { fd } = this.#cell;
    if (fd === -1) throw new WireError('FDPASS_ERR_FD_TAKEN');
    return fd;
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
    const { fd } = this.#cell;
    if (fd === -1) return;
    this.#end();
    native().closeFd(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #end(): void {
    this.#cell.fd = -1;
    forgotten.unregister(this.#cell);
  }
}
