// The way of a handover into the server: middleware, then adopted and served, or answered and closed. Keeps every
// connection that came this way until it is closed. Knows http.Server only as something that takes sockets.
import type { DropArgument } from 'node:net';
import type { Handover } from '@fdpass/scgi-fdpass';
import { type Adopted, adopt } from './adopt.js';
import { Connection } from './connection.js';
import { addressFrom, ConnectionFacts, registerSocket } from './connection-info.js';
import { RuntimeError, type RuntimeErrorCode } from './errors.js';
import type { HandoverSocket } from './handover-socket.js';
import type { LeanServer } from './lean-connection.js';
import { LeanIntake } from './lean-intake.js';
import { type Decision, type HandoverMiddleware, IncomingHandover, runMiddleware } from './middleware.js';
import type { SocketAddress } from './native.js';
import type { ResolvedOptions } from './options.js';
import { rawAnswer } from './raw-answer.js';
import { requestHead } from './request-head.js';
import { Roster } from './roster.js';
import { WriteStallWatch, type Written } from './write-stall.js';

export interface IntakeEvents {
  /** A socket; the request head reaches it in the next tick. */
  onConnection(socket: HandoverSocket): void;
  onDrop(drop: DropArgument): void;
  /** `sender`: the process it came from. */
  onError(error: RuntimeError, sender: Handover['sender']): void;
  /** The last connection is gone. */
  onEmpty(): void;
}

/** What is written to a client. */
interface Answered extends Written {
  readonly facts: ConnectionFacts;
}

/** The request head to serve, or the status to answer with. */
interface FirstBytes {
  readonly head?: Buffer;
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export class Intake {
  /** Run in order for each handover. */
  readonly middleware: HandoverMiddleware[] = [];
  /** net.Server's `maxConnections`: at this number further clients get 503. */
  maxConnections: number | undefined;
  readonly #options: ResolvedOptions;
  readonly #events: IntakeEvents;
  /** Still in the middleware chain, with their deadlines. */
  readonly #waiting = new Map<IncomingHandover, NodeJS.Timeout>();
  readonly #served = new Roster<Connection>();
  /** Turned away; not closed yet. */
  readonly #answered = new Set<Answered>();
  readonly #stalls: WriteStallWatch<Answered>;
  readonly #lean: LeanIntake;
  #isDraining = false;

  constructor(options: ResolvedOptions, lean: LeanServer, events: IntakeEvents) {
    this.#options = options;
    this.#events = events;
    this.#lean = new LeanIntake(lean, options, ({ owner }, hadError) =>
      this.#onClose(owner as Connection, hadError),
    );
    this.#stalls = new WriteStallWatch(options.sendTimeoutMs, ({ socket, facts }) => {
      socket.destroy();
      events.onError(new RuntimeError('BKR_ERR_SEND_TIMEOUT', options.sendTimeoutMs), facts.sender);
    });
  }

  /** Connections now, those in the middleware chain included. */
  get size(): number {
    return this.#waiting.size + this.#served.size + this.#answered.size;
  }

  /** Those answered already do not count: a client that is turned away and does not go must not keep others out. */
  get isFull(): boolean {
    return this.#isFullBut(0);
  }

  #isFullBut(ahead: number): boolean {
    const { maxConnections } = this;
    return maxConnections !== undefined && this.#waiting.size + this.#served.size + ahead >= maxConnections;
  }

  connectionOf(socket: unknown): Connection | undefined {
    const owner = (socket as Partial<HandoverSocket> | undefined)?.owner;
    const isOurs = owner instanceof Connection && (this.#served.has(owner) || this.#answered.has(owner));
    return isOurs ? owner : undefined;
  }

  start(): void {
    this.#isDraining = false;
    this.#stalls.start(() => this.#written());
  }

  *#written(): Generator<Answered> {
    yield* this.#served;
    yield* this.#answered;
  }

  /** Every answer from now on is its connection's last. */
  drain(): void {
    this.#isDraining = true;
    for (const connection of this.#served) connection.closeAfterAnswer();
  }

  /** Closes everything at once. */
  destroy(): void {
    for (const incoming of this.#waiting.keys()) incoming.abandon();
    for (const { socket } of [...this.#served, ...this.#answered]) socket.destroy();
  }

  stop(): void {
    this.#stalls.stop();
    this.#lean.stop();
  }

  /** Closes connections without a socket; http.Server knows the others. */
  closeAll(): void {
    this.#lean.closeAll();
  }

  /** Closes connections without a socket that wait for their next request; http.Server knows the others. */
  closeIdle(): void {
    this.#lean.closeIdle();
  }

  /**
   * Asked before anything of a client is touched: true if there is no room for it, and its sender shall try elsewhere. For
   * this server it is dropped then.
   * @param ahead handovers that are on their way here already
   */
  refuses(headers: Handover['headers'], ahead: number): boolean {
    if (!this.#isFullBut(ahead)) return false;
    const client = addressFrom(headers, 'REMOTE_ADDR', 'REMOTE_PORT');
    this.#events.onDrop(dropArgument(client, addressFrom(headers, 'SERVER_ADDR', 'SERVER_PORT')));
    return true;
  }

  /** Takes the handover's descriptors, whatever becomes of it. */
  take(handover: Handover): void {
    const passedFd = handover.kind === 'relay' ? undefined : handover.passedFd;
    let clientFd = (): number | undefined => (passedFd?.closed === false ? passedFd.fd : undefined);
    const facts = new ConnectionFacts(handover, () => clientFd());
    const onError = (error: RuntimeError): void => this.#events.onError(error, handover.sender);
    const decide = (decision: Decision): void => {
      clearTimeout(this.#waiting.get(incoming));
      this.#waiting.delete(incoming);
      if (decision.action === 'taken') {
        clientFd = () => undefined;
        return this.#forget(incoming, false);
      }
      if (decision.action === 'serve' && this.#serveLean(handover, incoming)) return;
      const firstBytes = this.#firstBytes(handover, decision);
      const adopted = this.#adopt(handover, facts);
      if (adopted === undefined) return this.#forget(incoming, true);
      if (passedFd !== undefined) {
        clientFd = () => (adopted.socket.sinkIsOpen ? adopted.writeFd : undefined);
      }
      this.#conclude(handover, incoming, adopted, firstBytes);
    };
    const incoming = new IncomingHandover(handover, facts, decide, onError);
    if (this.isFull) this.#drop(incoming, handover);
    else this.#runMiddleware(incoming, handover);
  }

  #runMiddleware(incoming: IncomingHandover, handover: Handover): void {
    runMiddleware(this.middleware, incoming, (cause) => {
      this.#events.onError(new RuntimeError('BKR_ERR_MIDDLEWARE', { cause }), handover.sender);
      // What is lent is the borrower's to decide: one that called next() before it failed has had its turn.
      if (!incoming.isDecided && !incoming.isLent) incoming.reject(500);
    });
    if (incoming.isDecided) return;
    const { middlewareTimeoutMs } = this.#options;
    const deadline = setTimeout(() => {
      if (incoming.isLent) {
        deadline.refresh();
        return;
      }
      this.#events.onError(
        new RuntimeError('BKR_ERR_MIDDLEWARE_TIMEOUT', middlewareTimeoutMs),
        handover.sender,
      );
      incoming.reject(503);
    }, middlewareTimeoutMs);
    this.#waiting.set(incoming, deadline);
  }

  #drop(incoming: IncomingHandover, { sender }: Handover): void {
    this.#events.onDrop(dropArgument(incoming.info.client, incoming.info.local));
    this.#events.onError(new RuntimeError('BKR_ERR_TOO_MANY_CONNECTIONS', this.maxConnections ?? 0), sender);
    incoming.reject(503);
  }

  #adopt(handover: Handover, facts: ConnectionFacts): Adopted | undefined {
    try {
      return adopt(handover, facts, this.#options);
    } catch (error) {
      this.#events.onError(error as RuntimeError, handover.sender);
      return undefined;
    }
  }

  #conclude(
    handover: Handover,
    incoming: IncomingHandover,
    { socket, writeFd }: Adopted,
    { head, status, headers }: FirstBytes,
  ): void {
    registerSocket(socket, incoming.info);
    if (head === undefined) this.#answer(socket, writeFd, rawAnswer(status, headers), incoming);
    else this.#serve(socket, writeFd, Buffer.concat([head, handover.earlyBytes]), handover, incoming);
  }

  #firstBytes(handover: Handover, decision: Exclude<Decision, { action: 'taken' }>): FirstBytes {
    if (decision.action === 'reject') return decision;
    try {
      if (handover.kind === 'relay' && handover.earlyBytes.length > handover.contentLength) {
        throw new RuntimeError('BKR_ERR_RELAYED_BODY', handover.contentLength);
      }
      return { head: Buffer.from(requestHead(handover), 'latin1'), status: 200 };
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      this.#events.onError(error, handover.sender);
      return ANSWERS[error.code] ?? { status: 400 };
    }
  }

  #serveLean(handover: Handover, incoming: IncomingHandover): boolean {
    return this.#lean.take(handover, incoming.info, (socket, writeFd) =>
      this.#connection(socket, writeFd, handover, incoming),
    );
  }

  #serve(
    socket: HandoverSocket,
    writeFd: number,
    firstBytes: Buffer,
    handover: Handover,
    incoming: IncomingHandover,
  ): void {
    const connection = this.#connection(socket, writeFd, handover, incoming);
    // http.Server's own listeners come after this one, and observers hear of the close last.
    socket.once('close', (hadError) => process.nextTick(() => this.#onClose(connection, hadError)));
    this.#events.onConnection(socket);
    // Not before: http.Server's resume() takes effect in the next tick, and would undo a pause for a body that nobody reads.
    process.nextTick(() => connection.begin(firstBytes));
  }

  #connection(
    socket: HandoverSocket,
    writeFd: number,
    handover: Handover,
    incoming: IncomingHandover,
  ): Connection {
    const connection = new Connection({
      socket,
      writeFd,
      incoming,
      options: this.#options,
      mayLackBody: handover.kind !== 'relay' && handover.version === 0,
      requestId: handover.headers.get('REQUEST_ID'),
      onError: (error) => this.#events.onError(error, handover.sender),
      onTurnedAway: (turnedAway) => {
        this.#served.delete(turnedAway);
        this.#answered.add(turnedAway);
      },
    });
    if (this.#isDraining) connection.closeAfterAnswer();
    this.#served.add(connection);
    return connection;
  }

  #answer(socket: HandoverSocket, writeFd: number, answer: string, incoming: IncomingHandover): void {
    const answered: Answered = { socket, writeFd, isSendingFile: false, facts: incoming.info };
    this.#answered.add(answered);
    socket.answeredFor = incoming;
    socket.once('close', (hadError) => {
      process.nextTick(() => {
        this.#answered.delete(answered);
        this.#forget(incoming, hadError);
      });
    });
    // A client that is gone cannot be answered; there is nobody left to tell.
    socket.on('error', () => {});
    socket.write(answer, 'latin1');
    socket.closeLingering();
  }

  #onClose(connection: Connection, hadError: boolean): void {
    connection.close();
    this.#served.delete(connection);
    this.#answered.delete(connection);
    this.#forget(connection.incoming, hadError);
  }

  #forget(incoming: IncomingHandover, hadError: boolean): void {
    incoming.tellClosed(hadError);
    if (this.size === 0) this.#events.onEmpty();
  }
}

/** What net.Server tells listeners to `'drop'`. */
const dropArgument = (client: SocketAddress | undefined, local: SocketAddress | undefined): DropArgument => ({
  localAddress: local?.address ?? '',
  localPort: local?.port ?? 0,
  localFamily: local?.family ?? '',
  remoteAddress: client?.address ?? '',
  remotePort: client?.port ?? 0,
  remoteFamily: client?.family ?? '',
});

/** What the client gets for a head that cannot be served. */
const ANSWERS: Partial<
  Record<RuntimeErrorCode, { status: number; headers?: Readonly<Record<string, string>> }>
> = {
  BKR_ERR_HTTP_VERSION: { status: 505 },
  BKR_ERR_RELAYED_BODY: { status: 500 },
  BKR_ERR_RELAYED_UPGRADE: { status: 426, headers: { Upgrade: 'websocket' } },
};
