// Route constraints for Fastify: one strategy of its router that matches a route's `connection` as a whole, so that a shorter prefix wins
// where a longer one matches in part. A plugin adds it, and says which route is one too many.
import type { IncomingMessage } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { factsOf } from '../connection-info.js';
import { RuntimeError } from '../errors.js';
import { ConnectionTable } from './connection-table.js';
import { MatchedConnection } from './matched-connection.js';
import { type ConnectionConstraint, patternOf } from './prefix-matcher.js';

declare module 'fastify/types/route.js' {
  interface RouteConstraint {
    /** Only for connections like this, by `connectionConstraintPlugin`. */
    connection?: ConnectionConstraint;
  }
}

type Strategy = Parameters<FastifyInstance['addConstraintStrategy']>[0];
type Storage = ReturnType<Strategy['storage']>;

/** A pattern that some routes of a path declare. */
interface Declared {
  readonly constraint: ConnectionConstraint;
  /** A bit for each of them. Of those whose constraints all fit, find-my-way takes the highest one. */
  routes: number;
}

const NAME = 'connection';
const PLACE = `constraints.${NAME}`;

/**
 * What find-my-way keeps for one path and method. It makes another one for each route that is added, and asks it for declared constraints
 * then: those are found only if they are equal. The connection of a request finds the routes of the pattern that matches best; of those
 * that match less well, too, as long as find-my-way puts them behind, because of the routes' other constraints.
 */
export class ConnectionStorage {
  readonly #declared = new Map<string, Declared>();
  #table: ConnectionTable<Declared> | undefined;

  /** @returns 0 for no route. @throws `BKR_ERR_PREFIX_TWICE`, as {@link set} */
  get(value: unknown): number {
    if (value instanceof MatchedConnection) return this.#match(value);
    return this.#find(value as ConnectionConstraint)?.routes ?? 0;
  }

  /** @throws `BKR_ERR_PREFIX_TWICE` for what was declared in another spelling: find-my-way would not know that one route hides another */
  set(value: unknown, routes: number): void {
    const constraint = value as ConnectionConstraint;
    const declared = this.#find(constraint);
    if (declared !== undefined) {
      declared.routes = routes;
      return;
    }
    this.#declared.set(keyOf(constraint), { constraint, routes });
    this.#table = undefined;
  }

  #find(constraint: ConnectionConstraint): Declared | undefined {
    const declared = this.#declared.get(keyOf(constraint));
    if (declared === undefined || isDeepStrictEqual(declared.constraint, constraint)) return declared;
    throw new RuntimeError(
      'BKR_ERR_PREFIX_TWICE',
      `${PLACE} ${JSON.stringify(constraint)}`,
      JSON.stringify(declared.constraint),
      'write them alike',
    );
  }

  #match(connection: MatchedConnection): number {
    this.#table ??= new ConnectionTable(
      Array.from(this.#declared.values(), (declared) => ({
        ...patternOf(declared.constraint, PLACE),
        value: declared,
      })),
    );
    let found = 0;
    let lowest = Number.POSITIVE_INFINITY;
    this.#table.find(connection, ({ routes }) => {
      // One of them would be taken for a better one.
      if (routes >= lowest) return true;
      found |= routes;
      lowest = routes & -routes;
      return undefined;
    });
    return found;
  }
}

/** The same for constraints that match the same. */
function keyOf(constraint: ConnectionConstraint): string {
  const { prefix, port, source, ingress } = patternOf(constraint, PLACE);
  return JSON.stringify([prefix, port, source, ingress]);
}

/** A request that did not come by handover has no connection: only routes without this constraint are for it. */
const strategy = (): Strategy => ({
  name: NAME,
  // Typed for users of find-my-way, who see handlers where it keeps their bits.
  storage: () => new ConnectionStorage() as unknown as Storage,
  validate: (value) => void patternOf(value as ConnectionConstraint, PLACE),
  deriveConstraint: (request) => {
    const facts = factsOf(request as IncomingMessage);
    return facts === undefined ? undefined : new MatchedConnection(facts);
  },
});

/** find-my-way has a bit for each route of a path and method; past that its error has no code and names no route. */
const MAX_HANDLERS = 31;

/**
 * Fastify plugin: `constraints: { connection: { localPrefix: '203.0.113.0/24', ingress: 'mg1' } }` of a route. Await it before the first such
 * route. Registering it again is harmless. A route whose constraint is wrong throws where it is declared: `BKR_ERR_PREFIX`,
 * `BKR_ERR_PREFIX_TWICE`, `BKR_ERR_OPTION`, `BKR_ERR_ROUTE_HANDLERS`.
 */
export const connectionConstraintPlugin = fp(
  async (app) => {
    if (app.hasConstraintStrategy(NAME)) return;
    app.addConstraintStrategy(strategy());
    const handlers = new Map<string, number>();
    app.addHook('onRoute', ({ method, url }) => {
      for (const name of [method].flat()) {
        const route = `${name} ${url}`;
        const count = (handlers.get(route) ?? 0) + 1;
        handlers.set(route, count);
        if (count > MAX_HANDLERS) throw new RuntimeError('BKR_ERR_ROUTE_HANDLERS', route, MAX_HANDLERS);
      }
    });
  },
  { name: '@fdpass/connection-constraint', fastify: '5.x' },
);
