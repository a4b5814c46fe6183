// createServer(): an http.Server whose connections arrive by handover. Takes over the duties net.Server has where there is
// no listening handle of its own: address, close, getConnections, maxConnections, ref. Knows what a middleware is, and no
// particular one.
import { type IncomingMessage, Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { Receiver, type ReceiverStats, type WireError } from '@fdpass/scgi-fdpass';
import type { Connection } from './connection.js';
import type { RuntimeError, RuntimeErrorCode } from './errors.js';
import type { HandoverSocket } from './handover-socket.js';
import { Intake } from './intake.js';
import type { LeanServer } from './lean-connection.js';
import { idleTimeoutMs, needsNoSockets } from './lean-settings.js';
import { type ListenArguments, listenArguments } from './listen-arguments.js';
import type { HandoverExtension, HandoverMiddleware } from './middleware.js';
import {
  DEFAULT_MAX_HEADER_BYTES,
  type HandoverServerOptions,
  type ResolvedOptions,
  resolveOptions,
} from './options.js';
import { letOthersAnswer, type Responder } from './responder.js';
import { throwLater } from './throw-later.js';

export type RequestListener = (request: IncomingMessage, response: ServerResponse) => void;

/** Counters since the server was made; a snapshot. */
export interface HandoverServerStats extends Omit<ReceiverStats, 'errors'> {
  /** Connections now, those in the middleware chain included. */
  connections: number;
  /** By code, the wire's and the runtime's. */
  errors: Record<string, number>;
}

/**
 * An http.Server that receives handovers. Everything http.Server has works as there, with these differences: `listen()` takes a UNIX
 * path or an inherited descriptor, `close()` has a deadline, and there are `use()`, `stats()`, `destroy()` and the event
 * `'handoverError'` (`(error: WireError | RuntimeError, sender: { pid, uid, gid }) => void`).
 */
export class HandoverServer extends Server {
  readonly #options: ResolvedOptions;
  readonly #receiver: Receiver;
  readonly #intake: Intake;
  readonly #runtimeErrors: Partial<Record<RuntimeErrorCode, number>> = {};
  #state: 'idle' | 'listening' | 'closing' = 'idle';
  #closeTimer: NodeJS.Timeout | undefined;

  constructor(options: HandoverServerOptions = {}, listener?: RequestListener) {
    const resolved = resolveOptions(options);
    const { keepAlive: _scope, ...httpOptions } = options;
    super(
      { maxHeaderSize: DEFAULT_MAX_HEADER_BYTES, ...httpOptions, keepAlive: resolved.tcpKeepAlive },
      listener,
    );
    this.#options = resolved;
    this.#intake = new Intake(resolved, this.#lean(), {
      onConnection: (socket) => this.#onConnection(socket),
      onDrop: (drop) => this.#announce('drop', drop),
      onError: (error, sender) => this.#onRuntimeError(error, sender),
      onEmpty: () => this.#closeIfDrained(),
    });
    this.#receiver = new Receiver({
      ...options,
      refuse: ({ headers }, ahead) =>
        this.#state === 'closing' || this.#limitedIntake().refuses(headers, ahead),
    });
    this.#receiver.on('listening', () => this.emit('listening'));
    this.#receiver.on('handover', (handover) => this.#limitedIntake().take(handover));
    this.#receiver.on('handoverError', (error: WireError, sender) =>
      this.emit('handoverError', error, sender),
    );
    this.#receiver.on('close', () => this.#closeIfDrained());
    letOthersAnswer(this, (socket) => this.#responderOf(this.connectionOf(socket)));
    // Without a listener http.Server answers by itself, and the connection would take its second request for the first.
    this.on('checkExpectation', (_request, response) => {
      if (this.listenerCount('checkExpectation') === 1) failExpectation(response);
    });
  }

  /** Adds middleware to the end of the chain that each handover passes. */
  use(...added: readonly (HandoverMiddleware | HandoverExtension<HandoverServer>)[]): this {
    for (const each of added) {
      if (typeof each === 'function') {
        this.#intake.middleware.push(each);
      } else {
        // First, for it may refuse.
        each.attach?.(this);
        this.#intake.middleware.push(each.middleware);
      }
    }
    return this;
  }

  /**
   * Listens for handovers: `listen(path, ...)`, `listen({ path, mode, owner, group, backlog, takeover, signal }, ...)` or
   * `listen({ fd })`; the last argument may be a listener for `'listening'`. Errors (EADDRINUSE, ...) are emitted as `'error'`.
   * @throws `ERR_SERVER_ALREADY_LISTEN`; `BKR_ERR_LISTEN_ADDRESS` for a port
   */
  override listen(...args: unknown[]): this {
    const { address, signal, onListening }: ListenArguments = listenArguments(args);
    if (this.#state !== 'idle') throw alreadyListening();
    if (onListening !== undefined) this.once('listening', onListening);
    if (signal?.aborted) {
      process.nextTick(() => this.close());
      return this;
    }
    try {
      this.#receiver.listen(address);
    } catch (error) {
      process.nextTick(() => this.emit('error', error));
      return this;
    }
    this.#state = 'listening';
    this.#intake.start();
    if (signal !== undefined) this.#closeOnAbort(signal);
    return this;
  }

  /** The path listened on (as net.Server has it for UNIX sockets), null when not listening. */
  override address(): string | null {
    return this.#receiver.path ?? null;
  }

  /**
   * Stops accepting, lets answers under way finish (each says `Connection: close`), and emits `'close'`; what is open after
   * `closeTimeoutMs`, WebSockets among it, is destroyed. Senders of version 1 are refused meanwhile, and try elsewhere.
   * @param callback gets ERR_SERVER_NOT_RUNNING if the server was not listening
   */
  override close(callback?: (error?: Error) => void): this {
    if (this.#state === 'closing') {
      if (callback !== undefined) this.once('close', () => callback(notRunning()));
      return this;
    }
    if (this.#state === 'idle') return super.close(callback);
    this.#state = 'closing';
    if (callback !== undefined) this.once('close', () => callback());
    this.#receiver.close();
    this.#intake.drain();
    this.closeIdleConnections();
    if (this.#options.closeTimeoutMs > 0) {
      this.#closeTimer = setTimeout(() => this.destroy(), this.#options.closeTimeoutMs);
    }
    this.#closeIfDrained();
    return this;
  }

  /** Stops now: every connection is destroyed, what waits in the accept queue is left. Emits `'close'`. Idempotent. */
  destroy(): this {
    if (this.#state === 'idle') return this;
    this.#state = 'closing';
    this.#receiver.destroy();
    this.#intake.destroy();
    this.#closeIfDrained();
    return this;
  }

  override getConnections(callback: (error: Error | null, count: number) => void): this {
    process.nextTick(callback, null, this.#intake.size);
    return this;
  }

  override ref(): this {
    this.#receiver.ref();
    return this;
  }

  override unref(): this {
    this.#receiver.unref();
    return this;
  }

  stats(): HandoverServerStats {
    const { errors, ...received } = this.#receiver.stats();
    return { ...received, connections: this.#intake.size, errors: { ...errors, ...this.#runtimeErrors } };
  }

  override closeIdleConnections(): void {
    super.closeIdleConnections();
    this.#intake.closeIdle();
  }

  override closeAllConnections(): void {
    super.closeAllConnections();
    this.#intake.closeAll();
  }

  /** The connection behind a socket of this server. @internal */
  connectionOf(socket: unknown): Connection | undefined {
    return this.#intake.connectionOf(socket);
  }

  /** Requests and upgrades pass their connection first: it counts them, tells the observers, and may answer them itself. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    switch (event) {
      case 'request':
      case 'checkContinue':
      case 'checkExpectation': {
        const [request, response] = args as [IncomingMessage, ServerResponse];
        const connection = this.connectionOf(request.socket);
        const isServed = connection?.onRequest(request, response) ?? true;
        return isServed ? this.#emitFor(connection, event, args) : true;
      }
      case 'upgrade':
      case 'connect': {
        const [request, socket, head] = args as [IncomingMessage, Duplex, Buffer];
        const connection = this.connectionOf(socket);
        const isServed = connection?.onUpgrade(request, socket, head) ?? true;
        return isServed ? this.#emitFor(connection, event, args) : true;
      }
      case 'clientError': {
        const [error, socket] = args as [Error, Duplex];
        const connection = this.connectionOf(socket);
        if (connection?.onClientError(error, socket) === false) return true;
        return this.#emitFor(connection, event, args) || connection?.answerClientError(error) === true;
      }
      default:
        return super.emit(event as string, ...args);
    }
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'idle') return;
    await new Promise<void>((resolve) => {
      this.once('close', resolve);
      this.close();
    });
  }

  /** To the listeners of whoever answers the connection. */
  #emitFor(connection: Connection | undefined, event: string, args: unknown[]): boolean {
    const responder = this.#responderOf(connection);
    if (responder === undefined) return super.emit(event, ...args);
    if (event === 'checkExpectation' && responder.listenerCount(event) === 0) {
      failExpectation(args[1] as ServerResponse);
      return true;
    }
    return responder.emit(event, ...args);
  }

  /** Undefined if it is this server, by whatever name a middleware calls it. */
  #responderOf(connection: Connection | undefined): Responder | undefined {
    const responder = connection?.incoming.responder;
    return responder === this ? undefined : responder;
  }

  #closeOnAbort(signal: AbortSignal): void {
    const onAbort = (): void => {
      this.close();
    };
    signal.addEventListener('abort', onAbort);
    this.once('close', () => signal.removeEventListener('abort', onAbort));
  }

  #onConnection(socket: HandoverSocket): void {
    socket.server = this;
    this.#announce('connection', socket);
  }

  /** What answers without a socket ask of this server. */
  #lean(): LeanServer {
    const server = this;
    return {
      get allowsLean() {
        return server.#options.lean && needsNoSockets(server);
      },
      httpServer: server,
      get keepAliveTimeoutMs() {
        return server.keepAliveTimeout;
      },
      get idleTimeoutMs() {
        return idleTimeoutMs(server);
      },
      onRequest: (request, response) => this.emit('request', request, response),
      onConnection: (socket) => this.#onConnection(socket),
      onTimeout: (socket) => this.listenerCount('timeout') > 0 && this.emit('timeout', socket),
    };
  }

  /** `maxConnections` is a plain property, as net.Server has it. */
  #limitedIntake(): Intake {
    this.#intake.maxConnections = this.maxConnections;
    return this.#intake;
  }

  #onRuntimeError(error: RuntimeError, sender: object): void {
    this.#runtimeErrors[error.code] = (this.#runtimeErrors[error.code] ?? 0) + 1;
    if (LOGGED.has(error.code)) this.#options.logger.warn({ err: error, sender }, error.message);
    this.#announce('handoverError', error, sender);
  }

  /** A listener that throws is an uncaught exception, and costs the client in question nothing. */
  #announce(event: string, ...args: unknown[]): void {
    try {
      this.emit(event, ...args);
    } catch (error) {
      throwLater(error);
    }
  }

  #closeIfDrained(): void {
    if (this.#state !== 'closing' || this.#receiver.active || this.#intake.size > 0) return;
    this.#state = 'idle';
    clearTimeout(this.#closeTimer);
    this.#intake.stop();
    // Without a handle of its own, http.Server's close() ends its timers and emits 'close'.
    super.close();
  }
}

/** Errors somebody must act on; the others are the client's or the sender's doing and are counted and emitted only. */
const LOGGED = new Set<RuntimeErrorCode>([
  'BKR_ERR_BODY_LOST',
  'BKR_ERR_RELAYED_BODY',
  'BKR_ERR_MIDDLEWARE',
  'BKR_ERR_MIDDLEWARE_TIMEOUT',
]);

Object.defineProperty(HandoverServer.prototype, 'listening', {
  configurable: true,
  get(this: HandoverServer) {
    return this.address() !== null;
  },
});

/**
 * A drop-in for http.createServer whose `listen({ path })` receives handovers.
 * @throws `BKR_ERR_OPTION`
 */
export function createServer(listener?: RequestListener): HandoverServer;
export function createServer(options: HandoverServerOptions, listener?: RequestListener): HandoverServer;
export function createServer(
  first?: HandoverServerOptions | RequestListener,
  listener?: RequestListener,
): HandoverServer {
  return typeof first === 'function' ? new HandoverServer({}, first) : new HandoverServer(first, listener);
}

/** As http.Server does it by itself. */
const failExpectation = (response: ServerResponse): void => void response.writeHead(417).end();

const alreadyListening = (): Error =>
  Object.assign(new Error('Listen method has been called more than once without closing.'), {
    code: 'ERR_SERVER_ALREADY_LISTEN',
  });

const notRunning = (): Error =>
  Object.assign(new Error('Server is not running.'), { code: 'ERR_SERVER_NOT_RUNNING' });
