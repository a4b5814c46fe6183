// A request and its response without a socket and a parser. Both are Node.js's own objects; what differs is on the objects
// themselves, because frameworks exchange the prototypes of what they get.
import { IncomingMessage, ServerResponse } from 'node:http';
import type { HandoverSocket } from './handover-socket.js';
import type { LeanHead } from './lean-head.js';
import { countAnswer, countItself } from './request-account.js';

/** IncomingMessage with the names that Node.js has no public ones for. */
export type LeanRequest = IncomingMessage & {
  _addHeaderLines(headers: readonly string[], count: number): void;
  _dump(): void;
  _eventsCount: number;
  _consuming: boolean;
  upgrade: boolean | null;
  _readableState: {
    readingMore: boolean;
    resumeScheduled: boolean;
    ended: boolean;
    endEmitted: boolean;
    closed: boolean;
    closeEmitted: boolean;
    destroyed: boolean;
  };
};

/** ServerResponse with the names that Node.js has no public ones for. */
export type LeanResponse = Omit<ServerResponse, 'socket'> & {
  socket: HandoverSocket | null;
  destroyed: boolean;
  _last: boolean;
  _closed: boolean;
  _keepAliveTimeout: number;
};

export interface LeanExchange {
  readonly request: LeanRequest;
  readonly response: LeanResponse;
}

/** Who sends the answer. */
export interface Answerer {
  readonly socket: HandoverSocket;
  /** False once somebody else does. */
  readonly isAnswering: boolean;
  /** The response is whole, and none of it is sent. */
  answer(response: LeanResponse): void;
}

const ANSWERER: unique symbol = Symbol('answerer');

/** @param keepAliveTimeoutMs what the answer may say of it */
export function leanExchange(answerer: Answerer, head: LeanHead, keepAliveTimeoutMs: number): LeanExchange {
  const request = new IncomingMessage(answerer.socket) as LeanRequest;
  request.httpVersionMajor = 1;
  request.httpVersionMinor = 1;
  request.httpVersion = '1.1';
  request.method = head.method;
  request.url = head.target;
  request._addHeaderLines(head.rawHeaders, head.rawHeaders.length);
  request.complete = true;
  request.upgrade = false;
  request._read = endAtOnce;

  const response = new ServerResponse(request) as unknown as LeanResponse & { [ANSWERER]: Answerer };
  response.shouldKeepAlive = !head.saysClose;
  response._keepAliveTimeout = keepAliveTimeoutMs;
  response[ANSWERER] = answerer;
  response.end = endWhole as unknown as LeanResponse['end'];
  response.write = writeCounted as unknown as LeanResponse['write'];
  countItself(response);
  response.cork = corkSocket;
  // Without assignSocket(), which would listen to the socket and so make it a real one.
  response.socket = answerer.socket;
  return { request, response };
}

function endAtOnce(this: LeanRequest): void {
  this._consuming = true;
  this._readableState.readingMore = false;
  this.push(null);
}

/** There is nothing in it to be read: for those who listen it is read to its end, and who asks later finds it so. */
export function endRequest(request: LeanRequest): void {
  if (request._eventsCount > 0) return dump(request);
  const state = request._readableState;
  state.ended = true;
  state.endEmitted = true;
  state.closed = true;
  state.closeEmitted = true;
  state.destroyed = true;
}

/** As http.Server does with a request that nobody has read. */
export function dump(request: LeanRequest): void {
  if (request._consuming || request._readableState.resumeScheduled) return;
  // First, as with a parser: its end has come before it is made to flow.
  request.push(null);
  request._dump();
}

/** From Node.js 26 on a response counts this before its socket does: if that became one in between, it would be counted twice. */
function corkSocket(this: LeanResponse): void {
  void (this.socket as { _writableState?: unknown } | null)?._writableState;
  const { cork } = Object.getPrototypeOf(this) as { cork(): void };
  cork.call(this);
}

function writeCounted(this: LeanResponse, ...args: unknown[]): boolean {
  countAnswer(this, false, args[0], args[1]);
  const { write } = Object.getPrototypeOf(this) as { write(...values: unknown[]): boolean };
  return write.apply(this, args);
}

/** What Node.js keeps for a response without a socket, which waits for its turn, is sent as a whole. */
function endWhole(this: LeanResponse & { [ANSWERER]: Answerer }, ...args: never[]): LeanResponse {
  countAnswer(this, true, args[0], args[1]);
  const answerer = this[ANSWERER];
  const { end } = Object.getPrototypeOf(this) as { end(...values: never[]): unknown };
  if (this.finished || !answerer.isAnswering) {
    end.apply(this, args);
    return this;
  }
  this.socket = null;
  try {
    end.apply(this, args);
  } finally {
    // Writing the head may have run code that wanted more of the socket.
    if (answerer.isAnswering) this.socket = answerer.socket;
  }
  if (answerer.isAnswering && this.finished) answerer.answer(this);
  return this;
}
