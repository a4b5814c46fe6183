// Fastify's timeouts, its close() and its inject() on a handover server. Fastify applies none of its timeouts to a custom server:
// the factory does. The same application listens by itself as the control.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { connectionInfoPlugin, handoverRequestId, handoverServer } from '@fdpass/backend-runtime';
import test from 'ava';
import Fastify from 'fastify';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { allAppWays, appWays } from '../helpers/fastify-app.js';
import { temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';

test('the timeouts of a server are those Fastify gives its own', (t) => {
  const TIMEOUTS = [
    'timeout',
    'keepAliveTimeout',
    'requestTimeout',
    'headersTimeout',
    'maxRequestsPerSocket',
  ];
  const timeoutsOf = (app: { server: object }) =>
    TIMEOUTS.map((name) => [name, Reflect.get(app.server, name)]);
  for (const options of [
    {},
    { connectionTimeout: 1, keepAliveTimeout: 2, requestTimeout: 3, maxRequestsPerSocket: 4 },
    { connectionTimeout: 0, keepAliveTimeout: 0, requestTimeout: 0, maxRequestsPerSocket: 0 },
    { http: { headersTimeout: 5 } },
  ]) {
    t.deepEqual(
      timeoutsOf(Fastify({ ...options, serverFactory: handoverServer() } as never)),
      timeoutsOf(Fastify(options as never)),
    );
  }
});

for (const way of allAppWays) {
  const makeApp = appWays[way];
  const isRelay = way === 'relay';

  test(`${way}: connectionTimeout closes a connection whose answer does not come, and tells the onTimeout hook`, async (t) => {
    const { app, listen } = makeApp(t, { fastify: { connectionTimeout: 300 } });
    const timeouts: string[] = [];
    app.addHook('onTimeout', async (request) => void timeouts.push(request.url));
    app.get('/', () => new Promise(() => {}));
    const { connect } = await listen();
    const client = await connect();
    await client.send(GET);
    t.is(await client.readToEnd(), '');
    t.deepEqual(timeouts, ['/']);
  });

  if (!isRelay) {
    test(`${way}: requestTimeout answers half a body with 408`, async (t) => {
      const { app, listen } = makeApp(t, {
        fastify: { requestTimeout: 400, http: { headersTimeout: 300, connectionsCheckingInterval: 20 } },
      });
      app.post('/', async () => t.fail('the body never came'));
      const { connect } = await listen();
      const client = await connect();
      await client.send(
        'POST / HTTP/1.1\r\nHost: example.test\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nhalf',
      );
      t.regex(await client.readToEnd(), /^HTTP\/1\.1 408 /);
    });

    test(`${way}: keepAliveTimeout closes an idle connection`, async (t) => {
      const { app, listen } = makeApp(t, { fastify: { keepAliveTimeout: 1 } });
      app.get('/', async () => 'served');
      const { connect } = await listen();
      const client = await connect();
      t.is((await exchange(client, GET)).body, 'served');
      t.is(await client.readToEnd(), '');
      t.is(client.error, undefined);
    });

    test(`${way}: maxRequestsPerSocket is announced and kept`, async (t) => {
      const { app, listen } = makeApp(t, { fastify: { maxRequestsPerSocket: 2 } });
      app.get('/', async () => 'served');
      const { connect } = await listen();
      const client = await connect();
      t.is((await exchange(client, GET)).headers['keep-alive'], 'timeout=72, max=2');
      t.is((await exchange(client, GET)).headers.connection, 'close');
      t.is((await exchange(client, GET)).status, 503);
    });

    test(`${way}: a client that leaves in the middle of its body tells the onRequestAbort hook`, async (t) => {
      const { app, listen } = makeApp(t);
      const events: string[] = [];
      app.addHook('onRequest', async (_request) => void events.push('request'));
      app.addHook('onRequestAbort', async (_request) => void events.push('abort'));
      app.post('/', async () => t.fail('the body never came'));
      const { connect } = await listen();
      const client = await connect();
      await client.send(
        'POST / HTTP/1.1\r\nHost: example.test\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nhalf',
      );
      await until('the head came', () => events.length === 1);
      await client.close();
      await until('the hook was told', () => events.length === 2);
      t.deepEqual(events, ['request', 'abort']);
    });
  }

  test(`${way}: close() lets an answer under way out, takes no new client, and runs its hooks in order`, async (t) => {
    const { app, listen } = makeApp(t);
    const events: string[] = [];
    let answer = (): void => {};
    app.addHook('preClose', async () => void events.push('preClose'));
    app.addHook('onClose', async () => void events.push('onClose'));
    app.get('/', () => {
      events.push('request');
      return new Promise((resolve) => {
        answer = () => resolve('late');
      });
    });
    const { connect, path } = await listen();
    const client = await connect();
    await client.send(GET);
    await until('the request came', () => events.length === 1);
    const closed = app.close().then(() => events.push('closed'));
    await until('it does not listen any more', () => !app.server.listening);
    if (path !== undefined) t.false(existsSync(path));
    answer();
    const late = await readAnswer(client);
    t.is(late.body, 'late');
    if (!isRelay && way !== 'plain Fastify') t.is(late.headers.connection, 'close');
    await client.close();
    await closed;
    t.deepEqual(events, ['request', 'preClose', 'onClose', 'closed']);
    await app.close();
  });

  test(`${way}: close() closes idle connections`, async (t) => {
    const { app, listen } = makeApp(t);
    app.get('/', async () => 'served');
    const { connect } = await listen();
    const client = await connect();
    t.is((await exchange(client, GET)).body, 'served');
    // In a relay this is the web server's connection, and it stays.
    const ended = isRelay ? client.close() : client.readToEnd();
    await app.close();
    await ended;
    t.is(client.error, undefined);
  });

  test(`${way}: forceCloseConnections cuts off what is under way`, async (t) => {
    const { app, listen } = makeApp(t, { fastify: { forceCloseConnections: true } });
    let requests = 0;
    app.get('/', () => {
      requests++;
      return new Promise(() => {});
    });
    const { connect } = await listen();
    const client = await connect();
    await client.send(GET);
    await until('the request came', () => requests === 1);
    await app.close();
    t.is(await client.readToEnd(), '');
  });

  test(`${way}: an aborted signal closes the application`, async (t) => {
    const { app } = makeApp(t);
    const controller = new AbortController();
    const folder = await temporaryFolder(t);
    await app.listen(
      way === 'plain Fastify'
        ? { host: '127.0.0.1', port: 0, signal: controller.signal }
        : { path: `${folder}/app.sock`, signal: controller.signal },
    );
    const closed = once(app.server, 'close');
    controller.abort();
    await closed;
    t.false(app.server.listening);
  });
}

for (const way of allAppWays.filter((each) => each !== 'plain Fastify')) {
  test(`${way}: close() does not wait longer than closeTimeoutMs for an event stream`, async (t) => {
    const { app, listen } = appWays[way](t, { handover: { closeTimeoutMs: 100 } });
    app.get('/', (_request, reply) => {
      reply.hijack();
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
    });
    const { connect } = await listen();
    const client = await connect();
    await client.send(GET);
    await client.readUntil('data: 1');
    await app.close();
    t.false(app.server.listening);
  });
}

test('close() of an application that never listened', async (t) => {
  const app = Fastify({ serverFactory: handoverServer() });
  await app.ready();
  await t.notThrowsAsync(app.close());
});

test('inject() needs no listening and no socket', async (t) => {
  const app = Fastify({ serverFactory: handoverServer(), genReqId: handoverRequestId });
  t.teardown(() => app.close());
  await app.register(connectionInfoPlugin);
  app.get('/', async ({ ip, id, connectionInfo }) => ({ ip, id, hasInfo: connectionInfo !== undefined }));
  const { ip, id, hasInfo } = (await app.inject('/')).json();
  t.is(ip, '127.0.0.1');
  t.regex(id, /^[0-9a-f-]{36}$/);
  t.false(hasInfo);
});

for (const [what, imports, expected] of [
  ['without', ['--import', new URL('../helpers/without-addon.js', import.meta.url).href], 'ERR_FDPASS_ADDON'],
  ['with', [], 'listens'],
] as const) {
  test(`inject() works in a process ${what} an addon, and listen() says ${expected}`, async (t) => {
    const folder = await temporaryFolder(t);
    const script = fileURLToPath(new URL('children/inject.js', import.meta.url));
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [
      ...imports,
      script,
      `${folder}/app.sock`,
    ]);
    t.is(stderr, '');
    const { id, ...result } = JSON.parse(stdout);
    t.regex(id, /^[0-9a-f-]{36}$/);
    t.deepEqual(result, {
      status: 200,
      body: { hello: 'world' },
      ip: '127.0.0.1',
      hasInfo: false,
      message: 'heard me',
      listening: expected,
    });
  });
}
