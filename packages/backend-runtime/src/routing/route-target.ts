// Where the connections of a route go: what an operator may write there, checked, and what it comes to. Passes nothing on itself.
import { type RequestListener, Server } from 'node:http';
import { Server as TlsServer } from 'node:https';
import { backendPath } from '../backend-path.js';
import { checkOption } from '../option-check.js';
import { isAnswerStatus } from '../raw-answer.js';
import type { Responder } from '../responder.js';

/** What a Fastify instance is, as far as this needs to know. */
export interface FastifyLike {
  readonly server: Responder;
  ready(): PromiseLike<unknown>;
}

/** Refuses the connection. */
export interface Rejection {
  /** The status the client is answered with, 400 to 599; or a reset before anything is read. */
  readonly reject: number | 'reset';
}

/**
 * - `unix:/path`, or an abstract name with a NUL before it: the descriptor is passed on to the backend that listens there;
 * - `here`: the server that the router is used by;
 * - the name of one of `targets`;
 * - a request listener, an http.Server (it need not listen), a Fastify instance: it answers the requests;
 * - `{ reject: 404 }`, `{ reject: 'reset' }`.
 */
export type RouteTarget = string | RequestListener | Responder | FastifyLike | Rejection;

/** Tried in order: the next when a backend does not take a connection. Behind one that always does there can be none. */
export type RouteTargets = RouteTarget | readonly RouteTarget[];

export type ResolvedTarget =
  | { readonly kind: 'here' }
  | { readonly kind: 'backend'; readonly path: string }
  | {
      readonly kind: 'responder';
      readonly responder: Responder;
      /** Of what must be ready before its first request: undefined once it is. */
      readonly whenReady?: () => Promise<void> | undefined;
    }
  | ({ readonly kind: 'reject' } & Rejection);

const HERE: ResolvedTarget = { kind: 'here' };
/** For paths too, so that a typing error in one does not become an unknown name. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

/**
 * @param named each under its name, checked already
 * @throws `BKR_ERR_OPTION` with the place
 */
export function resolveTargets(
  to: RouteTargets,
  place: string,
  named: ReadonlyMap<string, readonly ResolvedTarget[]>,
): readonly ResolvedTarget[] {
  const written = Array.isArray(to) ? (to as readonly RouteTarget[]) : [to as RouteTarget];
  checkOption(place, written.length > 0, 'a target, or a list with at least one');
  const targets = written.flatMap((each, nth) =>
    resolveTarget(each, Array.isArray(to) ? `${place}[${nth}]` : place, named),
  );
  const last = targets.findIndex(({ kind }) => kind !== 'backend');
  checkOption(
    place,
    last === -1 || last === targets.length - 1,
    'a list whose targets but the last are backends (unix:/path): what is behind another one is never reached',
  );
  return targets;
}

/** @throws `BKR_ERR_OPTION` with the place, as `targets.app1` */
export function resolveNamed(
  targets: Readonly<Record<string, RouteTargets>>,
): ReadonlyMap<string, readonly ResolvedTarget[]> {
  const named = new Map<string, readonly ResolvedTarget[]>();
  const none = new Map<string, readonly ResolvedTarget[]>();
  for (const [name, to] of Object.entries(targets)) {
    checkOption(
      `targets.${name}`,
      NAME.test(name) && name !== 'here',
      'under a name of 1 to 64 letters, digits, "_", "." and "-", other than "here"',
    );
    // Names do not stand for names: there are no circles.
    named.set(name, resolveTargets(to, `targets.${name}`, none));
  }
  return named;
}

function resolveTarget(
  to: RouteTarget,
  place: string,
  named: ReadonlyMap<string, readonly ResolvedTarget[]>,
): readonly ResolvedTarget[] {
  if (typeof to === 'string') {
    if (to === 'here') return [HERE];
    if (/^(?:unix:|[/\0])/.test(to)) return [{ kind: 'backend', path: backendPath(to, place) }];
    const target = named.get(to);
    checkOption(
      place,
      target !== undefined,
      `a target: there is none of the name ${JSON.stringify(to)} in targets`,
    );
    return target ?? [];
  }
  if (typeof to === 'function') {
    return [{ kind: 'responder', responder: new Server(to) }];
  }
  checkOption(place, typeof to === 'object' && to !== null, WANTED);
  if (isResponder(to)) return [{ kind: 'responder', responder: to }];
  if ('ready' in to && typeof to.ready === 'function' && isResponder(to.server)) {
    return [{ kind: 'responder', responder: to.server, whenReady: readinessOf(to) }];
  }
  const { reject } = to as Rejection;
  checkOption(
    'reject' in to ? `${place}.reject` : place,
    reject === 'reset' || isAnswerStatus(reject),
    'reject' in to ? "a status from 400 to 599, or 'reset'" : WANTED,
  );
  return [{ kind: 'reject', reject }];
}

/** Not asked before the first connection: until then plugins and routes may be added. */
function readinessOf(app: FastifyLike): () => Promise<void> | undefined {
  let isReady = false;
  const wait = async (): Promise<void> => {
    await app.ready();
    isReady = true;
  };
  return () => (isReady ? undefined : wait());
}

const WANTED =
  "unix:/path, 'here', the name of a target, a request listener, an http.Server, a Fastify instance or { reject }";

/** Not any emitter: nobody would answer for one that has no requests. */
const isResponder = (to: unknown): to is Responder => to instanceof Server || to instanceof TlsServer;
