// The front door: plain HTTP comes in by TCP, and each client's own socket goes to a backend. It owns the lifecycle, the
// listeners and the counters; reading, handing over and answering are each client's.

import { lookup } from 'node:dns/promises';
import { EventEmitter } from 'node:events';
import { isIP } from 'node:net';
import { defaultWireLimits, Sender } from '@fdpass/scgi-fdpass';
import { RuntimeError } from '../errors.js';
import type { SocketAddress } from '../native.js';
import { AcceptGate } from './accept-gate.js';
import { Client, type ClientAddress, type ClientHost } from './client.js';
import type { AnswerStatus } from './error-answer.js';
import type { Backend, Refusal } from './handing-over.js';
import type { HeadReading } from './head-reader.js';
import { type ListenerUser, TcpListener } from './listener.js';
import { LogThrottle } from './log-throttle.js';
import { type FrontDoorOptions, type FrontDoorSettings, frontDoorSettings } from './options.js';
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
  readonly #senders = new Map<string, Sender>();
  readonly #clients = new Set<Client>();
  readonly #stats = newStats();
  readonly #log: LogThrottle;
  readonly #host: ClientHost;
  readonly #whenClosed: Promise<void>;
  #resolveClosed: () => void = () => {};
  #state: State = 'new';
  #listeners: readonly TcpListener[] = [];
  #gate: AcceptGate | undefined;
  #closeDeadline: NodeJS.Timeout | undefined;

  /** @throws BKR_ERR_OPTION */
  constructor(options: FrontDoorOptions) {
    super();
    this.#settings = frontDoorSettings(options);
    this.#log = new LogThrottle(this.#settings.logger);
    this.#host = this.#clientHost();
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
    if (this.#state !== 'new') throw new RuntimeError('BKR_ERR_FRONT_DOOR_STATE', this.#state);
    this.#state = 'starting';
    try {
      const hosts = await Promise.all(this.#settings.routes.map(({ host }) => ipAddress(host)));
      // Closed while names were looked up.
      if (!this.#is('starting')) throw new RuntimeError('BKR_ERR_FRONT_DOOR_STATE', this.#state);
      this.#bind(hosts);
    } catch (error) {
      if (this.#is('starting')) this.#state = 'new';
      throw error;
    }
    this.#state = 'listening';
    this.emit('listening');
    this.#gate?.open();
  }

  /** Where it listens, in the order of `listeners`; empty unless it does. */
  addresses(): SocketAddress[] {
    return this.#is('listening') ? this.#listeners.map(({ address }) => ({ ...address })) : [];
  }

  stats(): FrontDoorStats {
    const stats = this.#stats;
    const snapshot = {
      ...stats,
      refused: { ...stats.refused },
      clientErrors: { ...stats.clientErrors },
      answered: { ...stats.answered },
    };
    for (const { state } of this.#clients) {
      if (state === 'reading') snapshot.waiting++;
      else if (state === 'handing over') snapshot.handingOver++;
      else if (state === 'answering') snapshot.answering++;
    }
    return snapshot;
  }

  /**
   * Stops accepting, after taking in what waits in the backlog, and resolves when every client is handed over or answered,
   * at the latest after `closeTimeoutMs`. A client that has not begun its request gets half a second. Idempotent.
   */
  close(): Promise<void> {
    if (this.#is('listening')) {
      this.#state = 'closing';
      this.#gate?.close();
      for (const listener of this.#listeners) {
        listener.drainAndClose(this.#settings.maxConnections - this.#clients.size);
      }
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
    for (const listener of this.#listeners) listener.close();
    for (const client of this.#clients) client.destroy();
    for (const sender of this.#senders.values()) sender.destroy();
    this.#finishWhenEmpty();
    return this.#whenClosed;
  }

  #is(state: State): boolean {
    return this.#state === state;
  }

  #bind(hosts: readonly string[]): void {
    const listeners: TcpListener[] = [];
    try {
      this.#settings.routes.forEach(({ port, backends }, index) => {
        const user = this.#listenerUser(backends.map((path) => this.#backend(path)));
        listeners.push(new TcpListener(hosts[index] as string, port, user));
      });
      this.#gate = new AcceptGate(listeners);
    } catch (error) {
      for (const listener of listeners) listener.close();
      throw error;
    }
    this.#listeners = listeners;
  }

  #backend(path: string): Backend {
    let sender = this.#senders.get(path);
    if (sender === undefined) {
      sender = new Sender({ path, timeoutMs: this.#settings.sendTimeoutMs });
      this.#senders.set(path, sender);
    }
    return { name: `unix:${path.replace('\0', '@')}`, sender };
  }

  #listenerUser(backends: readonly Backend[]): ListenerUser {
    return {
      onClient: (fd, listener) => {
        const client = new Client(fd, listener, backends, this.#host);
        this.#stats.accepted++;
        this.#clients.add(client);
        if (this.#clients.size >= this.#settings.maxConnections && this.#gate?.onFull())
          this.#stats.connectionPauses++;
        if (this.#gate?.isReserved(fd)) this.#onShortage('the process is near its limit of open descriptors');
        client.start();
      },
      onAcceptError: (error) => this.#onShortage(`accepting failed with ${error.code ?? error.message}`),
    };
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

async function ipAddress(host: string): Promise<string> {
  return isIP(host) === 0 ? (await lookup(host)).address : host;
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
