// Middleware: which server a connection is for, by the local address it came to, and what else a route asks for. Owns the table in
// force and the counters; who takes a connection is the target's business.
import { passOn } from '@fdpass/scgi-fdpass';
import { backendName } from '../backend-path.js';
import { Backends } from '../backends.js';
import { isClientGone, resetClient } from '../end-client.js';
import { RuntimeError } from '../errors.js';
import { handOver, type Refusal } from '../handing-over.js';
import { LogThrottle } from '../log-throttle.js';
import type { HandoverExtension, HandoverMiddleware, IncomingHandover } from '../middleware.js';
import { checkInteger, checkMembers, checkOption, MAX_TIMER_MS } from '../option-check.js';
import type { Logger } from '../options.js';
import { type ConnectionPattern, ConnectionTable } from './connection-table.js';
import { MatchedConnection } from './matched-connection.js';
import type { HostBits } from './prefix.js';
import { type ResolvedTarget, type RouteTargets, resolveNamed, resolveTargets } from './route-target.js';

/** Connections that match the pattern go to `to`. */
export interface PrefixRoute extends ConnectionPattern {
  to: RouteTargets;
}

/** What can be replaced while connections come. */
export interface PrefixRoutes {
  /** Of those that match, the one with the longest local prefix counts; see {@link ConnectionTable}. */
  routes: readonly PrefixRoute[];
  /** Where connections go that match no route. @default 421, and `BKR_ERR_NO_ROUTE` */
  default?: RouteTargets;
  /** Targets that routes name. @default none */
  targets?: Readonly<Record<string, RouteTargets>>;
}

export interface PrefixRouterOptions extends PrefixRoutes {
  /** What is done with `203.0.113.7/24`: refused, or taken for `203.0.113.0/24`. @default 'refuse' */
  hostBits?: HostBits;
  /** Refuses local prefixes that overlap; else the longer one counts. @default false */
  strict?: boolean;
  /** From connecting to a backend to its acknowledgement, in milliseconds, 1 to 2^31-1, for each backend. @default 5000 */
  sendTimeoutMs?: number;
  /** Routers that a connection may have come through when it is passed on, 0 to 98; more are a loop, and the client gets 508. @default 4 */
  maxHops?: number;
  /** @default nothing is logged: listen to `'handoverError'` */
  logger?: Pick<Logger, 'warn'>;
}

/** Counters since the router was made, but those of routes: since these are in force. */
export interface PrefixRouterStats {
  /** Connections of each route, in their order. */
  routes: number[];
  /** Connections that matched no route. */
  misses: number;
  /** Connections that a backend took. */
  passedOn: number;
  /** Backends' refusals by code; a connection may count more than once. */
  refused: Partial<Record<Refusal['code'], number>>;
}

interface Route {
  /** As an operator finds it. */
  readonly place: string;
  readonly targets: readonly ResolvedTarget[];
  connections: number;
}

interface Routes {
  readonly table: ConnectionTable<Route>;
  readonly routes: readonly Route[];
  readonly fallback: Route | undefined;
}

/** What it asks of the server that uses it. */
interface Listening {
  address(): unknown;
}

/** nginx's own scgi_params file is without it. */
const NOT_TOLD = 'an address that its relay does not tell (scgi_param SERVER_ADDR $server_addr)';
const MISS_STATUS = 421;
const DOWN_STATUS = 503;
const LOOP_STATUS = 508;

export class PrefixRouter implements HandoverExtension<Listening> {
  readonly middleware: HandoverMiddleware;
  readonly #options: PrefixRouterOptions;
  readonly #maxHops: number;
  readonly #sendTimeoutMs: number;
  readonly #backends: Backends;
  readonly #log: LogThrottle;
  readonly #counts = { misses: 0, passedOn: 0 };
  readonly #refused: PrefixRouterStats['refused'] = {};
  #routes: Routes;
  #server: Listening | undefined;

  /** @throws as {@link prefixRouter} */
  constructor(options: PrefixRouterOptions) {
    const { sendTimeoutMs = 5_000, maxHops = 4, hostBits = 'refuse', strict = false, logger } = options;
    checkInteger('sendTimeoutMs', sendTimeoutMs, 1, MAX_TIMER_MS);
    checkInteger('maxHops', maxHops, 0, 98);
    checkOption('hostBits', hostBits === 'refuse' || hostBits === 'mask', "'refuse' or 'mask'");
    checkOption('strict', typeof strict === 'boolean', 'true or false');
    this.#options = options;
    this.#maxHops = maxHops;
    this.#log = new LogThrottle(logger);
    this.#backends = new Backends(sendTimeoutMs);
    this.#sendTimeoutMs = sendTimeoutMs;
    this.#routes = this.#resolve(options);
    this.middleware = (handover, next) => this.#onHandover(handover, next);
  }

  /** Called by `server.use()`. @throws `BKR_ERR_ROUTE_LOOP` */
  attach(server: Listening): void {
    this.#server = server;
    this.#refuseLoop(this.#routes);
  }

  /**
   * Puts other routes in force, at once and as a whole; connections that were routed stay where they are.
   * @throws as {@link prefixRouter}; then the routes in force stay
   */
  replace(routes: PrefixRoutes): void {
    const resolved = this.#resolve(routes);
    this.#refuseLoop(resolved);
    this.#routes = resolved;
    this.#backends.keep(new Set(everyRoute(resolved).flatMap(({ targets }) => backendPaths(targets))));
  }

  /** A snapshot. */
  stats(): PrefixRouterStats {
    return {
      routes: this.#routes.routes.map(({ connections }) => connections),
      ...this.#counts,
      refused: { ...this.#refused },
    };
  }

  #resolve({ routes: written, default: fallback, targets = {} }: PrefixRoutes): Routes {
    const { hostBits, strict } = this.#options;
    checkOption('routes', Array.isArray(written), 'a list of routes');
    written.forEach(checkRoute);
    const named = resolveNamed(targets);
    const routes = written.map(
      ({ to }, index): Route => ({
        place: `routes[${index}]`,
        targets: resolveTargets(to, `routes[${index}].to`, named),
        connections: 0,
      }),
    );
    const rules = written.map((pattern, index) => ({ ...pattern, value: routes[index] as Route }));
    return {
      table: new ConnectionTable(rules, {
        place: 'routes',
        hostBits,
        strict,
      }),
      routes,
      fallback:
        fallback === undefined
          ? undefined
          : { place: 'default', targets: resolveTargets(fallback, 'default', named), connections: 0 },
    };
  }

  /** The server itself as a backend. What goes round through others is found by its hops. */
  #refuseLoop(routes: Routes): void {
    const own = this.#server?.address();
    for (const { place, targets } of everyRoute(routes)) {
      if (backendPaths(targets).includes(String(own)))
        throw new RuntimeError('BKR_ERR_ROUTE_LOOP', place, backendName(String(own)));
    }
  }

  #onHandover(handover: IncomingHandover, next: () => void): void | Promise<void> {
    const { info } = handover;
    const found = this.#routes.table.match(new MatchedConnection(info));
    if (found === undefined) this.#counts.misses++;
    const route = found ?? this.#routes.fallback;
    if (route === undefined) {
      handover.report(new RuntimeError('BKR_ERR_NO_ROUTE', info.local?.address ?? NOT_TOLD));
      return handover.reject(MISS_STATUS);
    }
    route.connections++;
    const [first] = route.targets;
    if (first?.kind === 'backend') return this.#passOn(handover, route, next);
    return settle(handover, first as ResolvedTarget, next);
  }

  async #passOn(handover: IncomingHandover, { place, targets }: Route, next: () => void): Promise<void> {
    const { info } = handover;
    const paths = backendPaths(targets);
    const last = targets.at(-1) as ResolvedTarget;
    if (info.hops > this.#maxHops || paths.includes(String(this.#server?.address()))) {
      handover.report(new RuntimeError('BKR_ERR_ROUTE_HOPS', place, info.hops, this.#maxHops));
      return handover.reject(LOOP_STATUS);
    }
    let refusal: Refusal | undefined;
    const isDecided = await handover.lend(async (lent, signal) => {
      refusal = await handOver({
        handover: passOn(lent),
        backends: paths.map((path) => this.#backends.at(path)),
        shortageTimeoutMs: this.#sendTimeoutMs,
        cancelled: () => signal.aborted,
        signal,
        onRefusal: (one) => this.#onRefusal(one),
        onShortage: () => {},
      });
      // A backend refuses a client that has left; that is nobody's failure.
      return refusal === undefined || isClientGone(lent);
    });
    if (isDecided) {
      if (refusal === undefined) this.#counts.passedOn++;
      return;
    }
    if (last.kind !== 'backend') return settle(handover, last, next);
    const cause = refusal?.error;
    handover.report(
      new RuntimeError('BKR_ERR_ROUTE_DOWN', place, paths.map(backendName).join(', '), { cause }),
    );
    handover.reject(DOWN_STATUS);
  }

  #onRefusal({ backend, code, error }: Refusal): void {
    this.#refused[code] = (this.#refused[code] ?? 0) + 1;
    const facts = { code, backend, cause: (error.cause as NodeJS.ErrnoException | undefined)?.code };
    this.#log.warn(`${code} ${backend}`, facts, `${backend} did not take a connection: ${error.message}`);
  }
}

const everyRoute = ({ routes, fallback }: Routes): readonly Route[] =>
  fallback === undefined ? routes : [...routes, fallback];

const backendPaths = (targets: readonly ResolvedTarget[]): string[] =>
  targets.flatMap((target) => (target.kind === 'backend' ? [target.path] : []));

const MEMBERS = ['prefix', 'port', 'source', 'ingress', 'to'];

function checkRoute(route: PrefixRoute, index: number): void {
  checkOption(`routes[${index}]`, typeof route === 'object' && route !== null, 'a route');
  checkMembers(`routes[${index}]`, route, MEMBERS);
}

/** With a target that is no backend. */
function settle(handover: IncomingHandover, target: ResolvedTarget, next: () => void): void | Promise<void> {
  switch (target.kind) {
    case 'here':
      return next();
    case 'responder':
      handover.answerBy(target.responder);
      return target.whenReady?.()?.then(() => next()) ?? next();
    case 'reject':
      return target.reject === 'reset' ? resetClient(handover.take()) : handover.reject(target.reject);
  }
}

/**
 * Routes each connection to the server that its local address belongs to: `server.use(prefixRouter({ routes }))`, behind what names
 * source tags (`interfaceStats`) and before what is for this server's own connections.
 * @example
 * server.use(prefixRouter({
 *   routes: [
 *     { prefix: '203.0.113.0/24', to: 'unix:/run/blue/app.sock' },
 *     { prefix: '2001:db8::/32', port: 443, to: green },
 *   ],
 *   default: 'here',
 * }));
 * @throws `BKR_ERR_PREFIX`, `BKR_ERR_PREFIX_TWICE`, `BKR_ERR_PREFIX_OVERLAP`, `BKR_ERR_PREFIX_TABLE`, `BKR_ERR_ROUTE_LOOP`,
 * `BKR_ERR_OPTION`, with the place
 */
export function prefixRouter(options: PrefixRouterOptions): PrefixRouter {
  return new PrefixRouter(options);
}
