// Middleware: limits of connections and of requests per client address, which the web server's own limits no longer see
// after the first request.
import type { HandoverMiddleware } from './middleware.js';
import { checkOption, MAX_TIMER_MS } from './option-check.js';

export interface ClientLimits {
  /** Connections one client address may have open at a time, at least 1; more are answered 503. @default no limit */
  maxConnections?: number;
  /** Requests one client address may make in a second on average, above 0; more are answered 429. @default no limit */
  requestsPerSecond?: number;
  /** Requests that may come at once, at least 1. @default requestsPerSecond, at least 1 */
  burst?: number;
}

interface Client {
  connections: number;
  tokens: number;
  refilledAtMs: number;
  /** Runs while it has no connection. */
  forgetTimer?: NodeJS.Timeout;
}

/**
 * `server.use(limitClients({ maxConnections: 100, requestsPerSecond: 50 }))`. A client is the address the sender names; all UNIX
 * clients count as one.
 * @throws `BKR_ERR_OPTION`
 */
export function limitClients(limits: ClientLimits): HandoverMiddleware {
  const { maxConnections = Number.POSITIVE_INFINITY, requestsPerSecond = Number.POSITIVE_INFINITY } = limits;
  const burst = limits.burst ?? Math.max(1, requestsPerSecond);
  checkOption('maxConnections', maxConnections >= 1, 'at least 1');
  checkOption('requestsPerSecond', requestsPerSecond > 0, 'above 0');
  checkOption('burst', burst >= 1, 'at least 1');
  const clients = new Map<string, Client>();

  const takeToken = (client: Client): boolean => {
    const nowMs = performance.now();
    const earned = ((nowMs - client.refilledAtMs) / 1000) * requestsPerSecond;
    client.tokens = Math.min(burst, client.tokens + earned);
    client.refilledAtMs = nowMs;
    if (client.tokens < 1) return false;
    client.tokens -= 1;
    return true;
  };

  /** Not before its tokens are full again: a client that comes back must not find them so. */
  const forgetWhenFull = (address: string, client: Client): void => {
    const fullAfterMs = Number.isFinite(requestsPerSecond)
      ? ((burst - client.tokens) / requestsPerSecond) * 1000
      : 0;
    const forget = (): void => void clients.delete(address);
    if (fullAfterMs <= 0) forget();
    else client.forgetTimer = setTimeout(forget, Math.min(fullAfterMs, MAX_TIMER_MS)).unref();
  };

  return (handover, next) => {
    const { address } = handover.info.client;
    const client = clients.get(address) ?? { connections: 0, tokens: burst, refilledAtMs: performance.now() };
    if (client.connections >= maxConnections) return handover.reject(503);
    clients.set(address, client);
    clearTimeout(client.forgetTimer);
    client.connections++;
    handover.observe({
      onClose: () => {
        client.connections--;
        if (client.connections === 0) forgetWhenFull(address, client);
      },
    });
    if (Number.isFinite(requestsPerSecond)) handover.guard(() => (takeToken(client) ? undefined : 429));
    next();
  };
}
