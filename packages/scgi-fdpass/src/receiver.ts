// The receiving side of the wire: from a listening UNIX socket to the event `'handover'`. Its life, its options and its counters; each
// message is judged and answered in handover-judge.ts. Knows nothing of HTTP.
import { EventEmitter } from 'node:events';
import { WireError, type WireErrorCode } from './errors.js';
import { closeHandover, type Handover } from './handover.js';
import { HandoverJudge, type JudgeRules } from './handover-judge.js';
import { integerOption, type WireLimits, wireLimits } from './limits.js';
import type { Message } from './message.js';
import { type FdListener, type FdListenerOptions, native, type PeerCredentials } from './native.js';
import { watchForgotten } from './passed-fd.js';
import { type PeerList, peerList } from './peer-list.js';
import { type ListenAddress, openUnixListener, type UnixListener } from './unix-listener.js';

export interface ReceiverOptions {
  limits?: Partial<WireLimits>;
  /** Milliseconds from accept to the whole message; on a channel from its first byte. @default 5000 */
  messageTimeoutMs?: number;
  /** Connections that wait for their message; at this number accepting pauses. @default 1024 */
  maxPendingConnections?: number;
  /** Connections kept open for more handovers, at their senders' wish; 0 keeps none. @default 1024 */
  maxChannels?: number;
  /** Free descriptors below which accepting pauses: with a full table recvmsg would lose the client. @default 64 */
  minFreeDescriptors?: number;
  /** Who may send, by SO_PEERCRED; a sender passes if its uid or its gid is listed. @default everyone the socket's mode lets in */
  allowedPeers?: PeerList;
  /**
   * Routers that are believed who handed over first: from them `handover.sender` is that process, from everybody else the peer itself,
   * whatever the message says. `allowedPeers` judges the peer in either case. @default nobody
   */
  trustedRouters?: PeerList;
  /**
   * Asked before a version-1 handover is acknowledged: true refuses it, and its sender tries the next backend or its
   * fallback; nothing of the client was touched. Not asked for other senders: they cannot be refused, only served.
   * `ahead`: how many handovers are taken already and not emitted yet, as several that come at once are judged first.
   */
  refuse?: (message: Message, ahead: number) => boolean;
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
  /** Open now: connections that are kept for more handovers. */
  channels: number;
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
  readonly #rules: JudgeRules;
  readonly #bounds: FdListenerOptions;
  readonly #counts = { full: 0, partial: 0, relay: 0, refused: 0 };
  readonly #errors: Partial<Record<WireErrorCode, number>> = {};
  #state: 'idle' | 'listening' | 'draining' | 'drained' = 'idle';
  #isUnref = false;
  #listener: FdListener | undefined;
  #judge: HandoverJudge | undefined;
  #place: UnixListener | undefined;
  /** In this turn of the event loop; the array stays, and what it holds is counted. */
  readonly #delivered: (Handover | undefined)[] = [];
  #deliveredCount = 0;

  /** @throws `SCGI_ERR_LIMIT_OPTION` */
  constructor(options: ReceiverOptions = {}) {
    super();
    const {
      messageTimeoutMs = 5000,
      maxPendingConnections = 1024,
      maxChannels = 1024,
      minFreeDescriptors = 64,
    } = options;
    this.#bounds = {
      maxBatch: MAX_BATCH,
      messageTimeoutMs: integerOption('messageTimeoutMs', messageTimeoutMs, 1, MAX_INT32),
      maxPendingConnections: integerOption('maxPendingConnections', maxPendingConnections, 1, MAX_INT32),
      minFreeDescriptors: integerOption('minFreeDescriptors', minFreeDescriptors, 0, MAX_INT32),
    };
    this.#rules = {
      limits: wireLimits(options.limits),
      messageTimeoutMs,
      maxChannels: integerOption('maxChannels', maxChannels, 0, MAX_INT32),
      allowedPeers:
        options.allowedPeers === undefined ? undefined : peerList('allowedPeers', options.allowedPeers),
      trustedRouters: peerList('trustedRouters', options.trustedRouters ?? {}),
      refuse: options.refuse,
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
      listener = new (native().FdListener)(place.fd, this.#bounds, (bytes, records) => {
        judge.onBatch(bytes, records);
        this.#finishWhenIdle();
      });
    } catch (error) {
      // EMFILE, most likely. An inherited descriptor stays the caller's.
      if (place.exclusive) {
        native().closeFd(place.fd);
        place.removePath();
      }
      throw error;
    }
    const judge = new HandoverJudge(listener, this.#rules, {
      onHandover: (handover) => this.#deliver(handover),
      onRefusal: () => {
        this.#counts.refused++;
      },
      onError: (error, sender) => this.#report(error, sender),
    });
    this.#place = place;
    this.#listener = listener;
    this.#judge = judge;
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
   * left to the next process. Of a channel what has arrived is received, then it is closed. Idempotent.
   */
  close(): void {
    if (this.#state !== 'listening') return;
    this.#state = 'draining';
    this.#place?.removePath();
    this.#judge?.drain();
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
      channels: listener?.channels ?? 0,
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
    if (this.#state !== 'drained' || this.#listener === undefined) return;
    const { pending, channels } = this.#listener.stats();
    if (pending === 0 && channels === 0) this.#finish();
  }

  #finish(): void {
    if (this.#state === 'idle') return;
    this.#state = 'idle';
    this.#listener?.close();
    this.#listener = undefined;
    this.#judge?.close();
    this.#judge = undefined;
    this.#place = undefined;
    process.nextTick(() => this.emit('close'));
  }

  #deliver(handover: Handover): void {
    this.#counts[handover.kind]++;
    try {
      if (!this.emit('handover', handover)) closeHandover(handover);
    } catch (error) {
      throwLater(error);
      try {
        closeHandover(handover);
      } catch (mistake) {
        // The listener has closed the number behind its owner's back: nothing that the others of the batch should pay for.
        throwLater(mistake);
      }
    }
    if (this.#deliveredCount === 0) setImmediate(this.#watchDelivered);
    this.#delivered[this.#deliveredCount++] = handover;
  }

  /** By now nearly all descriptors are taken, or their clients answered and gone. */
  readonly #watchDelivered = (): void => {
    while (this.#deliveredCount > 0) {
      const handover = this.#delivered[--this.#deliveredCount] as Handover;
      this.#delivered[this.#deliveredCount] = undefined;
      if (handover.kind !== 'relay') watchForgotten(handover.passedFd);
      if (handover.kind !== 'full') watchForgotten(handover.connection);
    }
  };

  #report(error: WireError, sender: PeerCredentials): void {
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
