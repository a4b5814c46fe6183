// The chain a handover passes before it becomes a connection: each middleware may tag, reject, take, or let it pass on.
// Knows no particular middleware, and nothing of the server.
import {
  type IncomingMessage,
  type ServerResponse,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';
import type { Duplex } from 'node:stream';
import { closeHandover, type Handover } from '@fdpass/scgi-fdpass';
import type { ConnectionFacts } from './connection-info.js';
import { endClient } from './end-client.js';
import { RuntimeError } from './errors.js';
import { isAnswerStatus } from './raw-answer.js';
import type { Responder } from './responder.js';

/** Sees what happens on a connection after the handover, also for requests 2..N. Called synchronously; must not throw. */
export interface HandoverObserver {
  /** Before guards and the request listener. */
  onRequest?(request: IncomingMessage, response: ServerResponse): void;
  /** The answer is done, or the connection went before it was: `response.writableFinished` tells. */
  onResponse?(request: IncomingMessage, response: ServerResponse): void;
  /** @param deniedWith the status that a guard answers it with, instead of the application */
  onUpgrade?(request: IncomingMessage, socket: Duplex, head: Buffer, deniedWith?: number): void;
  onClientError?(error: Error, socket: Duplex): void;
  /** The last moment to ask the kernel about the client: its descriptor is about to be closed. Not for a handover that was taken. */
  onClosing?(): void;
  /** Last of all and exactly once, also for a handover that was rejected or taken. */
  onClose?(hadError: boolean): void;
}

/** Decides about each request of a connection: a status from 400 to 599 answers it and closes the connection, undefined serves it. */
export type RequestGuard = (request: IncomingMessage) => number | undefined;

export type Decision =
  | { readonly action: 'serve' }
  | { readonly action: 'reject'; readonly status: number; readonly headers: Readonly<Record<string, string>> }
  | { readonly action: 'taken' };

/**
 * What a middleware gets. Calling neither `next()` nor `reject()` nor `take()` leaves the client waiting until
 * `middlewareTimeoutMs`.
 */
export type HandoverMiddleware = (
  handover: IncomingHandover,
  next: (error?: unknown) => void,
) => void | Promise<void>;

/** A middleware that follows the life of its server, too. */
export interface HandoverExtension<Server = unknown> {
  readonly middleware: HandoverMiddleware;
  /** Called once by {@link HandoverServer.use}, with the server. */
  attach?(server: Server): void;
}

/** A handover on its way through the chain. */
export class IncomingHandover {
  /** Facts of the connection: client, local address, ingress interface, sender, ... */
  readonly info: ConnectionFacts;
  /** Free for middleware to leave something for those after it, under names of their own. */
  readonly tags = new Map<string, unknown>();
  /** @internal */
  readonly observers: HandoverObserver[] = [];
  /** @internal */
  readonly guards: RequestGuard[] = [];
  /** @internal Undefined: the server itself. */
  responder: Responder | undefined;
  readonly #handover: Handover;
  readonly #decide: (decision: Decision) => void;
  readonly #onError: (error: RuntimeError) => void;
  #state: 'undecided' | 'lent' | 'decided' = 'undecided';
  /** Since it was lent. */
  #abandoning: AbortController | undefined;

  /** @internal */
  constructor(
    handover: Handover,
    info: ConnectionFacts,
    decide: (decision: Decision) => void,
    onError: (error: RuntimeError) => void = () => {},
  ) {
    this.#handover = handover;
    this.info = info;
    this.#decide = decide;
    this.#onError = onError;
  }

  get kind(): Handover['kind'] {
    return this.#handover.kind;
  }

  /** The SCGI headers as received. */
  get headers(): Handover['headers'] {
    return this.#handover.headers;
  }

  get isDecided(): boolean {
    return this.#state === 'decided';
  }

  /** @internal Somebody is asked whether he takes it. */
  get isLent(): boolean {
    return this.#state === 'lent';
  }

  /**
   * Answers the client and closes.
   * @param status 400 to 599
   * @throws `BKR_ERR_REJECT_STATUS`, `BKR_ERR_HANDOVER_DECIDED`; ERR_INVALID_HTTP_TOKEN, ERR_INVALID_CHAR for the headers
   */
  reject(status: number, headers: Readonly<Record<string, string>> = {}): void {
    if (!isAnswerStatus(status)) throw new RuntimeError('BKR_ERR_REJECT_STATUS', status);
    for (const [name, value] of Object.entries(headers)) {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    }
    this.decide({ action: 'reject', status, headers });
  }

  /**
   * Takes the handover out of the server: the caller owns its descriptors from now on.
   * @throws `BKR_ERR_HANDOVER_DECIDED`
   */
  take(): Handover {
    this.decide({ action: 'taken' });
    return this.#handover;
  }

  /**
   * Has the requests of this connection answered by `responder`: it gets 'request', 'upgrade', 'clientError' and the other events
   * that http.Server has for them. For a middleware that calls `next()` afterwards.
   */
  answerBy(responder: Responder): void {
    this.responder = responder;
  }

  /**
   * Lends the handover to `offer`, which may pass its descriptors on to somebody else. Until it settles nobody decides, and
   * `middlewareTimeoutMs` stands still.
   * @param offer borrows the descriptors; resolves with true if somebody else has them now: then ours are closed. The signal says that
   * the server is destroyed, and nobody is to have them any more
   * @returns whether it is decided now: somebody else has it, or the server was destroyed meanwhile
   * @throws `BKR_ERR_HANDOVER_DECIDED`; what `offer` throws
   */
  async lend(offer: (handover: Handover, signal: AbortSignal) => Promise<boolean>): Promise<boolean> {
    if (this.#state !== 'undecided') throw new RuntimeError('BKR_ERR_HANDOVER_DECIDED');
    this.#state = 'lent';
    const abandoning = new AbortController();
    this.#abandoning = abandoning;
    let isGone = false;
    try {
      isGone = await offer(this.#handover, abandoning.signal);
    } finally {
      this.#state = 'undecided';
      if (isGone) closeHandover(this.take());
      else if (abandoning.signal.aborted) endClient(this.take());
    }
    return this.isDecided;
  }

  /** Tells the operator of a failure: the server's `'handoverError'` and its counters. */
  report(error: RuntimeError): void {
    this.#onError(error);
  }

  /** Registers an observer of everything later on this connection. */
  observe(observer: HandoverObserver): void {
    this.observers.push(observer);
  }

  /** Registers a judge of each request of this connection, the first included. */
  guard(guard: RequestGuard): void {
    this.guards.push(guard);
  }

  /** @internal */
  tellClosing(): void {
    for (const observer of this.observers) observer.onClosing?.();
  }

  /** @internal */
  tellClosed(hadError: boolean): void {
    for (const observer of this.observers.splice(0)) observer.onClose?.(hadError);
  }

  /** @internal Closes it, at once or when it is no longer lent. */
  abandon(): void {
    if (this.isLent) this.#abandoning?.abort();
    else closeHandover(this.take());
  }

  /** @internal */
  decide(decision: Decision): void {
    if (this.#state !== 'undecided') throw new RuntimeError('BKR_ERR_HANDOVER_DECIDED');
    this.#state = 'decided';
    this.#decide(decision);
  }
}

/**
 * Runs the chain. It ends in `handover.decide()`; synchronous middleware costs no promise.
 * @param onError gets what a middleware threw, rejected with, or gave to `next(error)`
 */
export function runMiddleware(
  chain: readonly HandoverMiddleware[],
  handover: IncomingHandover,
  onError: (error: unknown) => void,
): void {
  const step = (index: number): void => {
    // The deadline may have decided while an asynchronous middleware was still at work.
    if (handover.isDecided) return;
    const middleware = chain[index];
    if (middleware === undefined) return handover.decide({ action: 'serve' });
    let isPassed = false;
    const next = (error?: unknown): void => {
      if (isPassed) return;
      isPassed = true;
      if (error !== undefined && error !== null) onError(error);
      else step(index + 1);
    };
    try {
      middleware(handover, next)?.catch(onError);
    } catch (error) {
      onError(error);
    }
  };
  step(0);
}
