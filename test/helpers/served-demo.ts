// The demo application, listening in one of the ways it is meant to run in. Owns the server and the front door before it.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFrontDoor, handoverServer } from '@fdpass/backend-runtime';
import demo, { type DemoOptions } from '@fdpass/demo-app';
import Fastify, { type FastifyInstance } from 'fastify';

export interface ServedDemo {
  readonly app: FastifyInstance;
  /** Where clients connect, on 127.0.0.1. */
  readonly port: number;
  /** Without a slash at the end. */
  readonly origin: string;
  /** Where handovers and SCGI arrive; undefined without a front door. */
  readonly socketPath: string | undefined;
  /** Closes the application and serves a new one in its place, while the front door stays; only there. */
  restart?(): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** Fastify accepts the clients itself: no handover anywhere. */
async function plain(options: DemoOptions = {}): Promise<ServedDemo> {
  const app = Fastify();
  await app.register(demo, options);
  const origin = await app.listen({ host: '127.0.0.1', port: 0 });
  return {
    app,
    origin,
    port: Number(new URL(origin).port),
    socketPath: undefined,
    close: () => app.close(),
  };
}

/** A front door accepts the clients and hands them over. */
async function handedOver(options: DemoOptions = {}): Promise<ServedDemo> {
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-test-'));
  const socketPath = join(folder, 'demo.sock');
  const serve = async (): Promise<FastifyInstance> => {
    const app = Fastify({ serverFactory: handoverServer({ keepAlive: { scope: '/' } }) });
    await app.register(demo, options);
    await app.listen({ path: socketPath });
    return app;
  };
  let app = await serve();
  const frontDoor = createFrontDoor({
    listeners: [{ host: '127.0.0.1', port: 0, to: `unix:${socketPath}` }],
  });
  await frontDoor.listen();
  const port = frontDoor.addresses()[0]?.port ?? 0;
  return {
    get app() {
      return app;
    },
    origin: `http://127.0.0.1:${port}`,
    port,
    socketPath,
    restart: async () => {
      await app.close();
      app = await serve();
    },
    close: async () => {
      await frontDoor.close();
      await app.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Each way to serve the demo, by what a test's title calls it. */
export const waysToServe = { 'plain Fastify': plain, 'a handover': handedOver } as const;
