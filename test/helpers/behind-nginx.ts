// A handover server behind a real nginx with our module: the product as it is deployed, on a loopback address of the test's own.
import { deepStrictEqual } from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createServer, type HandoverServer, type HandoverServerOptions } from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { type Descriptors, descriptorChanges, openDescriptors } from './descriptors.js';
import { LOAD_MODULE, type Nginx, type NginxOptions, nginxFolder, ownAddress, startNginx } from './nginx.js';
import { closed, type Handler } from './serve.js';
import { until } from './until.js';

export interface BehindNginx {
  readonly nginx: Nginx;
  readonly server: HandoverServer;
  /** Where nginx listens. */
  readonly host: string;
  readonly port: number;
  /** `http://host:port` */
  readonly url: string;
  /** The server's UNIX socket. */
  readonly socket: string;
  /** Codes of the server's `'handoverError'`, in order. */
  readonly errors: string[];
  /** Resolves with the lines of the access log when there are as many as `count`: `$request_method $uri $status $body_bytes_sent $fd_pass_handover "$fd_pass_upstream" $fd_pass_time`. */
  accessLog(count: number): Promise<string[]>;
}

export interface BehindNginxOptions {
  server?: HandoverServerOptions;
  handler?: Handler;
  /**
   * What goes into the server block, which listens on `address` already.
   * @default fd_pass for everything, with a fallback to scgi_pass on the same socket
   */
  locations?: (socket: string) => string;
  /** What goes into the http block, in front of the server: upstreams, maps. */
  http?: (socket: string) => string;
  nginx?: NginxOptions;
}

const LOG =
  '$request_method $uri $status $body_bytes_sent $fd_pass_handover "$fd_pass_upstream" $fd_pass_time';

const everything = (socket: string): string => `
  location / { fd_pass unix:${socket}; fd_pass_fallback @relay; }
  location @relay { include /etc/nginx/scgi_params; scgi_pass unix:${socket}; }`;

/**
 * Starts both. At the end of the test it waits until no connection is left, and then neither process may hold a descriptor it did
 * not have before: a test closes its clients itself.
 */
export async function behindNginx(
  t: ExecutionContext,
  options: BehindNginxOptions = {},
): Promise<BehindNginx> {
  const { handler = (_request, response) => response.end('served'), locations = everything, http } = options;
  const folder = nginxFolder();
  const socket = join(folder, 'app.sock');
  const address = ownAddress();
  const logFile = join(folder, 'access.log');
  const errors: string[] = [];
  const logger = { warn() {}, error() {} };
  const server = createServer({ logger, ...options.server }, (request, response) => {
    handler(request, response);
  });
  server.on('handoverError', ({ code }) => errors.push(code));
  server.listen({ path: socket, mode: 0o666 });
  await once(server, 'listening');
  const nginx = await startNginx(
    folder,
    `log_format fdpass '${LOG}'; client_max_body_size 0;
    ${http?.(socket) ?? ''}
    server { listen ${address}; server_name example.test; access_log ${logFile} fdpass;
      ${locations(socket)} }`,
    { ...options.nginx, main: `${LOAD_MODULE} ${options.nginx?.main ?? ''}` },
  );
  const before = new Map<number, Descriptors>(nginx.workers().map((pid) => [pid, openDescriptors(pid)]));
  t.teardown(async () => {
    await closed(server);
    try {
      await assertWorkersHoldNothing(nginx, before);
    } finally {
      await nginx.close();
    }
  });
  const [host = '', port] = address.split(':');
  return {
    nginx,
    server,
    host,
    port: Number(port),
    url: `http://${address}`,
    socket,
    errors,
    accessLog: async (count) => {
      const lines = (): string[] => readFileSync(logFile, 'utf8').split('\n').slice(0, -1);
      await until(`the access log has ${count} lines`, () => lines().length >= count);
      return lines();
    },
  };
}

/** Workers that were there from the start; those that a reload has replaced are gone with all they had. */
export async function assertWorkersHoldNothing(
  nginx: Nginx,
  before: ReadonlyMap<number, Descriptors>,
): Promise<void> {
  for (const pid of nginx.workers()) {
    const descriptors = before.get(pid);
    if (descriptors === undefined) continue;
    const changes = (): string[] => descriptorChanges(descriptors, openDescriptors(pid));
    await until('nginx has closed what it opened', () => changes().length === 0).catch(() => {});
    deepStrictEqual(changes(), [], `descriptors of nginx's worker ${pid}`);
  }
}
