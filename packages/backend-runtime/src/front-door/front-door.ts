// The front door: plain HTTP comes in by TCP, and each client's own socket goes to a backend. It owns the lifecycle and the
// counters; reading, handing over and answering are each client's, and which backends it is for is its port's.

import { EventEmitter } from 'node:events';
import { defaultWireLimits } from '@fdpass/scgi-fdpass';
import { RuntimeError } from '../errors.js';
import type { Refusal } from '../handing-over.js';
import { LogThrottle } from '../log-throttle.js';
import type { SocketAddress } from '../native.js';
import { AcceptGate } from './accept-gate.js';
import { Client, type ClientAddress, type ClientHost } from './client.js';
import type { AnswerStatus } from './error-answer.js';
import type { HeadReading } from './head-reader.js';
import type { TcpListener } from './listener.js';
import { ListenerSet, type ListenerSetUser, type ResolvedRoutes, resolveRoutes } from './listener-set.js';
import {
  type FrontDoorOptions,
  type FrontDoorRoute,
  type FrontDoorSettings,
  frontDoorSettings,
} from './options.js';
import { frontDoorRoutes } from './routes.js';
import { OWN_VARIABLES } from './scgi-variables.js';
import { count, type FrontDoorStats, newStats } from './stats.js';

/** Once we are closing: time for a client whose connection is there to say what it came for. */
const CLOSING_IDLE_TIMEOUT_MS = 500;

export interface FrontDoorEvents {
  /** Every listener is bound; clients are accepted from now on. */
  listening: [];
  /** A client's request was answered with an error, or not whole in time. `error.code` is the metric label. */
  clientError: [error: RuntimeError, client: ClientAddress | undefined];
  /** No backend took a client, which was answered 502, 503 or 504. `error.code` is the last backend's. */
  handoverError: [error: Error, client: ClientAddress | undefined];
  /** Everything is closed. */
  close: [];
}

type State = 'new' | 'starting' | 'listening' | 'closing' | 'closed';

/**
 * Accepts TCP clients, reads exactly their first request head, and passes the socket to a backend: body and later requests
 * go from the client to the backend directly. Made by {@link createFrontDoor}.
 */
export class FrontDoor extends EventEmitter<FrontDoorEvents> {
  readonly #settings: FrontDoorSettings;
  readonly #clients = new Set<Client>();
  readonly #stats = newStats();
  readonly #log: LogThrottle;
  readonly #host: ClientHost;
  readonly #whenClosed: Promise<void>;
  #resolveClosed: () => void = () => {};
  #state: State = 'new';
  readonly #listeners: ListenerSet;
  #gate: AcceptGate | undefined;
  #replaced: Promise<unknown> = Promise.resolve();
  #closeDeadline: NodeJS.Timeout | undefined;

  /** @throws BKR_ERR_OPTION */
  constructor(options: FrontDoorOptions) {
    super();
    this.#settings = frontDoorSettings(options);
    this.#log = new LogThrottle(this.#settings.logger);
    this.#host = this.#clientHost();
    this.#listeners = new ListenerSet(this.#listenerUser(), this.#settings.sendTimeoutMs, this.#log);
    this.#whenClosed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  /**
   * Binds all listeners, or none. Loads the addon.
   * @throws system errors of the first listener that fails, with `address` and `port`; BKR_ERR_FRONT_DOOR_STATE;
   * ERR_FDPASS_PLATFORM, ERR_FDPASS_ADDON
   */
  async listen(): Promise<void> {
    this.#expect('new', 'listen');
    this.#state = 'starting';
    try {
      const routes = await resolveRoutes(this.#settings.routes);
      // Closed while names were looked up.
      this.#expect('starting', 'listen');
      this.#use(routes);
    } catch (error) {
      if (this.#is('starting')) this.#state = 'new';
      throw error;
    }
    this.#state = 'listening';
    this.emit('listening');
    this.#gate?.open(this.#listeners.sockets);
  }

  /**
   * Goes on with other listeners, while clients come: ports in both lists stay open, and no client of theirs is refused, reset or given to a
   * wrong backend; new ports are opened before anything changes; the others are closed when their backlog is taken in, as far as
   * `maxConnections` has room. On any error all stays as it was. Of several calls the last one counts.
   * @throws BKR_ERR_OPTION, BKR_ERR_PREFIX, BKR_ERR_PREFIX_TWICE, with the place; system errors of the first new listener that fails, with
   * `address` and `port`; BKR_ERR_FRONT_DOOR_STATE
   */
  async replace(listeners: readonly FrontDoorRoute[]): Promise<void> {
    this.#expect('listening', 'replace');
    const resolving = resolveRoutes(frontDoorRoutes(listeners));
    // One after the other, however long their names are looked up.
    const before = this.#replaced;
    this.#replaced = Promise.allSettled([before, resolving]);
    const [routes] = await Promise.all([resolving, before]);
    this.#expect('listening', 'replace');
    this.#use(routes);
  }

  /** Where it listens, in the order of `listeners`; empty unless it does. */
  addresses(): SocketAddress[] {
    return this.#is('listening') ? this.#listeners.addresses : [];
  }

  stats(): FrontDoorStats {
    const stats = this.#stats;
    const snapshot = {
      ...stats,
      refused: { ...stats.refused },
      clientErrors: { ...stats.clientErrors },
      answered: { ...stats.answered },
      partitions: this.#is('listening') ? this.#listeners.partitions : [],
    };
    for (const { state } of this.#clients) {
      if (state === 'reading') snapshot.waiting++;
      else if (state === 'handing over') snapshot.handingOver++;
      else if (state === 'answering') snapshot.answering++;
    }
    return snapshot;
  }

  /**
   * Stops accepting, after taking in what waits in the backlog and has room, and resolves when every client is handed over or answered,
   * at the latest after `closeTimeoutMs`. A client that has not begun its request gets half a second. Idempotent.
   */
  close(): Promise<void> {
    if (this.#is('listening')) {
      this.#state = 'closing';
      this.#gate?.close();
      for (const listener of this.#listeners.sockets) this.#drain(listener);
      this.#listeners.stopFollowing();
      for (const client of this.#clients) client.shortenIdle(CLOSING_IDLE_TIMEOUT_MS);
      this.#closeDeadline = setTimeout(() => void this.destroy(), this.#settings.closeTimeoutMs);
      this.#finishWhenEmpty();
    } else if (!this.#is('closing')) {
      void this.destroy();
    }
    return this.#whenClosed;
  }

  /** Closes listeners and clients at once, and resolves when the last handover under way has let go of its client. Idempotent. */
  destroy(): Promise<void> {
    if (this.#is('closed')) return this.#whenClosed;
    this.#state = 'closing';
    this.#gate?.close();
    for (const listener of this.#listeners.sockets) listener.close();
    this.#listeners.stopFollowing();
    for (const client of this.#clients) client.destroy();
    this.#finishWhenEmpty();
    return this.#whenClosed;
  }

  #is(state: State): boolean {
    return this.#state === state;
  }

  /** @throws BKR_ERR_FRONT_DOOR_STATE */
  #expect(state: State, call: 'listen' | 'replace'): void {
    if (!this.#is(state)) throw new RuntimeError('BKR_ERR_FRONT_DOOR_STATE', call, this.#state);
  }

  #use(routes: ResolvedRoutes): void {
    const gate = this.#gate ?? new AcceptGate();
    const closeOthers = this.#listeners.use(routes);
    this.#gate = gate;
    if (this.#is('listening')) gate.open(this.#listeners.sockets);
    closeOthers((listener) => this.#drain(listener));
  }

  #drain(listener: TcpListener): void {
    listener.drainAndClose(() => this.#clients.size < this.#settings.maxConnections);
  }

  #listenerUser(): ListenerSetUser {
    const stats = this.#stats;
    return {
      onClient: (fd, backends, server) => {
        stats.accepted++;
        this.#onClient(new Client(fd, server, backends, this.#host), fd);
      },
      onUnrouted: () => {
        stats.accepted++;
        stats.unrouted++;
      },
      onRerouted: () => {
        stats.rerouted++;
      },
      onAcceptError: (error) => this.#onShortage(`accepting failed with ${error.code ?? error.message}`),
    };
  }

  #onClient(client: Client, fd: number): void {
    this.#clients.add(client);
    if (this.#clients.size >= this.#settings.maxConnections && this.#gate?.onFull())
      this.#stats.connectionPauses++;
    if (this.#gate?.isReserved(fd)) this.#onShortage('the process is near its limit of open descriptors');
    client.start();
  }

  #clientHost(): ClientHost {
    const stats = this.#stats;
    const { maxHeadBytes, idleTimeoutMs, headTimeoutMs, sendTimeoutMs } = this.#settings;
    const reading: HeadReading = {
      buffer: Buffer.allocUnsafeSlow(maxHeadBytes),
      maxHeadBytes,
      maxFields: defaultWireLimits.maxHeaders - OWN_VARIABLES,
      idleTimeoutMs,
      headTimeoutMs,
      onWakeUp: () => {
        stats.wakeUps++;
      },
    };
    return {
      reading,
      sendTimeoutMs,
      onHandedOver: () => {
        stats.handedOver++;
      },
      onClosedQuietly: (why) => {
        if (why === 'gone') stats.gone++;
        else stats.idleTimeouts++;
      },
      onClientError: (error, client) => this.#onClientError(error, client),
      onRefusal: (refusal) => this.#onRefusal(refusal),
      onHandoverError: (error, client) => void this.emit('handoverError', error, client),
      onShortage: (error) => this.#onShortage(`handing over failed with ${error.code}`),
      onAnswer: (status: AnswerStatus) => count(stats.answered, status),
      onReleased: (client) => this.#onReleased(client),
    };
  }

  #onClientError(error: RuntimeError, client: ClientAddress | undefined): void {
    count(this.#stats.clientErrors, error.code);
    if (error.code === 'BKR_ERR_FRONT_DOOR_TLS')
      this.#log.warn(error.code, { code: error.code, client }, error.message);
    this.emit('clientError', error, client);
  }

  #onRefusal({ backend, code, error }: Refusal): void {
    count(this.#stats.refused, code);
    const facts = { code, backend, cause: (error.cause as NodeJS.ErrnoException | undefined)?.code };
    this.#log.warn(`${code} ${backend}`, facts, `${backend} did not take a client: ${error.message}`);
  }

  #onShortage(why: string): void {
    if (!this.#gate?.onShortage()) return;
    this.#stats.shortagePauses++;
    this.#log.warn('shortage', {}, `The front door pauses accepting, clients wait in the backlog: ${why}`);
  }

  #onReleased(client: Client): void {
    this.#clients.delete(client);
    if (this.#is('closing')) this.#finishWhenEmpty();
    else if (this.#clients.size < this.#settings.maxConnections) this.#gate?.onRoom();
  }

  #finishWhenEmpty(): void {
    if (this.#clients.size > 0 || !this.#is('closing')) return;
    this.#state = 'closed';
    clearTimeout(this.#closeDeadline);
    // Not within close() itself: its caller shall be able to listen first.
    process.nextTick(() => {
      this.#resolveClosed();
      this.emit('close');
    });
  }
}

/**
 * Creates a front door; nothing happens before `listen()`.
 * @example
 * const frontDoor = createFrontDoor({ listeners: [{ port: 8080, to: 'unix:/run/app/app.sock' }] });
 * await frontDoor.listen();
 * @throws BKR_ERR_OPTION
 */
export function createFrontDoor(options: FrontDoorOptions): FrontDoor {
  return new FrontDoor(options);
}
