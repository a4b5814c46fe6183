// The front door's options: what they mean, their defaults and their bounds. It owns no state.
import { RuntimeError } from '../errors.js';
import type { Logger } from '../options.js';

/** One port and the backends its clients go to. */
export interface FrontDoorRoute {
  /** An IP address or a name; '::' takes IPv4 clients too. @default '127.0.0.1' */
  host?: string;
  /** 0 lets the kernel choose: see `addresses()`. */
  port: number;
  /**
   * The backend's UNIX socket: `unix:/path`, `/path`, or an abstract name (with a NUL before it). Of several, the next one
   * is tried when one does not take a client; the same one twice is a second try.
   */
  to: string | readonly string[];
}

export interface FrontDoorOptions {
  /** Where to listen; at least one. */
  listeners: readonly FrontDoorRoute[];
  /** From the first byte of a request head to its end, in milliseconds, 1 to 2^31-1. @default 10000 */
  headTimeoutMs?: number;
  /** From accept to the first byte, in milliseconds, 1 to 2^31-1. Late clients are closed without an answer. @default 60000 */
  idleTimeoutMs?: number;
  /** From connecting to a backend to its acknowledgement, in milliseconds, 1 to 2^31-1, for each backend. @default 5000 */
  sendTimeoutMs?: number;
  /** From `close()` until clients that are still being read are closed all the same, in milliseconds, 1 to 2^31-1. @default 10000 */
  closeTimeoutMs?: number;
  /** Bytes of a request head, 512 to 65536. @default 32768 */
  maxHeadBytes?: number;
  /** Clients accepted and not yet handed over or closed; at this number accepting pauses. At least 1. @default 10000 */
  maxConnections?: number;
  /** @default nothing is logged: listen to the events */
  logger?: Pick<Logger, 'warn'>;
}

/** Options with every default filled in and checked. */
export interface FrontDoorSettings {
  routes: readonly { host: string; port: number; backends: readonly string[] }[];
  headTimeoutMs: number;
  idleTimeoutMs: number;
  sendTimeoutMs: number;
  closeTimeoutMs: number;
  maxHeadBytes: number;
  maxConnections: number;
  logger: Pick<Logger, 'warn'> | undefined;
}

const MAX_TIMEOUT_MS = 2 ** 31 - 1;
/** sun_path is 108 bytes with its NUL (unix(7)). */
const MAX_PATH_BYTES = 107;

/** @throws BKR_ERR_OPTION */
export function frontDoorSettings(options: FrontDoorOptions): FrontDoorSettings {
  const { listeners, logger } = options;
  if (!Array.isArray(listeners) || listeners.length === 0)
    throw wrong('listeners', 'a list with at least one entry');
  return {
    routes: listeners.map(checkRoute),
    headTimeoutMs: integer(options, 'headTimeoutMs', 10_000, 1, MAX_TIMEOUT_MS),
    idleTimeoutMs: integer(options, 'idleTimeoutMs', 60_000, 1, MAX_TIMEOUT_MS),
    sendTimeoutMs: integer(options, 'sendTimeoutMs', 5_000, 1, MAX_TIMEOUT_MS),
    closeTimeoutMs: integer(options, 'closeTimeoutMs', 10_000, 1, MAX_TIMEOUT_MS),
    maxHeadBytes: integer(options, 'maxHeadBytes', 32_768, 512, 65_536),
    maxConnections: integer(options, 'maxConnections', 10_000, 1, Number.MAX_SAFE_INTEGER),
    logger,
  };
}

function checkRoute(
  { host = '127.0.0.1', port, to }: FrontDoorRoute,
  index: number,
): FrontDoorSettings['routes'][number] {
  const where = `listeners[${index}]`;
  if (typeof host !== 'string' || host === '') throw wrong(`${where}.host`, 'an IP address or a name');
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw wrong(`${where}.port`, 'an integer from 0 to 65535');
  const targets = typeof to === 'string' ? [to] : to;
  if (!Array.isArray(targets) || targets.length === 0)
    throw wrong(`${where}.to`, 'a UNIX socket, or a list of them');
  return { host, port, backends: targets.map((target) => socketPath(target, `${where}.to`)) };
}

function socketPath(target: unknown, name: string): string {
  const path = typeof target === 'string' ? target.replace(/^unix:/, '') : '';
  if (!/^[/\0]./s.test(path) || path.includes('\0', 1))
    throw wrong(name, '"unix:" and an absolute path, or NUL and an abstract name');
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw wrong(name, `at most ${MAX_PATH_BYTES} bytes long`);
  return path;
}

type NumberOption =
  | 'headTimeoutMs'
  | 'idleTimeoutMs'
  | 'sendTimeoutMs'
  | 'closeTimeoutMs'
  | 'maxHeadBytes'
  | 'maxConnections';

function integer(
  options: FrontDoorOptions,
  name: NumberOption,
  fallback: number,
  min: number,
  max: number,
): number {
  const value = options[name] ?? fallback;
  if (!Number.isSafeInteger(value) || value < min || value > max)
    throw wrong(name, `an integer from ${min} to ${max}`);
  return value;
}

const wrong = (name: string, rule: string): RuntimeError => new RuntimeError('BKR_ERR_OPTION', name, rule);
