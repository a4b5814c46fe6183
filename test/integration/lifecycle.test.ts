// How a server ends at once, twice, before it began or from within; and how many connections it lets in.
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { Held } from '../helpers/held-responses.js';
import { makeServer, serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import { WireSender } from '../helpers/wire-sender.js';

guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];

for (const kind of KINDS) {
  test(`${kind}: destroy() ends connections in every state at once, and again does nothing`, async (t) => {
    const held = new Held();
    const served = await serve(t, { keepAlive: { scope: '/' } }, held.handler);
    let isHolding = true;
    served.server.use((_handover, next) => {
      if (!isHolding) next();
    });
    const clients: HandedClient[] = [await handOver(served.path, { kind })];
    await until('one is with the middleware', () => served.server.stats().connections === 1);
    isHolding = false;
    for (const [nth, what] of ['waiting', 'begun', 'idle'].entries()) {
      clients.push(await handOver(served.path, { kind }));
      const response = await held.next(nth + 1);
      if (what === 'begun') response.write('begun');
      if (what === 'idle') response.end('idle');
    }
    const pending = new WireSender(served.path);
    await until('one waits for its message', () => served.server.stats().pending === 1);
    const closes: unknown[] = [];
    served.server.on('close', () => closes.push('close'));
    served.server.destroy();
    served.server.destroy();
    await once(served.server, 'close');
    served.server.destroy();
    for (const client of clients) await client.readToEnd();
    t.is(await pending.answer(), '');
    pending.close();
    await nextTurn();
    t.deepEqual(closes, ['close']);
    t.is(served.server.stats().connections, 0);
  });
}

test('close() again: the second callback is told that the server is not running', async (t) => {
  const { server } = await serve(t);
  const results: (string | undefined)[] = [];
  const record = (error?: Error): void =>
    void results.push((error as NodeJS.ErrnoException | undefined)?.code);
  server.close(record);
  server.close(record);
  await once(server, 'close');
  await new Promise<void>((resolve) => {
    server.close((error) => {
      record(error);
      resolve();
    });
  });
  t.deepEqual(results, [undefined, 'ERR_SERVER_NOT_RUNNING', 'ERR_SERVER_NOT_RUNNING']);
});

test('a server that never listened: destroy() does nothing, close() says so', async (t) => {
  const { server } = await makeServer(t);
  server.destroy();
  const [error] = await new Promise<unknown[]>((resolve) => server.close((...args) => resolve(args)));
  t.is((error as NodeJS.ErrnoException).code, 'ERR_SERVER_NOT_RUNNING');
});

test('a listener for listening that destroys the server', async (t) => {
  const { server, path } = await makeServer(t);
  server.on('listening', () => server.destroy());
  server.listen({ path });
  await once(server, 'close');
  t.false(server.listening);
});

test('a handler that closes the server it runs in', async (t) => {
  const served = await serve(t, {}, (_request, response) => {
    served.server.close();
    response.end('last');
  });
  const client = await handOver(served.path);
  t.regex(await client.readToEnd(), /last$/);
  await until('the server is closed', () => !served.server.listening);
});

test('maxConnections: version 1 is refused and can go elsewhere, others get 503 and are dropped', async (t) => {
  const held = new Held();
  const served = await serve(t, {}, held.handler);
  served.server.maxConnections = 1;
  const drops: unknown[] = [];
  served.server.on('drop', (drop) => drops.push(drop));
  const first = await handOver(served.path);
  const response = await held.next();
  await t.throwsAsync(handOver(served.path), { code: 'FDPASS_ERR_REFUSED' });
  t.is(drops.length, 1);
  const dropped = await handOver(served.path, { version: 0 });
  t.regex(await dropped.readToEnd(), /^HTTP\/1\.1 503 Service Unavailable\r\n/);
  t.is(drops.length, 2);
  t.like(drops[1], {
    remoteAddress: '192.0.2.7',
    remotePort: 4711,
    remoteFamily: 'IPv4',
    localAddress: '127.0.0.1',
  });
  t.deepEqual(served.errors, ['BKR_ERR_TOO_MANY_CONNECTIONS']);
  t.deepEqual(served.server.stats().errors, { BKR_ERR_TOO_MANY_CONNECTIONS: 1 });
  response.end('first');
  t.regex(await first.readToEnd(), /first$/);
  await until('there is room', () => served.server.stats().connections === 0);
  const next = await handOver(served.path);
  (await held.next(2)).end('next');
  t.regex(await next.readToEnd(), /next$/);
});

test('getConnections() and stats() count what is there', async (t) => {
  const held = new Held();
  const served = await serve(t, {}, held.handler);
  const connections = (): Promise<number> =>
    new Promise((resolve) => served.server.getConnections((_error, count) => resolve(count)));
  t.is(await connections(), 0);
  const clients = [];
  for (const kind of KINDS) clients.push(await handOver(served.path, { kind }));
  await held.next(3);
  t.is(await connections(), 3);
  t.like(served.server.stats(), {
    full: 1,
    partial: 1,
    relay: 1,
    refused: 0,
    connections: 3,
    pending: 0,
    errors: {},
  });
  for (const response of held.responses) response.end();
  for (const client of clients) await client.readToEnd();
  await until('all are gone', () => served.server.stats().connections === 0);
  t.is(await connections(), 0);
});
