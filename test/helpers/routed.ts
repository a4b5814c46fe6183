// A handover server with a router in front of it, and parts of this host as prefixes: see local-clients.ts.
import {
  type HandoverServerOptions,
  type PrefixRouter,
  type PrefixRouterOptions,
  prefixRouter,
} from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { type Handler, type Served, serve } from './serve.js';

export const BLUE = '127.1.0.0/16';
export const GREEN = '127.2.0.0/16';

export interface Routed extends Served {
  readonly router: PrefixRouter;
}

/** @param handler answers what the router leaves to its server */
export async function route(
  t: ExecutionContext,
  handler: Handler,
  options: PrefixRouterOptions,
  serverOptions: HandoverServerOptions = {},
): Promise<Routed> {
  const served = await serve(t, serverOptions, handler);
  const router = prefixRouter(options);
  served.server.use(router);
  return { ...served, router };
}

/** Of an answer in either form: HTTP or CGI. */
export const status = (answer: string): string => /^(?:HTTP\/1\.1|Status:) (\d+)/.exec(answer)?.[1] ?? '';
export const body = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4);
