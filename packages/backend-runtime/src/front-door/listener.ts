// One listening TCP socket of the front door: binds, accepts in bounded batches, hands over what it accepted. It owns the
// listening descriptor; an accepted one belongs to its user at once.
import { type FdPoller, native, type SocketAddress } from '../native.js';

/** Clients accepted per wake-up: more would starve the loop, and take every client from another process on this port. */
const MAX_BATCH = 64;
/** The kernel clamps it to net.core.somaxconn. */
const BACKLOG = 4096;

export interface ListenerUser {
  /** Takes ownership of `fd`. */
  onClient(fd: number, listener: TcpListener): void;
  /** accept(2) failed, mostly for want of descriptors: nothing is lost, the client waits in the backlog. */
  onAcceptError(error: NodeJS.ErrnoException, listener: TcpListener): void;
}

export class TcpListener {
  /** What it is bound to. */
  readonly address: SocketAddress;
  readonly #fd: number;
  readonly #user: ListenerUser;
  #poller: FdPoller | undefined;
  #accepting = false;

  /**
   * Binds and listens; accepts from `start()` on.
   * @param address an IP literal
   * @throws system errors, with `address` and `port`
   */
  constructor(address: string, port: number, user: ListenerUser) {
    this.#user = user;
    let fd: number | undefined;
    try {
      fd = native().bindTcp(address, port);
      native().listen(fd, BACKLOG);
      this.address = native().localAddress(fd);
      this.#poller = new (native().FdPoller)(fd, (_events, errno) => this.#onReadable(errno));
      this.#fd = fd;
    } catch (error) {
      if (fd !== undefined) native().closeFd(fd);
      throw Object.assign(error as Error, { address, port });
    }
  }

  /** True if every address of this host comes in here, so that each client's own local address must be asked for. */
  get wildcard(): boolean {
    return this.address.address === '0.0.0.0' || this.address.address === '::';
  }

  /** Begins or goes on accepting. Idempotent. */
  start(): void {
    if (this.#accepting || this.#poller === undefined) return;
    this.#accepting = true;
    this.#poller.start(native().constants.READABLE);
  }

  /** Leaves clients in the backlog. Idempotent. */
  pause(): void {
    if (!this.#accepting) return;
    this.#accepting = false;
    this.#poller?.stop();
  }

  /**
   * Accepts up to `limit` of the clients that wait in the backlog, then closes: closing alone would reset them.
   * Idempotent.
   */
  drainAndClose(limit: number): void {
    if (this.#poller === undefined) return;
    this.#accepting = true;
    this.#accept(limit);
    this.close();
  }

  /** Closes the listening descriptor; the kernel resets what is in the backlog. Idempotent. */
  close(): void {
    if (this.#poller === undefined) return;
    this.#accepting = false;
    this.#poller.close();
    this.#poller = undefined;
    native().closeFd(this.#fd);
  }

  /**
   * The number the next descriptor of this process would get.
   * @throws EMFILE
   */
  lowestFreeDescriptor(): number {
    const fd = native().dupFd(this.#fd);
    native().closeFd(fd);
    return fd;
  }

  #onReadable(errno: number): void {
    if (errno === 0) this.#accept(MAX_BATCH);
    else this.#user.onAcceptError(new Error(`poll failed with errno ${errno}`), this);
  }

  /** The user may pause or close in between. */
  #accept(limit: number): void {
    for (let count = 0; count < limit && this.#accepting; count++) {
      let fd: number;
      try {
        fd = native().accept(this.#fd);
      } catch (error) {
        this.#user.onAcceptError(error as NodeJS.ErrnoException, this);
        return;
      }
      if (fd === -1) return;
      this.#user.onClient(fd, this);
    }
  }
}
