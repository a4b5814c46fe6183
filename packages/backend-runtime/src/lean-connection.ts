// A connection whose requests are answered without a socket and a parser, as long as they are simple: the first comes from the SCGI
// headers, later ones from the bytes that the client sends while the connection is parked, and each answer leaves by one native call.
// Whatever does not fit makes it an ordinary connection of http.Server at that moment, with the response in the state it is in.
import { AsyncResource } from 'node:async_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FullHandover, PassedFd } from '@fdpass/scgi-fdpass';
import { applyOptions, own, tuneTcp } from './adopt.js';
import type { Connection } from './connection.js';
import type { ConnectionFacts } from './connection-info.js';
import type { HandoverSocket } from './handover-socket.js';
import { dump, endRequest, type LeanExchange, type LeanResponse, leanExchange } from './lean-exchange.js';
import { type LeanHead, parseLeanHead } from './lean-head.js';
import { type Kept, sendOutput, takeWritten, tellWritten } from './lean-output.js';
import { type LeanSocketOwner, leanSocket, materialize } from './lean-socket.js';
import { native } from './native.js';
import type { ResolvedOptions } from './options.js';
import type { Parkable, Parking } from './parking.js';
import { replay, replayAnswered } from './replay.js';
import { requestHead } from './request-head.js';
import { throwLater } from './throw-later.js';

/** The http.Server it is for. */
export interface LeanServer {
  /** For `socket.server`. */
  readonly httpServer: unknown;
  /** Whether nothing is asked of the server that needs a socket. */
  readonly allowsLean: boolean;
  /** http.Server's keepAliveTimeout, which the answer may tell. */
  readonly keepAliveTimeoutMs: number;
  /** How long it really waits; 0: for ever. */
  readonly idleTimeoutMs: number;
  /** Emits 'request'. */
  onRequest(request: IncomingMessage, response: ServerResponse): void;
  /** A socket that http.Server has not seen yet. */
  onConnection(socket: HandoverSocket): void;
  /** Emits 'timeout'. @returns whether somebody listens, who decides then */
  onTimeout(socket: HandoverSocket): boolean;
}

/** Who keeps it, and where. */
export interface LeanHost {
  readonly server: LeanServer;
  readonly parking: Parking;
  readonly options: ResolvedOptions;
  /** The last call. */
  onClosed(socket: HandoverSocket, hadError: boolean): void;
}

type State =
  /** Its request is being answered. */
  | 'answering'
  /** The kernel has the answer; the next request may come. */
  | 'parked'
  /** It has a socket: what happens is http.Server's business. */
  | 'ordinary'
  | 'closed';

type WithMessage = HandoverSocket & { _httpMessage?: ServerResponse | null };

export class LeanConnection implements LeanSocketOwner, Parkable {
  readonly facts: ConnectionFacts;
  readonly socket: HandoverSocket;
  readonly #host: LeanHost;
  readonly #handover: FullHandover;
  readonly #passedFd: PassedFd;
  #state: State = 'answering';
  #connection: Connection | undefined;
  /** Of the latest request, as http.Server's parser would have it (in latin1); undefined for the first. */
  #head: string | undefined;
  /** Until the answer is done. */
  #exchange: LeanExchange | undefined;
  #scope: AsyncResource | undefined;
  /** Its time is up, and somebody else decides. */
  #isExpired = false;

  /** Owns the handover's descriptor from now on. */
  constructor(host: LeanHost, handover: FullHandover, facts: ConnectionFacts) {
    this.#host = host;
    this.#handover = handover;
    this.#passedFd = handover.passedFd;
    this.facts = facts;
    this.socket = leanSocket(this);
    this.socket.server = host.server.httpServer;
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  get isAnswering(): boolean {
    return this.#state === 'answering';
  }

  /** Borrowed; undefined when it is closed. */
  get clientFd(): number | undefined {
    if (this.#state === 'ordinary') return this.socket.sinkIsOpen ? this.#connection?.writeFd : undefined;
    return this.#passedFd.closed ? undefined : this.#passedFd.fd;
  }

  /** Gives the first request to the server. @param connection served on `socket` */
  begin(connection: Connection, head: LeanHead): void {
    this.#connection = connection;
    this.#serve(head);
  }

  #serve(head: LeanHead): void {
    const { server } = this.#host;
    const { request, response } = leanExchange(this, head, server.keepAliveTimeoutMs);
    this.#exchange = { request, response };
    (this.socket as WithMessage)._httpMessage = response;
    // As with a parser each request has its own: what one handler leaves in an AsyncLocalStorage is not the next one's.
    this.#scope = new AsyncResource('HTTPINCOMINGMESSAGE', { requireManualDestroy: true });
    try {
      this.#scope.runInAsyncScope(server.onRequest, server, request, response);
    } catch (error) {
      throwLater(error);
    }
  }

  /** The answer before is at its end, also for those who wait for that. */
  get #isIdle(): boolean {
    return this.#state === 'parked' && this.#exchange === undefined;
  }

  /** Its handler is still at work: from now on it hears if the client goes. */
  watch(): void {
    if (this.#state === 'answering') this.#park(0);
  }

  onBytes(bytes: Buffer): void {
    if (this.#isIdle && this.#host.server.allowsLean) {
      const text = bytes.toString('latin1');
      const head = parseLeanHead(text);
      if (head !== undefined) {
        this.#state = 'answering';
        // Not the bytes: they would keep those of all others that were read with them.
        this.#head = text;
        return this.#serve(head);
      }
    }
    this.promote();
    if (!this.socket.destroyed) this.socket.emit('data', bytes);
  }

  onEnded(): void {
    if (!this.closeIfIdle()) this.promote();
  }

  onExpired(): void {
    this.#isExpired = true;
    let isDecided = true;
    try {
      isDecided = this.#host.server.onTimeout(this.socket);
    } finally {
      // Also if a listener throws: nothing but a socket hears of the client now.
      if (isDecided) this.promote();
      else this.closeIfIdle();
    }
  }

  /** What comes next is there, and not read yet. */
  get hasNextRequest(): boolean {
    return this.#state === 'parked' && hasUnread(this.#passedFd.fd);
  }

  /** @returns false if an answer is under way */
  closeIfIdle(): boolean {
    if (this.#state !== 'parked') return false;
    this.#leave();
    this.#close();
    // An answer that was sent in this very tick tells it when it has told everybody else.
    if (this.#exchange === undefined) process.nextTick(() => this.#host.onClosed(this.socket, false));
    return true;
  }

  destroy(error?: Error): void {
    if (this.#state === 'closed' || this.closeIfIdle()) return;
    this.promote();
    this.socket.destroy(error);
  }

  promote(): void {
    const before = this.#state;
    if (before === 'ordinary') return;
    if (before === 'closed') return this.#materializeClosed();
    const unread = this.#materialize();
    // Before the kernel is asked for more, and not in the middle of what wants a socket.
    if (unread !== undefined) process.nextTick(() => this.socket.destroyed || this.socket.unshift(unread));
    (this.socket as WithMessage)._httpMessage = null;
    const connection = this.#connection as Connection;
    const head = Buffer.from(this.#head ?? requestHead(this.#handover), 'latin1');
    const announce = (): void => this.#host.server.onConnection(this.socket);
    if (before === 'parked') {
      replayAnswered(head, connection, announce);
      if (this.#isExpired) this.socket.setTimeout(0);
      return;
    }
    const { request, response } = this.#exchange as LeanExchange;
    response.socket = null;
    replay(head, connection, { request, response }, announce);
    response.once('finish', () => this.#forgetExchange());
  }

  /** The response is whole, and none of it is sent. */
  answer(response: LeanResponse): void {
    const isLast = response._last || this.#connection?.isClosing === true;
    const { fd } = this.#passedFd;
    if (!isLast && this.#head === undefined) tuneTcp(fd, this.#host.options);
    if (!sendOutput(fd, response, isLast)) return this.promote();
    if (!isLast) {
      this.#state = 'parked';
      this.#park(this.#host.server.idleTimeoutMs);
    } else if (hasUnread(fd)) {
      // Closing now would make the kernel send RST, and the client may lose the answer.
      this.#materialize();
      // A client that is gone cannot be told anything.
      this.socket.on('error', () => {});
      this.socket.closeLingering();
    } else {
      this.#leave();
    }
    const written = takeWritten(response);
    process.nextTick(() => this.#onAnswered(written));
    response.emit('prefinish');
  }

  /** As http.Server brings an answer to its end: 'finish' in one tick, 'close' in the next. */
  #onAnswered(written: readonly Kept[]): void {
    const { request, response } = this.#exchange as LeanExchange;
    // Before anybody hears of it.
    response.socket = null;
    if (request._eventsCount > 0) dump(request);
    process.nextTick(() => this.#onFinished());
    tellWritten(written);
  }

  #onFinished(): void {
    const { request, response } = this.#exchange as LeanExchange;
    this.#forgetExchange();
    response.destroyed = true;
    response._closed = true;
    try {
      response.emit('close');
    } finally {
      // By now everybody listens who will.
      endRequest(request);
      if (this.#state === 'closed') {
        // Not before: until now the kernel could still be asked about the client.
        this.#close();
        this.#host.onClosed(this.socket, false);
      }
    }
  }

  #forgetExchange(): void {
    const socket = this.socket as WithMessage;
    if (socket._httpMessage === this.#exchange?.response) socket._httpMessage = null;
    this.#exchange = undefined;
    this.#scope?.emitDestroy();
    this.#scope = undefined;
  }

  #park(timeoutMs: number): void {
    try {
      this.#host.parking.park(this.#passedFd.fd, timeoutMs, this);
    } catch {
      // No memory for one more: a socket says it better.
      this.promote();
    }
  }

  #close(): void {
    if (this.#passedFd.closed) return;
    this.#connection?.onClosing();
    this.#passedFd.close();
  }

  /** Nothing is sent or received any more; who says so closes the descriptor. */
  #leave(): void {
    this.#state = 'closed';
    this.#host.parking.unpark(this.#passedFd.fd);
  }

  /** @returns what the client has sent, and nobody was told */
  #materialize(): Buffer | undefined {
    const { options, parking } = this.#host;
    const unread = parking.unpark(this.#passedFd.fd);
    const { fd } = this.#passedFd;
    this.#state = 'ordinary';
    try {
      own(this.#passedFd, (taken) => materialize(this.socket, options, { fd: taken }));
    } catch (error) {
      this.#state = 'closed';
      process.nextTick(() => this.#host.onClosed(this.socket, true));
      throw error;
    }
    tuneTcp(fd, options);
    applyOptions(this.socket, options);
    this.socket.once('close', (hadError) => {
      process.nextTick(() => this.#host.onClosed(this.socket, hadError));
    });
    return unread;
  }

  /** Somebody wants more of a socket that is gone, or about to go. */
  #materializeClosed(): void {
    const { options } = this.#host;
    // Later nobody could ask.
    this.#connection?.onClosing();
    if (this.#passedFd.closed) materialize(this.socket, options, {});
    else own(this.#passedFd, (fd) => materialize(this.socket, options, { fd }));
    this.socket.destroy();
  }
}

const oneByte = new Uint8Array(1);

/** Whether the client has sent what was not read. */
function hasUnread(fd: number): boolean {
  try {
    return native().peek(fd, oneByte) > 0;
  } catch {
    return false;
  }
}
