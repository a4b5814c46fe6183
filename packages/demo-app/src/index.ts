// The demo application: what a user of @fdpass/backend-runtime would write. It owns the list of its parts and nothing else.
// It runs on plain Fastify too: there `/connection` has less to say, and there are no metrics.
import { connectionInfoPlugin } from '@fdpass/backend-runtime';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { type ChatOptions, chat } from './chat.js';
import { clock } from './clock.js';
import { connection } from './connection.js';
import { type DownloadOptions, download } from './download.js';
import { echo } from './echo.js';
import { type MetricsOptions, metrics } from './metrics.js';
import { page } from './page.js';

/** What the demo can be told; everything has a default. */
export interface DemoOptions {
  /** The WebSocket chat at `/chat`. */
  chat?: ChatOptions;
  /** The generated files behind `/download`. */
  download?: DownloadOptions;
  /** What is counted for `/metrics`. */
  metrics?: MetricsOptions;
}

async function demo(app: FastifyInstance, options: DemoOptions): Promise<void> {
  await app.register(connectionInfoPlugin);
  await app.register(metrics, options.metrics ?? {});
  await app.register(chat, options.chat ?? {});
  app.get('/hello', () => ({ hello: 'world' }));
  await app.register(echo);
  await app.register(clock);
  await app.register(download, options.download ?? {});
  await app.register(connection);
  await app.register(page);
}

/**
 * The demo as a Fastify plugin: `GET /`, `/hello`, `/clock`, `/download`, `/connection`, `/metrics`, `POST|PUT /echo`, WebSocket `/chat`.
 * Not encapsulated: what `@fastify/websocket` hooks up must see requests that match no route as well.
 */
export default fp(demo, { name: '@fdpass/demo-app', fastify: '5.x' });
