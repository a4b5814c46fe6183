// Fastify unchanged on a handover server: its requests and replies, what it says about the client, its logger, its request ids, and
// connectionInfo. The same application listens by itself as the control.
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { handoverServer, sendFile } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import Fastify from 'fastify';
import { Agent, request } from 'undici';
import { guardDescriptors } from '../helpers/descriptors.js';
import { allAppWays, appWays } from '../helpers/fastify-app.js';

guardDescriptors(test);

/** An agent of the test's own, so that its idle connections end with the test. */
function agentOf(t: ExecutionContext): { dispatcher: Agent } {
  const dispatcher = new Agent();
  t.teardown(() => dispatcher.destroy());
  return { dispatcher };
}

for (const way of allAppWays) {
  const makeApp = appWays[way];

  test(`${way}: routes, schemas, hooks, errors and redirects work`, async (t) => {
    const { app, listen } = makeApp(t);
    app.addHook('onSend', async (_request, reply) => {
      reply.header('x-hook', 'seen');
    });
    app.post(
      '/items/:id',
      {
        schema: {
          params: { type: 'object', properties: { id: { type: 'integer' } } },
          body: { type: 'object', required: ['name'], properties: { name: { type: 'string' } } },
        },
      },
      async ({ params, body, query }) => ({ params, body, query }),
    );
    app.get('/failing', async () => {
      throw Object.assign(new Error('on purpose'), { statusCode: 418 });
    });
    app.get('/moved', (_request, reply) => reply.redirect('/items/1', 307));
    const { url } = await listen();
    const dispatch = agentOf(t);
    const send = (path: string, body: unknown) =>
      request(url + path, {
        ...dispatch,
        method: 'POST',
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      });
    const created = await send('/items/7?a=b&a=c', { name: 'näme' });
    t.is(created.statusCode, 200);
    t.is(created.headers['x-hook'], 'seen');
    t.deepEqual(await created.body.json(), {
      params: { id: 7 },
      body: { name: 'näme' },
      query: { a: ['b', 'c'] },
    });
    for (const [path, body, expected] of [
      ['/items/x', { name: 'n' }, 400],
      ['/items/7', {}, 400],
      ['/nowhere', {}, 404],
    ] as const) {
      const { statusCode, body: answer } = await send(path, body);
      t.is(statusCode, expected);
      t.like(await answer.json(), { statusCode: expected });
    }
    const failing = await request(`${url}/failing`, dispatch);
    t.is(failing.statusCode, 418);
    t.like(await failing.body.json(), { message: 'on purpose' });
    const moved = await request(`${url}/moved`, dispatch);
    t.is(moved.statusCode, 307);
    t.is(moved.headers.location, '/items/1');
    await moved.body.dump();
    const head = await request(`${url}/failing`, { ...dispatch, method: 'HEAD' });
    t.is(head.statusCode, 418);
    await head.body.dump();
  });

  test(`${way}: a body over bodyLimit is answered 413, however it is framed`, async (t) => {
    const { app, listen } = makeApp(t, { fastify: { bodyLimit: 1000 } });
    app.addContentTypeParser('*', { parseAs: 'buffer' }, async (_request: unknown, body: Buffer) => body);
    app.post('/', async ({ body }) => ({ bytes: (body as Buffer).length }));
    const { url } = await listen();
    const headers = { 'content-type': 'application/octet-stream' };
    const dispatch = agentOf(t);
    for (const body of [Buffer.alloc(2_000_000), Readable.from([Buffer.alloc(2000)])]) {
      const { statusCode, body: answer } = await request(url, { ...dispatch, method: 'POST', body, headers });
      t.is(statusCode, 413);
      await answer.dump();
    }
    const { body } = await request(url, { ...dispatch, method: 'POST', body: Buffer.alloc(1000), headers });
    t.deepEqual(await body.json(), { bytes: 1000 });
  });

  test(`${way}: streams, buffers, hijacked replies and files go out whole`, async (t) => {
    const { app, listen } = makeApp(t);
    const bytes = Buffer.alloc(3_000_000, 'some text of a stream ');
    const chunks = (): Buffer[] =>
      Array.from({ length: 30 }, (_, n) => bytes.subarray(n * 100_000, (n + 1) * 100_000));
    app.get('/stream', (_request, reply) => reply.send(Readable.from(chunks())));
    app.get('/web-stream', (_request, reply) => reply.send(Readable.toWeb(Readable.from(chunks()))));
    app.get('/buffer', (_request, reply) => reply.send(bytes));
    app.get('/hijacked', (_request, reply) => {
      reply.hijack();
      reply.raw.end(bytes);
    });
    app.get('/file', (_request, reply) => sendFile(reply, process.execPath, { start: 0, end: 2_999_999 }));
    const { url } = await listen();
    const dispatch = agentOf(t);
    const sha256 = async (path: string): Promise<string> => {
      const { body } = await request(url + path, dispatch);
      return createHash('sha256')
        .update(Buffer.from(await body.arrayBuffer()))
        .digest('hex');
    };
    const expected = createHash('sha256').update(bytes).digest('hex');
    for (const path of ['/stream', '/web-stream', '/buffer', '/hijacked'])
      t.is(await sha256(path), expected, path);
    const file = await request(`${url}/file`, dispatch);
    t.is((await file.body.arrayBuffer()).byteLength, 3_000_000);
  });

  test(`${way}: ip, ips, protocol, host and hostname are the client's`, async (t) => {
    const { app, listen } = makeApp(t);
    app.get('/', async ({ ip, ips, protocol, host, hostname, port, socket }) => ({
      ...{ ip, ips, protocol, host, hostname, port },
      isRemote: socket.remoteAddress === ip,
    }));
    const { url } = await listen();
    const { body } = await request(url, {
      ...agentOf(t),
      headers: {
        host: 'example.test:8443',
        'x-forwarded-for': '198.51.100.1',
        'x-forwarded-proto': 'gopher',
      },
    });
    t.deepEqual(await body.json(), {
      ip: '127.0.0.1',
      protocol: 'http',
      host: 'example.test:8443',
      hostname: 'example.test',
      port: 8443,
      isRemote: true,
    });
  });

  test(`${way}: trustProxy takes the client from X-Forwarded-For`, async (t) => {
    const { app, listen } = makeApp(t, { fastify: { trustProxy: '127.0.0.1' } });
    app.get('/', async ({ ip, ips, protocol, host }) => ({ ip, ips, protocol, host }));
    const { url } = await listen();
    const { body } = await request(url, {
      ...agentOf(t),
      headers: {
        'x-forwarded-for': '198.51.100.1',
        'x-forwarded-proto': 'https',
        'x-forwarded-host': 'forwarded.test',
      },
    });
    t.deepEqual(await body.json(), {
      ip: '198.51.100.1',
      ips: ['127.0.0.1', '198.51.100.1'],
      protocol: 'https',
      host: 'forwarded.test',
    });
  });

  test(`${way}: bytes that are no HTTP get Fastify's own answer`, async (t) => {
    if (way === 'relay') return void t.pass('the web server answers those');
    const { app, listen } = makeApp(t);
    app.get('/', async () => 'served');
    const { connect } = await listen();
    const client = await connect();
    await client.send('GET / HTTP/1.1\r\nHost: example.test\r\n\r\n');
    await client.readUntil('served');
    await client.send('NOT HTTP\r\n\r\n');
    t.regex(await client.readToEnd(), /HTTP\/1\.1 400 .*"error":"Bad Request"/s);
  });

  test(`${way}: listening where somebody listens rejects with EADDRINUSE, and a second listen() is refused`, async (t) => {
    const { app, listen } = makeApp(t);
    const { port, path } = await listen();
    const place = path === undefined ? { host: '127.0.0.1', port } : { path };
    const other = path === undefined ? Fastify() : Fastify({ serverFactory: handoverServer() });
    await t.throwsAsync(other.listen(place), { code: 'EADDRINUSE' });
    await other.close();
    await t.throwsAsync(app.listen(place), { code: 'FST_ERR_REOPENED_SERVER', any: true });
  });
}
