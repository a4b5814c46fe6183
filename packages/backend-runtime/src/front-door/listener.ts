// One listening TCP socket of the front door: binds or inherits it, accepts in bounded batches, hands over what it accepted. It owns the
// listening descriptor; an accepted one belongs to its user at once.
import { type FdPoller, native, SOCKET_FACT, type SocketAddress } from '../native.js';

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

/** Whether `fd` is a listening TCP socket. */
export function isTcpListener(fd: number): boolean {
  const { AF_INET, AF_INET6, SOCK_STREAM } = native().constants;
  const facts = native().inspectSocket(fd);
  const domain = facts & SOCKET_FACT.DOMAIN_MASK;
  return (
    (domain === AF_INET || domain === AF_INET6) &&
    ((facts >> SOCKET_FACT.TYPE_SHIFT) & 0xf) === SOCK_STREAM &&
    (facts & SOCKET_FACT.LISTENING) !== 0
  );
}

export class TcpListener {
  /** What it is bound to. */
  readonly address: SocketAddress;
  readonly fd: number;
  /** Others have it, too: what waits in its backlog is theirs as well. */
  readonly isInherited: boolean;
  readonly #user: ListenerUser;
  #poller: FdPoller | undefined;
  #listens: boolean;
  #accepting = false;

  private constructor(fd: number, isInherited: boolean, listens: boolean, user: ListenerUser) {
    this.fd = fd;
    this.isInherited = isInherited;
    this.#listens = listens;
    this.#user = user;
    this.address = native().localAddress(fd);
    this.#poller = new (native().FdPoller)(fd, (_events, errno) => this.#onReadable(errno));
  }

  /**
   * Binds and listens where nobody does; accepts from `start()` on.
   * @param address an IP literal
   * @throws system errors, with `address` and `port`
   */
  static claim(address: string, port: number, user: ListenerUser): TcpListener {
    // Without SO_REUSEPORT, so that two processes of one user do not share a port by mistake.
    const listener = TcpListener.#bind(address, port, false, user);
    try {
      listener.listen();
    } catch (error) {
      listener.close();
      throw error;
    }
    return listener;
  }

  /**
   * Binds where one listens already that allows it; listens from `listen()` on.
   * @throws system errors, with `address` and `port`
   */
  static join({ address, port }: SocketAddress, user: ListenerUser): TcpListener {
    return TcpListener.#bind(address, port, true, user);
  }

  /**
   * Takes ownership of `fd`, a listening socket, once it returns.
   * @throws system errors
   */
  static inherit(fd: number, user: ListenerUser): TcpListener {
    return new TcpListener(fd, true, true, user);
  }

  static #bind(address: string, port: number, reusePort: boolean, user: ListenerUser): TcpListener {
    let fd: number | undefined;
    try {
      fd = native().bindTcp(address, port, reusePort);
      return new TcpListener(fd, false, false, user);
    } catch (error) {
      if (fd !== undefined) native().closeFd(fd);
      throw Object.assign(error as Error, { address, port });
    }
  }

  /** True if every address of this host comes in here, so that each client's own local address must be asked for. */
  get wildcard(): boolean {
    return this.address.address === '0.0.0.0' || this.address.address === '::';
  }

  /** Lets others join: see {@link TcpListener.join}. Idempotent. */
  share(): void {
    const { SOL_SOCKET, SO_REUSEPORT } = native().constants;
    native().setOption(this.fd, SOL_SOCKET, SO_REUSEPORT, 1);
  }

  /** Idempotent. @throws system errors, with `address` and `port` */
  listen(): void {
    if (this.#listens) return;
    try {
      native().listen(this.fd, BACKLOG);
      this.#listens = true;
    } catch (error) {
      const { address, port } = this.address;
      throw Object.assign(error as Error, { address, port });
    }
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
   * Accepts the clients that wait in the backlog, as long as there is room, then closes: closing alone would reset them. An inherited
   * one is just closed. Idempotent.
   */
  drainAndClose(hasRoom: () => boolean): void {
    if (this.#poller === undefined) return;
    if (this.#listens && !this.isInherited) {
      this.#accepting = true;
      // The kernel keeps one more than it is told. Those that come meanwhile must not make it endless.
      for (let count = 0; count <= BACKLOG && hasRoom() && this.#acceptOne(); count++);
    }
    this.close();
  }

  /** Closes the listening descriptor; the kernel resets what is in the backlog, unless others have it, too. Idempotent. */
  close(): void {
    if (this.#poller === undefined) return;
    this.release();
    native().closeFd(this.fd);
  }

  /** Gives the descriptor back to whoever passed it. Idempotent. */
  release(): void {
    this.#accepting = false;
    this.#poller?.close();
    this.#poller = undefined;
  }

  /**
   * The number the next descriptor of this process would get.
   * @throws EMFILE
   */
  lowestFreeDescriptor(): number {
    const fd = native().dupFd(this.fd);
    native().closeFd(fd);
    return fd;
  }

  #onReadable(errno: number): void {
    if (errno !== 0) this.#user.onAcceptError(new Error(`poll failed with errno ${errno}`), this);
    else for (let count = 0; count < MAX_BATCH && this.#acceptOne(); count++);
  }

  /** @returns false if there was none to accept, or its user has paused or closed meanwhile */
  #acceptOne(): boolean {
    let fd: number;
    try {
      fd = native().accept(this.fd);
    } catch (error) {
      this.#user.onAcceptError(error as NodeJS.ErrnoException, this);
      return false;
    }
    if (fd === -1) return false;
    this.#user.onClient(fd, this);
    return this.#accepting;
  }
}
