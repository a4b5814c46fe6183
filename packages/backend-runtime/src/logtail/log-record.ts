// What one line is about: the facts of one finished request, or of one upgraded connection at its end. One object serves all lines of
// a log, one after the other.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ConnectionFacts, requestNumberOf } from '../connection-info.js';
import type { IncomingHandover } from '../middleware.js';
import type { TcpInfo } from '../native.js';
import { answerHead, type RequestAccount } from '../request-account.js';

/** What a predicate is asked about; valid during the call. */
export interface LoggedRequest {
  readonly request: IncomingMessage;
  /** 101 for an upgraded connection; 499 if the client left before an answer began. */
  readonly status: number;
  /** From the request's arrival here to the end of its answer, or of the upgraded connection. */
  readonly durationMs: number;
  /** Of the body. */
  readonly requestBytes: number;
  /** Of the answer's body. */
  readonly responseBytes: number;
}

/** An upgraded connection at its end. */
export interface UpgradedConnection {
  readonly request: IncomingMessage;
  readonly startedMs: number;
  readonly status: number;
  /** Its answer's head as far as it was seen. */
  readonly head: string;
  readonly requestBytes: number;
  /** Behind that head. */
  readonly responseBytes: number;
  readonly tcpInfo: TcpInfo | undefined;
}

/** nginx's word for a client that did not wait for its answer. */
const CLIENT_CLOSED_REQUEST = 499;

export class LogRecord implements LoggedRequest {
  // Set before anything is read.
  declare request: IncomingMessage;
  declare handover: IncomingHandover;
  status = 0;
  requestBytes = 0;
  responseBytes = 0;
  /** The answer's head as it was sent, '' without one. */
  head = '';
  /** The number of the connection. */
  connection = 0;
  #timed: Pick<RequestAccount, 'durationMs'> = { durationMs: 0 };
  #nowMs = 0;
  #tcpInfo: TcpInfo | undefined;
  #isTcpInfoKnown = false;

  // Clocks are asked only by formats that show them: each costs as much as the rest of a short line.

  get durationMs(): number {
    return this.#timed.durationMs;
  }

  /** The same for all variables of a line. */
  get nowMs(): number {
    if (this.#nowMs === 0) this.#nowMs = Date.now();
    return this.#nowMs;
  }

  get info(): ConnectionFacts {
    return this.handover.info;
  }

  get requestNumber(): number {
    return requestNumberOf(this.request);
  }

  /** Undefined where there is no client's TCP socket to ask (any more). */
  get tcpInfo(): TcpInfo | undefined {
    if (!this.#isTcpInfoKnown) {
      this.#tcpInfo = this.handover.info.tcpInfo;
      this.#isTcpInfoKnown = true;
    }
    return this.#tcpInfo;
  }

  setResponse(request: IncomingMessage, response: ServerResponse, account: RequestAccount): void {
    this.#begin(request, account);
    this.status = response.headersSent ? response.statusCode : CLIENT_CLOSED_REQUEST;
    this.requestBytes = account.requestBytes;
    this.responseBytes = account.responseBytes;
    this.head = answerHead(response);
    this.#isTcpInfoKnown = false;
  }

  setUpgraded(upgraded: UpgradedConnection): void {
    this.#begin(upgraded.request, { durationMs: performance.now() - upgraded.startedMs });
    this.status = upgraded.status;
    this.requestBytes = upgraded.requestBytes;
    this.responseBytes = upgraded.responseBytes;
    this.head = upgraded.head;
    this.#tcpInfo = upgraded.tcpInfo;
    this.#isTcpInfoKnown = true;
  }

  #begin(request: IncomingMessage, timed: Pick<RequestAccount, 'durationMs'>): void {
    this.request = request;
    this.#timed = timed;
    this.#nowMs = 0;
  }
}
