// The chain a handover passes before it becomes a connection: each middleware may tag, reject, take, or let it pass on.
// Knows no particular middleware, and nothing of the server.
import {
  type IncomingMessage,
  type ServerResponse,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';
import type { Duplex } from 'node:stream';
import type { Handover } from '@fdpass/scgi-fdpass';
import type { ConnectionFacts } from './connection-info.js';
import { RuntimeError } from './errors.js';
import { isAnswerStatus } from './raw-answer.js';

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
  readonly #handover: Handover;
  readonly #decide: (decision: Decision) => void;
  #isDecided = false;

  /** @internal */
  constructor(handover: Handover, info: ConnectionFacts, decide: (decision: Decision) => void) {
    this.#handover = handover;
    this.info = info;
    this.#decide = decide;
  }

  get kind(): Handover['kind'] {
    return this.#handover.kind;
  }

  /** The SCGI headers as received. */
  get headers(): Handover['headers'] {
    return this.#handover.headers;
  }

  get isDecided(): boolean {
    return this.#isDecided;
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

  /** @internal */
  decide(decision: Decision): void {
    if (this.#isDecided) throw new RuntimeError('BKR_ERR_HANDOVER_DECIDED');
    this.#isDecided = true;
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
