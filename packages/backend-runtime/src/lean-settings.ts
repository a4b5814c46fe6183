// What the settings of an http.Server mean for connections without a socket. They are plain properties, and may change at any time.
import { type Channel, channel } from 'node:diagnostics_channel';
import type { Server } from 'node:http';

/** What http.Server publishes of each request: its subscribers want the objects of its own making. */
const WATCHED = [
  'http.server.request.start',
  'http.server.response.created',
  'http.server.response.finish',
].map((name) => channel(name));
const hasSubscribers = (each: Channel): boolean => each.hasSubscribers;

/** Node.js gives clients this much longer than it says; before 24.6 the time is fixed. */
type WithBuffer = Server & { readonly keepAliveTimeoutBuffer?: number };

/** Whether nothing is set that only a socket and a parser can do. */
export function needsNoSockets(server: Server): boolean {
  const { timeout, maxRequestsPerSocket, maxHeadersCount } = server;
  if (timeout > 0 || (maxRequestsPerSocket ?? 0) > 0 || maxHeadersCount !== null) return false;
  // http.Server's own listener is one of them.
  return server.listenerCount('connection') === 1 && !WATCHED.some(hasSubscribers);
}

/** How long a connection may wait for its next request; 0: for ever. */
export function idleTimeoutMs(server: Server): number {
  const { keepAliveTimeout, keepAliveTimeoutBuffer = 1000 } = server as WithBuffer;
  return keepAliveTimeout === 0 ? 0 : keepAliveTimeout + keepAliveTimeoutBuffer;
}
