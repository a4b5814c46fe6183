// A Fastify application that listens as it would without us, or behind a gateway of some kind. The test adds the routes.
import { mkdtempSync, rmSync } from 'node:fs';
import type { ServerOptions } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type HandoverServer, type HandoverServerOptions, handoverServer } from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify';
import { type GatewayOptions, openGateway } from '#runtime/testing/index.js';
import { RawClient } from './raw-client.js';

export interface AppOptions {
  fastify?: FastifyServerOptions & { http?: ServerOptions };
  handover?: HandoverServerOptions;
  configure?: (server: HandoverServer) => void;
  variables?: Readonly<Record<string, string>>;
}

export interface ListeningApp {
  /** Without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** The UNIX socket of the server; undefined where Fastify accepts clients itself. */
  readonly path: string | undefined;
  connect(): Promise<RawClient>;
}

/** `listen()` once the routes are there; everything ends with the test. */
export interface AppFixture {
  readonly app: FastifyInstance;
  listen(): Promise<ListeningApp>;
}

export type MakeApp = (t: ExecutionContext, options?: AppOptions) => AppFixture;

function plain(t: ExecutionContext, { fastify = {} }: AppOptions = {}): AppFixture {
  const app = Fastify(fastify);
  t.teardown(() => end(app));
  return {
    app,
    async listen() {
      const url = await app.listen({ host: '127.0.0.1', port: 0 });
      return listening(t, url, undefined);
    },
  };
}

const behind =
  (kind: GatewayOptions['kind']): MakeApp =>
  (t, { fastify = {}, handover = { keepAlive: { scope: '/' } }, configure, variables = {} } = {}) => {
    const folder = mkdtempSync(join(tmpdir(), 'fdpass-fastify-'));
    const app = Fastify({
      ...fastify,
      serverFactory: handoverServer(handover, configure),
    } as FastifyServerOptions);
    t.teardown(async () => {
      await end(app);
      rmSync(folder, { recursive: true, force: true });
    });
    return {
      app,
      async listen() {
        const path = await app.listen({ path: join(folder, 'app.sock') });
        const gateway = await openGateway(path, { kind, variables });
        t.teardown(() => gateway.close());
        return listening(t, gateway.url, path);
      },
    };
  };

/** By what a test's title calls them. */
export const appWays = {
  'plain Fastify': plain,
  full: behind('full'),
  partial: behind('partial'),
  relay: behind('relay'),
} as const satisfies Record<string, MakeApp>;

export type AppWay = keyof typeof appWays;
export const allAppWays = Object.keys(appWays) as AppWay[];

async function end(app: FastifyInstance): Promise<void> {
  const closed = app.close();
  app.server.closeAllConnections();
  await closed;
}

function listening(t: ExecutionContext, url: string, path: string | undefined): ListeningApp {
  const port = Number(new URL(url).port);
  return {
    url,
    port,
    path,
    async connect() {
      const client = await RawClient.connect(port);
      t.teardown(() => client.close());
      return client;
    },
  };
}
