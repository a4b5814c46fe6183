// Counts what happens on one connection on the pair it belongs to.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ConnectionFacts } from '../connection-info.js';
import type { HandoverObserver } from '../middleware.js';
import { accountOf, answerHead, openAccount } from '../request-account.js';
import type { Listed } from '../roster.js';
import { UpgradedBytes } from '../upgraded-bytes.js';
import type { Pair } from './pair.js';
import { isUncounted } from './uncounted.js';

/** Filled in and read again at once. */
const latest = new Float64Array(2);

export class ConnectionRecord implements HandoverObserver, Listed<ConnectionRecord> {
  declare place?: Listed<ConnectionRecord>['place'];
  readonly #pair: Pair;
  readonly #facts: ConnectionFacts;
  readonly #onClosed: (record: ConnectionRecord) => void;
  readonly #wire = new Float64Array(2);
  #upgraded: UpgradedBytes | undefined;

  /** The wire's bytes count from now on: what the sender has read before is not in them. */
  constructor(pair: Pair, facts: ConnectionFacts, onClosed: (record: ConnectionRecord) => void) {
    this.#pair = pair;
    this.#facts = facts;
    this.#onClosed = onClosed;
    facts.readWireBytes(this.#wire);
    pair.changeConnections(facts.handover, 1);
  }

  onRequest(request: IncomingMessage, response: ServerResponse): void {
    openAccount(request, response);
  }

  onResponse(_request: IncomingMessage, response: ServerResponse): void {
    const account = accountOf(response);
    if (account === undefined || isUncounted(response)) return;
    const pair = this.#pair;
    const seconds = account.durationMs / 1000;
    pair.countRequest(
      response.headersSent ? response.statusCode : 0,
      account.requestBytes,
      account.responseBytes,
    );
    if (account.isWritten && isEventStream(response)) pair.recordUpgraded(seconds);
    else pair.recordDuration(seconds);
  }

  onUpgrade(_request: IncomingMessage, socket: Duplex, head: Buffer, deniedWith?: number): void {
    if (deniedWith !== undefined) return this.#pair.countRequest(deniedWith, 0, 0);
    this.#upgraded = new UpgradedBytes(socket, head.length);
  }

  onClosing(): void {
    this.foldWireBytes();
  }

  onClose(): void {
    if (this.#upgraded !== undefined) this.#countUpgraded(this.#upgraded);
    this.#pair.changeConnections(this.#facts.handover, -1);
    this.#onClosed(this);
  }

  /** Counts what has gone over the wire since this was last done. */
  foldWireBytes(): void {
    if (!this.#facts.readWireBytes(latest)) return;
    this.#pair.countWire(this.#grow(0), this.#grow(1));
  }

  /** A counter must not fall, whatever the kernel says. */
  #grow(direction: 0 | 1): number {
    const before = this.#wire[direction] as number;
    const now = Math.max(before, latest[direction] as number);
    this.#wire[direction] = now;
    return now - before;
  }

  #countUpgraded({ startedMs, received, sent }: UpgradedBytes): void {
    this.#pair.countRequest(101, received, sent);
    this.#pair.recordUpgraded((performance.now() - startedMs) / 1000);
  }
}

/** Server-sent events last as long as the client likes. */
const isEventStream = (response: ServerResponse): boolean =>
  answerHead(response).includes('text/event-stream');
