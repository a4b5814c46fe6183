// The options of a handover server, their bounds and defaults. Checks them; does not act on them.
import type { ServerOptions } from 'node:http';
import type { ReceiverOptions } from '@fdpass/scgi-fdpass';
import { RuntimeError } from './errors.js';
import { MAX_TIMER_MS } from './option-check.js';

/** What the server logs to: pino, Fastify's logger, or anything with these two. */
export interface Logger {
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

/**
 * Which later requests of a connection are served. The web server judged only the first one: its locations, `deny`,
 * `auth_request` and limits never see the others.
 */
export interface KeepAliveScope {
  /** Path prefix; `/` serves everything. Begins with `/`. A later request outside of it is answered 421 and closed. */
  scope: string;
}

export interface HandoverOptions
  extends Pick<
    ReceiverOptions,
    | 'limits'
    | 'messageTimeoutMs'
    | 'maxPendingConnections'
    | 'maxChannels'
    | 'minFreeDescriptors'
    | 'allowedPeers'
    | 'trustedRouters'
  > {
  /**
   * A scope keeps connections open for later requests. Without one every answer says `Connection: close`. (A boolean is
   * http.createServer's own option of this name: TCP keep-alive probes.)
   */
  keepAlive?: boolean | KeepAliveScope;
  /** How long the body of a request may stand still if its sender drops what it had read of it. 408 then. @default 5000 */
  earlyBodyTimeoutMs?: number;
  /** How long a client may take nothing of its answer; 0 for ever. @default 60000 */
  sendTimeoutMs?: number;
  /** TCP_USER_TIMEOUT of TCP clients, tcp(7): how long sent bytes may stay unacknowledged. 0 is the kernel's. @default 60000 */
  tcpUserTimeoutMs?: number;
  /** Longest time to drain a client that is still sending after its last answer. @default 30000 */
  lingeringTimeMs?: number;
  /** The same, without a byte from it. @default 5000 */
  lingeringTimeoutMs?: number;
  /** How long asynchronous handover middleware may take. @default 10000 */
  middlewareTimeoutMs?: number;
  /** How long `close()` lets connections finish before they are destroyed; 0 for ever. @default 30000 */
  closeTimeoutMs?: number;
  /**
   * Whether the first request of a plain full handover is answered without a net.Socket and a parser where it can be (GET and HEAD
   * without a body), and a connection that is kept waits without them until its next request. @default true
   */
  lean?: boolean;
  /** @default process warnings */
  logger?: Logger;
}

/** Options of {@link createServer}: http.createServer's and ours. `maxHeaderSize` is 64 KiB here: nginx allows 32 KiB heads. */
export type HandoverServerOptions = Omit<ServerOptions, 'keepAlive'> & HandoverOptions;

/** Everything {@link HandoverOptions} decides, with defaults applied. */
export interface ResolvedOptions {
  readonly keepAliveScope: string | undefined;
  readonly earlyBodyTimeoutMs: number;
  readonly sendTimeoutMs: number;
  readonly tcpUserTimeoutMs: number;
  readonly lingeringTimeMs: number;
  readonly lingeringTimeoutMs: number;
  readonly middlewareTimeoutMs: number;
  readonly closeTimeoutMs: number;
  readonly noDelay: boolean;
  readonly tcpKeepAlive: boolean;
  readonly tcpKeepAliveInitialDelayMs: number;
  readonly highWaterMark: number | undefined;
  readonly lean: boolean;
  readonly logger: Logger;
}

/** nginx's large_client_header_buffers allow 4 x 8 KiB, Node.js 16 KiB in all. */
export const DEFAULT_MAX_HEADER_BYTES = 64 * 1024;

/** Options that only a socket and a parser from the beginning can honour. */
const NEEDS_SOCKETS = [
  'IncomingMessage',
  'ServerResponse',
  'highWaterMark',
  'joinDuplicateHeaders',
  'optimizeEmptyRequests',
  'rejectNonStandardBodyWrites',
  'uniqueHeaders',
] as const;

/** More than a head that is answered without a parser may have. */
const LEAN_HEADER_BYTES = 16 * 1024;

/** The logger of who names none. */
export const processWarnings: Logger = {
  warn: (_facts, message) => process.emitWarning(message, { type: 'HandoverWarning' }),
  error: (_facts, message) => process.emitWarning(message, { type: 'HandoverWarning' }),
};

/** @throws `BKR_ERR_OPTION` */
export function resolveOptions(options: HandoverServerOptions): ResolvedOptions {
  const { keepAlive } = options;
  return {
    keepAliveScope: keepAliveScope(keepAlive),
    earlyBodyTimeoutMs: milliseconds(options, 'earlyBodyTimeoutMs', 5000, 1),
    sendTimeoutMs: milliseconds(options, 'sendTimeoutMs', 60_000, 0),
    tcpUserTimeoutMs: milliseconds(options, 'tcpUserTimeoutMs', 60_000, 0),
    lingeringTimeMs: milliseconds(options, 'lingeringTimeMs', 30_000, 1),
    lingeringTimeoutMs: milliseconds(options, 'lingeringTimeoutMs', 5000, 1),
    middlewareTimeoutMs: milliseconds(options, 'middlewareTimeoutMs', 10_000, 1),
    closeTimeoutMs: milliseconds(options, 'closeTimeoutMs', 30_000, 0),
    noDelay: options.noDelay ?? true,
    tcpKeepAlive: keepAlive === true,
    tcpKeepAliveInitialDelayMs: options.keepAliveInitialDelay ?? 0,
    highWaterMark: options.highWaterMark,
    lean: mayBeLean(options),
    logger: options.logger ?? processWarnings,
  };
}

/** What is answered without a parser must be what the parser would take, too. */
function mayBeLean(options: HandoverServerOptions): boolean {
  const { lean = true, keepAlive, maxHeaderSize = DEFAULT_MAX_HEADER_BYTES } = options;
  if (!lean || keepAlive === true || maxHeaderSize < LEAN_HEADER_BYTES) return false;
  // Not all of them are known to the types of the oldest Node.js.
  return NEEDS_SOCKETS.every((name) => (options as Record<string, unknown>)[name] === undefined);
}

function keepAliveScope(keepAlive: HandoverOptions['keepAlive']): string | undefined {
  if (keepAlive === undefined || typeof keepAlive === 'boolean') return undefined;
  // What JavaScript may pass in is more than the type says.
  const scope: unknown = keepAlive?.scope;
  if (typeof scope === 'string' && scope.startsWith('/')) return scope;
  throw new RuntimeError('BKR_ERR_OPTION', 'keepAlive.scope', 'a path prefix that begins with "/"');
}

type TimeoutOption = Extract<keyof HandoverOptions & keyof ResolvedOptions, `${string}Ms`>;

function milliseconds(options: HandoverOptions, name: TimeoutOption, fallback: number, min: number): number {
  // undefined is an option that was passed through without being set; null is a mistake.
  const value = options[name] === undefined ? fallback : options[name];
  if (Number.isInteger(value) && value >= min && value <= MAX_TIMER_MS) return value;
  throw new RuntimeError(
    'BKR_ERR_OPTION',
    name,
    `a whole number of milliseconds from ${min} to ${MAX_TIMER_MS}`,
  );
}
