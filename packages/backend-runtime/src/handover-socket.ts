// The socket surface handlers see, whatever the kind of handover: a net.Socket whose remote address is the client the
// sender names, and that closes so that an early answer reaches a client which is still sending.
import { Socket, type SocketConstructorOpts } from 'node:net';
import type { RuntimeError } from './errors.js';
import type { SocketAddress } from './native.js';

/** What a socket must know about its handover. */
export interface SocketFacts {
  /** The client as the sender says. */
  readonly client: SocketAddress;
  readonly encrypted: boolean;
}

/** Bounds of a lingering close (nginx's lingering_time and lingering_timeout). */
export interface LingeringLimits {
  /** Milliseconds in all. */
  readonly lingeringTimeMs: number;
  /** Milliseconds without a byte from the client. */
  readonly lingeringTimeoutMs: number;
}

/** What a socket asks of the connection that is served on it, and tells it. */
export interface SocketOwner {
  /** Whether the client may still be sending what nobody will read; asked when the last answer is done. */
  hasUnreadRequest(): boolean;
  /** Whether an answer to a whole request is still due. */
  owesAnswer(): boolean;
  /** Whether closing now would cut off what was begun: an answer, or what an upgraded connection carries. */
  isSpeaking(): boolean;
  /** The descriptor is about to be closed. */
  onClosing(): void;
  /** What comes under kernel TLS cannot be read any more, though nobody destroyed the socket. */
  onTlsError(error: RuntimeError): void;
}

/**
 * A full handover's socket as it is (`options.fd`), and the base of the two other kinds. It takes ownership of the
 * descriptor, as net.Socket does.
 */
export class HandoverSocket extends Socket {
  /** Set under TLS only: Fastify's and Express's `protocol` look for it. */
  declare encrypted?: true;
  /** The http.Server it belongs to, as net.Server sets it. */
  declare server: unknown;
  /** Undefined if it is answered without becoming a request. */
  declare owner?: SocketOwner;
  /** The handover that is answered without becoming a request. */
  declare answeredFor?: { tellClosing(): void };
  // Not private names: those cannot be given to an object before it is made a socket of.
  declare protected facts: SocketFacts;
  declare protected lingering: LingeringLimits;
  declare private lingers?: true;
  declare private discards?: true;

  constructor(facts: SocketFacts, lingering: LingeringLimits, options: SocketConstructorOpts) {
    super({ ...options, allowHalfOpen: true });
    HandoverSocket.#settle(this, facts, lingering);
  }

  /**
   * Makes a socket of an object that exists. net.Socket is a function, not a class, and so may be given the object it is to work on;
   * not as what a class extends, though: V8 would make a new shape for each socket then, and find none of them again.
   */
  static settleOn(
    socket: HandoverSocket,
    facts: SocketFacts,
    lingering: LingeringLimits,
    options: SocketConstructorOpts,
  ): void {
    Object.setPrototypeOf(socket, HandoverSocket.prototype);
    (Socket as unknown as (this: Socket, options: SocketConstructorOpts) => void).call(socket, {
      ...options,
      allowHalfOpen: true,
    });
    HandoverSocket.#settle(socket, facts, lingering);
  }

  static #settle(socket: HandoverSocket, facts: SocketFacts, lingering: LingeringLimits): void {
    socket.facts = facts;
    socket.lingering = lingering;
    if (facts.encrypted) socket.encrypted = true;
  }

  /** The last answer is on its way and what the client still sends is thrown away. */
  get isLingering(): boolean {
    return this.lingers === true;
  }

  /** The stream that has the descriptor the answer is written to. */
  get sink(): Socket {
    return this;
  }

  /** Whether the sink has its descriptor still: one that is being destroyed has it until it closes it. */
  get sinkIsOpen(): boolean {
    return Boolean((this.sink as Socket & { readonly _handle?: object | null })._handle);
  }

  get clientAddress(): SocketAddress {
    return this.facts.client;
  }

  /**
   * What http.Server calls after the last answer. Closing with unread bytes makes the kernel send RST, and the client may lose
   * the answer it has not read yet; so the write side ends first, and the read side is drained for a bounded time.
   */
  override destroySoon(): void {
    if (this.owner?.hasUnreadRequest() === true && !this.destroyed) this.closeLingering();
    else super.destroySoon();
  }

  /**
   * Ends the write side, discards what still comes, destroys at the client's end or at a limit. Idempotent.
   * @param error what it is destroyed with
   */
  closeLingering(error?: Error): void {
    if (this.isLingering || this.destroyed) return;
    this.lingers = true;
    const destroy = (): void => {
      this.destroy(error);
    };
    const onEnd = (): void => {
      if (this.writableFinished) destroy();
      else this.once('finish', destroy);
    };
    // 'end' is told when all its listeners have been called, and this may be one of them.
    if (this.readableEnded) onEnd();
    else this.once('end', onEnd);
    // Until everything is written the write-stall timeout rules, not these.
    const limit = (): void => {
      const total = setTimeout(destroy, this.lingering.lingeringTimeMs);
      this.once('close', () => clearTimeout(total));
      this.setTimeout(this.lingering.lingeringTimeoutMs, destroy);
    };
    if (this.writableFinished) limit();
    else this.once('finish', limit);
    this.end();
    // A body that its handler has stopped reading would stop the draining, too.
    this.once('pause', () => {
      // Only http.Server can start the handle again that it has stopped.
      this.once('resume', () => this.discardInput());
      process.nextTick(() => this.resume());
    });
    this.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.sink === this) this.tellClosing();
    super._destroy(error, callback);
  }

  /** The descriptor is about to be closed. */
  protected tellClosing(): void {
    this.owner?.onClosing();
    this.answeredFor?.tellClosing();
  }

  /**
   * What the client sends from now on is thrown away before it is parsed: requests that nobody will answer must not cost more than
   * reading them. Idempotent.
   */
  discardInput(): void {
    if (this.discards) return;
    this.discards = true;
    // Before an upgrade http.Server takes its listeners off: nobody else may hear of a client that resets now.
    this.on('error', ignore);
    this.removeAllListeners('data');
    // A listener of our own also makes http.Server's parser let go of the handle that it reads past the stream.
    this.on('data', ignore);
    this.resume();
  }
}

const ignore = (): void => {};

// net.Socket has these as accessors of its prototype while its types call them properties, which a class cannot override.
Object.defineProperties(HandoverSocket.prototype, {
  remoteAddress: {
    configurable: true,
    get(this: HandoverSocket): string | undefined {
      return this.clientAddress.family === 'unix' ? undefined : this.clientAddress.address;
    },
  },
  remotePort: {
    configurable: true,
    get(this: HandoverSocket): number | undefined {
      return this.clientAddress.family === 'unix' ? undefined : this.clientAddress.port;
    },
  },
  remoteFamily: {
    configurable: true,
    get(this: HandoverSocket): string | undefined {
      return this.clientAddress.family === 'unix' ? undefined : this.clientAddress.family;
    },
  },
});
