// The front door's options: what they mean, their defaults and their bounds. It owns no state.
import { RuntimeError } from '../errors.js';
import type { Logger } from '../options.js';
import { frontDoorRoutes, type Route } from './routes.js';

/** One port, or those of its clients that come to some addresses or by some interface, and the backends they go to. */
export interface FrontDoorRoute {
  /** An IP address or a name; '::' takes IPv4 clients too. @default '127.0.0.1' */
  host?: string;
  /** 0 to 65535; 0 lets the kernel choose: see `addresses()`. Required without `fd`. */
  port?: number;
  /**
   * Instead of `host` and `port`: a listening TCP socket inherited from a supervisor (socket activation). The front door owns it once
   * `listen()` or `replace()` has succeeded.
   */
  fd?: number;
  /**
   * Only clients whose local address is in one of these, as `203.0.113.0/24`; for host '::' or '0.0.0.0'. Listeners with the same host and
   * port share it: the longest prefix wins. Clients for none of them are reset. @default every address
   */
  prefixes?: readonly string[];
  /**
   * Only clients that come in by the interface of this name; of equally long prefixes one with the interface wins. The interface need not
   * exist yet. @default every interface
   */
  ingress?: string;
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
  routes: readonly Route[];
  headTimeoutMs: number;
  idleTimeoutMs: number;
  sendTimeoutMs: number;
  closeTimeoutMs: number;
  maxHeadBytes: number;
  maxConnections: number;
  logger: Pick<Logger, 'warn'> | undefined;
}

const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** @throws BKR_ERR_OPTION, BKR_ERR_PREFIX, BKR_ERR_PREFIX_TWICE */
export function frontDoorSettings(options: FrontDoorOptions): FrontDoorSettings {
  const { listeners, logger } = options;
  return {
    routes: frontDoorRoutes(listeners),
    headTimeoutMs: integer(options, 'headTimeoutMs', 10_000, 1, MAX_TIMEOUT_MS),
    idleTimeoutMs: integer(options, 'idleTimeoutMs', 60_000, 1, MAX_TIMEOUT_MS),
    sendTimeoutMs: integer(options, 'sendTimeoutMs', 5_000, 1, MAX_TIMEOUT_MS),
    closeTimeoutMs: integer(options, 'closeTimeoutMs', 10_000, 1, MAX_TIMEOUT_MS),
    maxHeadBytes: integer(options, 'maxHeadBytes', 32_768, 512, 65_536),
    maxConnections: integer(options, 'maxConnections', 10_000, 1, Number.MAX_SAFE_INTEGER),
    logger,
  };
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
