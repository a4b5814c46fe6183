// The receiving side of the wire: from a listening UNIX socket to `Handover`s. Acknowledges or refuses each one as its
// sender's version asks. Knows nothing of HTTP, and never lets one bad sender reach the listener or the others.
import { EventEmitter } from 'node:events';
import { constants as os } from 'node:os';
import { WireError, type WireErrorCode } from './errors.js';
import { ACKNOWLEDGEMENT, closeHandover, type Handover, handoverKind } from './handover.js';
import { integerOption, type WireLimits, wireLimits } from './limits.js';
import type { Message } from './message.js';
import { type AssemblyRules, connectionOf, MessageAssembly, senderOf } from './message-assembly.js';
import { type FdListener, type FdListenerOptions, native, type PeerCredentials, RECORD } from './native.js';
import { PassedFd } from './passed-fd.js';
import { describeDescriptor, isConnectedStream } from './socket-facts.js';
import { type ListenAddress, openUnixListener, type UnixListener } from './unix-listener.js';

export interface ReceiverOptions {
  limits?: Partial<WireLimits>;
  /** Milliseconds from accept to the whole message. @default 5000 */
  messageTimeoutMs?: number;
  /** Connections that wait for their message; at this number accepting pauses. @default 1024 */
  maxPendingConnections?: number;
  /** Free descriptors below which accepting pauses: with a full table recvmsg would lose the client. @default 64 */
  minFreeDescriptors?: number;
  /** Who may send, by SO_PEERCRED; a sender passes if its uid or its gid is listed. @default everyone the socket's mode lets in */
  allowedPeers?: { uids?: readonly number[]; gids?: readonly number[] };
  /**
   * Asked before a version-1 handover is acknowledged: true refuses it, and its sender tries the next backend or its
   * fallback; nothing of the client was touched. Not asked for other senders: they cannot be refused, only served.
   */
  refuse?: (message: Message) => boolean;
}

/** Counters since the receiver was made. */
export interface ReceiverStats {
  full: number;
  partial: number;
  relay: number;
  refused: number;
  /** By error code. */
  errors: Partial<Record<WireErrorCode, number>>;
  /** Accepted, message not yet whole. */
  pending: number;
  /** How often accepting paused for lack of descriptors. */
  descriptorPauses: number;
  /** How often accepting paused because `maxPendingConnections` waited. */
  pendingPauses: number;
}

export interface ReceiverEvents {
  listening: [];
  handover: [handover: Handover];
  /** One sender's failure: its connection and its descriptors are closed already. `error.code` is the metric label. */
  handoverError: [error: WireError, sender: PeerCredentials];
  close: [];
}

const MAX_INT32 = 2 ** 31 - 1;
/** Messages handed to JavaScript per wake-up: more would starve the loop, and take every client from the other workers. */
const MAX_BATCH = 64;

/**
 * Receives handovers on one UNIX socket. Whoever listens to `'handover'` owns the descriptors in it; without a listener they
 * are closed.
 */
export class Receiver extends EventEmitter<ReceiverEvents> {
  readonly #options: ReceiverOptions;
  readonly #rules: AssemblyRules;
  readonly #bounds: FdListenerOptions;
  /** Connections whose message is not whole yet. */
  readonly #pending = new Map<number, MessageAssembly>();
  readonly #counts = { full: 0, partial: 0, relay: 0, refused: 0 };
  readonly #errors: Partial<Record<WireErrorCode, number>> = {};
  #state: 'idle' | 'listening' | 'draining' | 'drained' = 'idle';
  #isUnref = false;
  #listener: FdListener | undefined;
  #place: UnixListener | undefined;

  /** @throws `SCGI_ERR_LIMIT_OPTION` */
  constructor(options: ReceiverOptions = {}) {
    super();
    this.#options = options;
    const { messageTimeoutMs = 5000, maxPendingConnections = 1024, minFreeDescriptors = 64 } = options;
    this.#bounds = {
      maxBatch: MAX_BATCH,
      messageTimeoutMs: integerOption('messageTimeoutMs', messageTimeoutMs, 1, MAX_INT32),
      maxPendingConnections: integerOption('maxPendingConnections', maxPendingConnections, 1, MAX_INT32),
      minFreeDescriptors: integerOption('minFreeDescriptors', minFreeDescriptors, 0, MAX_INT32),
    };
    this.#rules = {
      limits: wireLimits(options.limits),
      messageTimeoutMs,
      allowedPeers: options.allowedPeers,
    };
  }

  /** The path listened on, or undefined. */
  get path(): string | undefined {
    return this.listening ? this.#place?.path : undefined;
  }

  /** From `listen()` until `'close'`: while it drains it is active and no longer listening. */
  get active(): boolean {
    return this.#state !== 'idle';
  }

  get listening(): boolean {
    return this.#state === 'listening';
  }

  /**
   * Binds and listens; accepts only after `'listening'` was emitted.
   * @throws EADDRINUSE and other system errors; `FDPASS_ERR_LISTEN_FD`; `FDPASS_ERR_ALREADY_LISTENING`
   */
  listen(address: ListenAddress): void {
    if (this.#state !== 'idle') throw new WireError('FDPASS_ERR_ALREADY_LISTENING');
    const place = openUnixListener(address);
    let listener: FdListener;
    try {
      listener = new (native().FdListener)(place.fd, this.#bounds, (bytes, records) =>
        this.#onBatch(bytes, records),
      );
    } catch (error) {
      // EMFILE, most likely. An inherited descriptor stays the caller's.
      if (place.exclusive) {
        native().closeFd(place.fd);
        place.removePath();
      }
      throw error;
    }
    this.#place = place;
    this.#listener = listener;
    this.#state = 'listening';
    if (this.#isUnref) listener.unref();
    process.nextTick(() => {
      if (this.#listener !== listener || !this.listening) return;
      this.emit('listening');
      if (this.#listener === listener && this.listening) listener.start();
    });
  }

  /**
   * Stops listening, and emits `'close'` once nothing waits any more. What senders have connected already is still received
   * (a sender of the public dialect has let go of its client by then); only on a descriptor shared with a supervisor it is
   * left to the next process. Idempotent.
   */
  close(): void {
    if (this.#state !== 'listening') return;
    this.#state = 'draining';
    this.#place?.removePath();
    if (this.#place?.exclusive) {
      this.#listener?.drain(() => this.#onDrained());
    } else {
      this.#listener?.pause();
      this.#onDrained();
    }
  }

  /** Stops at once: unreceived connections and their descriptors are closed. Emits `'close'`. Idempotent. */
  destroy(): void {
    if (this.#state === 'listening') this.#place?.removePath();
    this.#finish();
  }

  /** Undoes `unref()`. */
  ref(): void {
    this.#isUnref = false;
    this.#listener?.ref();
  }

  /** Lets the process end while this receiver listens; before `listen()`, too, as net.Server has it. */
  unref(): void {
    this.#isUnref = true;
    this.#listener?.unref();
  }

  /** A snapshot; later handovers do not change it. */
  stats(): ReceiverStats {
    const listener = this.#listener?.stats();
    return {
      ...this.#counts,
      errors: { ...this.#errors },
      pending: listener?.pending ?? 0,
      descriptorPauses: listener?.descriptorPauses ?? 0,
      pendingPauses: listener?.pendingPauses ?? 0,
    };
  }

  #onDrained(): void {
    if (this.#state !== 'draining') return;
    this.#state = 'drained';
    this.#finishWhenIdle();
  }

  #finishWhenIdle(): void {
    if (this.#state === 'drained' && this.#listener?.stats().pending === 0) this.#finish();
  }

  #finish(): void {
    if (this.#state === 'idle') return;
    this.#state = 'idle';
    this.#listener?.close();
    this.#listener = undefined;
    this.#place = undefined;
    for (const assembly of this.#pending.values()) assembly.close();
    this.#pending.clear();
    process.nextTick(() => this.emit('close'));
  }

  #onBatch(bytes: Buffer, records: Int32Array): void {
    for (let at = 0; at < records.length; at += RECORD.STRIDE) {
      this.#onRecord(bytes, records.subarray(at, at + RECORD.STRIDE));
    }
    this.#finishWhenIdle();
  }

  #onRecord(bytes: Buffer, record: Int32Array): void {
    const id = connectionOf(record);
    const assembly = this.#pending.get(id) ?? new MessageAssembly(this.#rules);
    const sender = senderOf(record);
    try {
      assembly.collect(record);
      // Destroyed by a listener in the middle of this batch: whatever else came is closed.
      if (this.#listener === undefined) return assembly.close();
      const message = assembly.push(bytes, record);
      if (message === undefined) {
        this.#pending.set(id, assembly);
        return;
      }
      this.#pending.delete(id);
      this.#deliver(this.#accept(id, message, assembly, sender));
    } catch (error) {
      this.#fail(id, assembly, sender, error);
    }
  }

  /**
   * Judges a whole message, answers its sender, and makes the handover; undefined if it was refused.
   * @throws WireError; then nothing was acknowledged
   */
  #accept(
    id: number,
    message: Message,
    { fds, fdFacts }: MessageAssembly,
    sender: PeerCredentials,
  ): Handover | undefined {
    const { headers, version, earlyBytes, rest, contentLength } = message;
    const kind = handoverKind(message);
    const [passedFd] = fds;
    if (kind === 'relay') {
      if (passedFd !== undefined) throw new WireError('FDPASS_ERR_UNEXPECTED_FD');
      const connection = this.#detach(id);
      this.#counts.relay++;
      return { kind, headers, version, sender, earlyBytes: rest, connection, contentLength };
    }
    if (passedFd === undefined) throw new WireError('FDPASS_ERR_NO_FD');
    if (fds.length > 1) throw new WireError('FDPASS_ERR_TOO_MANY_FDS');
    if (!isConnectedStream(fdFacts)) {
      throw new WireError('FDPASS_ERR_FD_TYPE', describeDescriptor(fdFacts));
    }
    // The sender of a partial handover may relay the client's next bytes at once; after a full one nothing can follow.
    if (kind === 'full' && rest.length > 0) throw new WireError('FDPASS_ERR_TRAILING_BYTES', rest.length);
    if (version === 1 && this.#options.refuse?.(message) === true) {
      this.#counts.refused++;
      this.#listener?.closeConnection(id, ACKNOWLEDGEMENT.REFUSED);
      passedFd.close();
      return undefined;
    }
    const reply = version === 1 ? ACKNOWLEDGEMENT.TAKEN : undefined;
    if (kind === 'full') {
      const errno = this.#listener?.closeConnection(id, reply) ?? 0;
      if (errno !== 0) throw new WireError('FDPASS_ERR_ACK', errno);
      this.#counts.full++;
      return { kind, headers, version, sender, earlyBytes, passedFd };
    }
    const connection = this.#detach(id, reply);
    this.#counts.partial++;
    const stream = rest.length === 0 ? earlyBytes : Buffer.concat([earlyBytes, rest]);
    return { kind, headers, version, sender, earlyBytes: stream, passedFd, connection };
  }

  #detach(id: number, reply?: number): PassedFd {
    const fd = this.#listener?.detachConnection(id, reply) ?? -os.errno.EBADF;
    if (fd < 0) throw new WireError('FDPASS_ERR_ACK', -fd);
    return new PassedFd(fd);
  }

  #deliver(handover: Handover | undefined): void {
    if (handover === undefined) return;
    try {
      if (!this.emit('handover', handover)) closeHandover(handover);
    } catch (error) {
      closeHandover(handover);
      throwLater(error);
    }
  }

  #fail(id: number, assembly: MessageAssembly, sender: PeerCredentials, cause: unknown): void {
    this.#pending.delete(id);
    assembly.close();
    const reply = assembly.message?.version === 1 ? ACKNOWLEDGEMENT.REFUSED : undefined;
    this.#listener?.closeConnection(id, reply);
    const error = cause instanceof WireError ? cause : new WireError('FDPASS_ERR_RECEIVE', 0, { cause });
    this.#errors[error.code] = (this.#errors[error.code] ?? 0) + 1;
    try {
      this.emit('handoverError', error, sender);
    } catch (mistake) {
      throwLater(mistake);
    }
  }
}

/** A listener that throws is an uncaught exception, but costs neither the rest of the batch nor the descriptors in it. */
function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}
