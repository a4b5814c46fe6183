// The Fastify face: a server factory, the connection's facts on each request, and the web server's request id.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyServerFactory } from 'fastify';
import fp from 'fastify-plugin';
import { type ConnectionInfo, connectionInfo } from './connection-info.js';
import type { HandoverServerOptions, Logger } from './options.js';
import { createServer, type HandoverServer } from './server.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Undefined for requests that did not come by handover (`app.inject()`). */
    readonly connectionInfo: ConnectionInfo | undefined;
  }
}

/** Fastify's own options that it does not apply to a custom server. */
interface FastifyServerOptions {
  http?: HandoverServerOptions | null;
  connectionTimeout?: number;
  keepAliveTimeout?: number;
  requestTimeout?: number;
  maxRequestsPerSocket?: number;
  logger?: unknown;
}

/**
 * For `Fastify({ serverFactory: handoverServer({...}) })`; then `app.listen({ path })`. Fastify's `connectionTimeout`,
 * `keepAliveTimeout`, `requestTimeout`, `maxRequestsPerSocket`, `http` options and its logger are honoured.
 * @param configure is given the server before it listens: for `server.use(...)` and listeners to `'handoverError'`
 * @throws `BKR_ERR_OPTION`
 */
export function handoverServer(
  options: HandoverServerOptions = {},
  configure: (server: HandoverServer) => void = () => {},
): FastifyServerFactory {
  return (handler, fastifyOptions) => {
    const { http, connectionTimeout, keepAliveTimeout, requestTimeout, maxRequestsPerSocket, logger } =
      fastifyOptions as FastifyServerOptions;
    const log = isLogger(logger) ? { logger } : {};
    const server = createServer({ ...http, ...log, ...options }, handler);
    if (keepAliveTimeout !== undefined) server.keepAliveTimeout = keepAliveTimeout;
    if (requestTimeout !== undefined) server.requestTimeout = requestTimeout;
    if (connectionTimeout !== undefined) server.setTimeout(connectionTimeout);
    // As Fastify does for its own server: 0 means Node.js's default.
    if (maxRequestsPerSocket !== undefined && maxRequestsPerSocket > 0) {
      server.maxRequestsPerSocket = maxRequestsPerSocket;
    }
    configure(server);
    return server;
  };
}

const isLogger = (logger: unknown): logger is Logger =>
  typeof logger === 'object' && logger !== null && 'warn' in logger && 'error' in logger;

/** Fastify plugin: `request.connectionInfo`. Registering it again is harmless. */
export const connectionInfoPlugin = fp(
  async (app) => {
    // The command line registers it for applications that do not.
    if (app.hasRequestDecorator('connectionInfo')) return;
    app.decorateRequest('connectionInfo', {
      getter() {
        try {
          return connectionInfo(this.raw);
        } catch {
          return undefined;
        }
      },
    });
  },
  { name: '@fdpass/connection-info', fastify: '5.x' },
);

/**
 * For Fastify's `genReqId`: the id the web server sent as `REQUEST_ID` (`fd_pass_param REQUEST_ID $request_id;`), for the later
 * requests of the connection with their number behind it; a new one where there is none.
 */
export function handoverRequestId(request: IncomingMessage): string {
  return (request as IncomingMessage & { id?: string }).id ?? randomUUID();
}
