// One adopted connection while http.Server works on it: counts its requests, decides which of them are served, tells the
// observers, and knows when an answer is still due.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type ConnectionFacts, registerRequest } from './connection-info.js';
import { EarlyBodyWatch } from './early-body-watch.js';
import { RuntimeError } from './errors.js';
import type { HandoverSocket, SocketOwner } from './handover-socket.js';
import { isMisdirected } from './keep-alive-scope.js';
import type { IncomingHandover } from './middleware.js';
import type { ResolvedOptions } from './options.js';
import { bareAnswer, rawAnswer } from './raw-answer.js';
import type { Double } from './replay.js';
import type { Listed } from './roster.js';
import { SplitSocket } from './split-socket.js';

export interface ConnectionOptions {
  socket: HandoverSocket;
  /** What the answer is written to: borrowed, valid until the socket is closed. */
  writeFd: number;
  /** Its facts, its observers and its guards. */
  incoming: IncomingHandover;
  options: ResolvedOptions;
  /** The sender drops what it had read past the head. */
  mayLackBody: boolean;
  /** The web server's own id of the first request. */
  requestId: string | undefined;
  onError: (error: RuntimeError) => void;
  /** What came was no request: it is answered, and no other one is served. */
  onTurnedAway: (connection: Connection) => void;
}

export class Connection implements SocketOwner, Listed<Connection> {
  readonly socket: HandoverSocket;
  readonly writeFd: number;
  readonly facts: ConnectionFacts;
  readonly incoming: IncomingHandover;
  /** On the list of its server. */
  declare place?: Listed<Connection>['place'];
  /** A file is on its way past http.ServerResponse: counts as pending output. */
  isSendingFile = false;
  readonly #options: ConnectionOptions;
  #host: string | undefined;
  /** In the order of their requests. */
  #unanswered: ServerResponse[] = [];
  #latest: IncomingMessage | undefined;
  /** The next answer says `Connection: close`. */
  #isClosing = false;
  /** An answer says so: what the client sends behind that request is not served. */
  #hasSaidClose = false;
  #hasIgnored = false;
  #isUpgraded = false;
  #isClosingTold = false;
  /** Where the next request goes instead of to the server. */
  #takeRequest: ((double: Double) => void) | undefined;
  /** http.Server's, which it takes off the socket before an upgrade. */
  #drainListeners: readonly unknown[] = [];

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.socket = options.socket;
    this.writeFd = options.writeFd;
    this.incoming = options.incoming;
    this.facts = options.incoming.info;
    this.socket.owner = this;
  }

  hasUnreadRequest(): boolean {
    return this.#hasIgnored || this.#latest?.complete === false;
  }

  owesAnswer(): boolean {
    return this.#unanswered.length > 0 && this.#latest?.complete === true;
  }

  isSpeaking(): boolean {
    return (
      this.#isUpgraded || this.isSendingFile || this.#unanswered.some((response) => response.headersSent)
    );
  }

  onClosing(): void {
    if (this.#isClosingTold) return;
    this.#isClosingTold = true;
    this.incoming.tellClosing();
  }

  onTlsError(error: RuntimeError): void {
    this.#options.onError(error);
  }

  /** The answer under way is to be the connection's last. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** @returns what http.Server makes of a request that comes while `run` runs: it is not served; undefined if none came */
  takeNextRequest(run: () => void): Double | undefined {
    let taken: Double | undefined;
    this.#takeRequest = (double) => {
      taken = double;
      this.#takeRequest = undefined;
    };
    run();
    this.#takeRequest = undefined;
    return taken;
  }

  /** Gives http.Server the first bytes, when it has its listeners on the socket. */
  begin(firstBytes: Buffer): void {
    this.#drainListeners = this.socket.listeners('drain');
    this.socket.unshift(firstBytes);
  }

  /** The latest answer under way is the last one; an idle connection is for the server to close. */
  closeAfterAnswer(): void {
    this.#isClosing = true;
    const last = this.#unanswered.at(-1);
    if (last === undefined) return;
    this.#hasSaidClose = true;
    last.shouldKeepAlive = false;
  }

  /** The socket is closed: http.Server says nothing of it to answers that were still queued behind others. */
  close(): void {
    for (const response of [...this.#unanswered]) {
      response.destroy();
      response.emit('close');
    }
  }

  /** @returns whether the request listener gets it; otherwise it is answered already, or never will be */
  onRequest(request: IncomingMessage, response: ServerResponse): boolean {
    if (this.#takeRequest !== undefined) {
      this.#takeRequest({ request, response });
      return false;
    }
    // A listener to 'checkContinue' hands it on by emitting 'request'.
    if (this.#unanswered.includes(response)) return true;
    if (this.#isOver) return this.#ignore();
    const requestNumber = registerRequest(request, this.facts);
    this.#latest = request;
    this.#unanswered.push(response);
    response.once('close', () => this.#onResponseClose(request, response));
    this.#identify(request, requestNumber);
    if (requestNumber === 1) this.#host = request.headers.host;
    if (this.#options.options.keepAliveScope === undefined || this.facts.handover === 'relay') {
      this.#isClosing = true;
    }
    for (const observer of this.incoming.observers) observer.onRequest?.(request, response);
    const status = this.#judge(request, requestNumber);
    this.#isClosing ||= status !== undefined;
    this.#hasSaidClose = this.#isClosing;
    if (this.#isClosing) response.shouldKeepAlive = false;
    if (status !== undefined) {
      deny(response, status);
      return false;
    }
    if (requestNumber === 1 && this.#options.mayLackBody) this.#watchBody(request, response);
    return true;
  }

  /** @returns whether the upgrade listener gets it */
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    // An answer that is still due must not be overtaken: it becomes the last one.
    if (this.#unanswered.length > 0) this.closeAfterAnswer();
    if (this.#isOver) return this.#ignoreUpgrade();
    const requestNumber = registerRequest(request, this.facts);
    this.#identify(request, requestNumber);
    if (requestNumber === 1) this.#host = request.headers.host;
    const status = this.#judge(request, requestNumber);
    for (const observer of this.incoming.observers) observer.onUpgrade?.(request, socket, head, status);
    if (status === undefined) {
      this.#isUpgraded = true;
      return true;
    }
    this.socket.write(rawAnswer(status));
    return this.#ignoreUpgrade();
  }

  /** Behind the last request: what comes was not judged by the web server, and is not to be served. */
  get #isOver(): boolean {
    return this.#hasSaidClose || this.socket.isLingering;
  }

  /** http.Server has let go of the socket, but answers still due go on writing to it. */
  #ignoreUpgrade(): false {
    for (const onDrain of this.#drainListeners) this.socket.on('drain', onDrain as () => void);
    return this.#ignore();
  }

  /** The rest of what the client sends is thrown away; when no answer is due, nothing else ends the connection. */
  #ignore(): false {
    this.#hasIgnored = true;
    this.socket.discardInput();
    if (this.#unanswered.length === 0) this.socket.closeLingering();
    return false;
  }

  /** @returns whether the server's own handling goes on */
  onClientError(error: Error, socket: Duplex): boolean {
    // What comes while the connection lingers is thrown away, well-formed or not.
    if (this.socket.isLingering) return false;
    if (this.#hasSaidClose && this.#latest?.complete !== false && !this.socket.destroyed)
      return this.#ignore();
    // The answer must reach a client that goes on sending.
    this.#hasIgnored = true;
    for (const observer of this.incoming.observers) observer.onClientError?.(error, socket);
    return true;
  }

  /**
   * What http.Server does about an error that nobody listens to; but where no request is under way, the answer reaches a client that
   * goes on sending. One that is under way ends at once, as its handler expects.
   * @returns false if http.Server is to do it
   */
  answerClientError(error: NodeJS.ErrnoException): boolean {
    if (!this.socket.writable || this.#isUpgraded || this.#unanswered.length > 0) return false;
    this.#options.onTurnedAway(this);
    this.socket.write(bareAnswer(STATUS_OF_ERROR[error.code ?? ''] ?? 400), 'latin1');
    this.socket.discardInput();
    this.socket.closeLingering(error);
    return true;
  }

  #judge(request: IncomingMessage, requestNumber: number): number | undefined {
    const scope = this.#options.options.keepAliveScope;
    if (requestNumber > 1 && scope !== undefined) {
      const { url = '', headers } = request;
      if (isMisdirected(url, headers.host, { scope, host: this.#host })) return 421;
    }
    for (const guard of this.incoming.guards) {
      const status = guard(request);
      if (status !== undefined) return status;
    }
    return undefined;
  }

  /** The web server's request id; later requests of the connection get their number behind it. */
  #identify(request: IncomingMessage, requestNumber: number): void {
    const { requestId } = this.#options;
    if (requestId === undefined) return;
    (request as IncomingMessage & { id?: string }).id =
      requestNumber === 1 ? requestId : `${requestId}-${requestNumber}`;
  }

  #onResponseClose(request: IncomingMessage, response: ServerResponse): void {
    const place = this.#unanswered.indexOf(response);
    if (place === -1) return;
    this.#unanswered.splice(place, 1);
    // An idle connection is to hold nothing of what is over.
    if (this.#latest === request && request.complete) this.#latest = undefined;
    for (const observer of this.incoming.observers) observer.onResponse?.(request, response);
    if (this.socket instanceof SplitSocket && this.#unanswered.length === 0) this.socket.releaseEnd();
    // A handler may have said `Connection: keep-alive` itself; it is not its decision.
    if (this.#isClosing && this.#unanswered.length === 0 && response.writableFinished) {
      this.socket.destroySoon();
    }
  }

  #watchBody(request: IncomingMessage, response: ServerResponse): void {
    const { earlyBodyTimeoutMs } = this.#options.options;
    new EarlyBodyWatch(request, response, this.socket, earlyBodyTimeoutMs, () => {
      const error = new RuntimeError('BKR_ERR_BODY_LOST', earlyBodyTimeoutMs);
      this.#hasSaidClose = true;
      // Past the response, which stays the handler's: what it still writes there goes nowhere. The end of the request tells it.
      const abort = (): void => {
        request.destroy(error);
      };
      if (response.headersSent) abort();
      else this.socket.end(rawAnswer(408), 'latin1', abort);
      this.#options.onError(error);
    });
  }
}

/** As http.Server has them; everything else is 400. */
const STATUS_OF_ERROR: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
};

/** Answers without the application. */
function deny(response: ServerResponse, status: number): void {
  const body = `${status}\n`;
  response.shouldKeepAlive = false;
  response.writeHead(status, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
  response.end(body);
}
