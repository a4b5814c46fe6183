// Fastify unchanged on a handover server: its requests and replies, what it says about the client, its logger, its request ids, and
// connectionInfo. The same application listens by itself as the control.
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { connectionInfoPlugin, handoverRequestId, handoverServer, sendFile } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import Fastify from 'fastify';
import { Agent, request } from 'undici';
import { exchange } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type AppWay, allAppWays, appWays } from '../helpers/fastify-app.js';
import { handOver } from '../helpers/hand-over.js';

guardDescriptors(test);

const handedWays = allAppWays.filter((way) => way !== 'plain Fastify');

/** An agent of the test's own, so that its idle connections end with the test. */
function agentOf(t: ExecutionContext): { dispatcher: Agent } {
  const dispatcher = new Agent();
  t.teardown(() => dispatcher.destroy());
  return { dispatcher };
}

/** A stream for Fastify's logger that keeps the lines. */
function logLines(): { stream: { write(line: string): void }; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  return { lines, stream: { write: (line) => void lines.push(JSON.parse(line)) } };
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
      // A partial handover comes from a web server that decrypts.
      protocol: way === 'partial' ? 'https' : 'http',
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

for (const way of handedWays) {
  const makeApp = appWays[way];
  const client = { address: '203.0.113.9', port: 4711 };

  test(`${way}: the client is who the web server says, also where that is another host`, async (t) => {
    const { app, listen } = makeApp(t, { variables: {} });
    await app.register(connectionInfoPlugin);
    app.get('/', async ({ ip, socket, connectionInfo }) => ({
      ...{ ip, port: socket.remotePort, peer: connectionInfo?.peer?.address },
      isClient: connectionInfo?.client.address === ip,
    }));
    const { path } = await listen();
    const handed = await handOver(path as string, {
      kind: way as Exclude<AppWay, 'plain Fastify'>,
      address: client.address,
    });
    const answer = way === 'relay' ? await handed.readToEnd() : await handed.readUntil('}');
    t.deepEqual(JSON.parse(/\{.*\}/s.exec(answer)?.[0] ?? ''), {
      ip: client.address,
      port: client.port,
      isClient: true,
      ...(way === 'relay' ? {} : { peer: '127.0.0.1' }),
    });
    await handed.close();
  });

  test(`${way}: connectionInfo says how the request came`, async (t) => {
    const { app, listen } = makeApp(t, { variables: { GEO: 'test' } });
    await app.register(connectionInfoPlugin);
    await app.register(connectionInfoPlugin);
    await app.register(async (inner) => {
      inner.get('/inner', async ({ connectionInfo }) => ({ ...connectionInfo }));
    });
    const { port, connect } = await listen();
    const local = await connect();
    const ask = async (): Promise<Record<string, unknown>> =>
      JSON.parse((await exchange(local, 'GET /inner HTTP/1.1\r\nHost: example.test\r\n\r\n')).body);
    const info = await ask();
    const address = { family: 'IPv4', address: '127.0.0.1' };
    const peer = { ...address, port: local.socket.localPort };
    t.like(info, {
      handover: way,
      client: peer,
      local: { ...address, port },
      sender: { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() },
      variables: { GEO: 'test' },
      earlyBytes: 0,
      requestNumber: 1,
    });
    t.deepEqual(info.peer, way === 'relay' ? undefined : peer);
    t.deepEqual(info.ingress, way === 'relay' ? undefined : { ifindex: 1, name: 'lo' });
    t.deepEqual(info.tls, way === 'partial' ? { kernelTx: true, kernelRx: false } : undefined);
    if (way !== 'relay') t.is((await ask()).requestNumber, 2);
  });

  test(`${way}: REQUEST_ID of the web server is the request's id, in its log lines too`, async (t) => {
    const { stream, lines } = logLines();
    const { app, listen } = makeApp(t, {
      fastify: { logger: { stream }, genReqId: handoverRequestId },
      variables: { REQUEST_ID: '7f3a' },
    });
    app.get('/', async ({ id, log }) => {
      log.info('in the handler');
      return `<${id}>`;
    });
    const { connect } = await listen();
    const local = await connect();
    const expected = way === 'relay' ? ['7f3a'] : ['7f3a', '7f3a-2', '7f3a-3'];
    for (const id of expected) {
      await local.send('GET / HTTP/1.1\r\nHost: example.test\r\n\r\n');
      await local.readUntil(`<${id}>`);
    }
    t.deepEqual(
      lines.filter(({ msg }) => msg === 'in the handler').map(({ reqId }) => reqId),
      expected,
    );
  });

  test(`${way}: without REQUEST_ID each request has an id of its own`, async (t) => {
    const { app, listen } = makeApp(t, { fastify: { genReqId: handoverRequestId } });
    app.get('/', async ({ id }) => id);
    const { url } = await listen();
    const ids = new Set<string>();
    const dispatch = agentOf(t);
    for (let nth = 0; nth < 3; nth++) ids.add(await (await request(url, dispatch)).body.text());
    t.is(ids.size, 3);
    for (const id of ids) t.regex(id, /^[0-9a-f-]{36}$/);
  });

  test(`${way}: what the server has to say goes to Fastify's logger`, async (t) => {
    const { stream, lines } = logLines();
    const errors: string[] = [];
    const { app, listen } = makeApp(t, {
      fastify: { logger: { stream, level: 'warn' } },
      configure: (server) => {
        server.use(() => {
          throw new Error('broken middleware');
        });
        server.on('handoverError', ({ code }) => errors.push(code));
      },
    });
    app.get('/', async () => t.fail('the middleware failed'));
    const { url } = await listen();
    const { statusCode, body } = await request(url, agentOf(t));
    t.is(statusCode, 500);
    await body.dump();
    t.deepEqual(errors, ['BKR_ERR_MIDDLEWARE']);
    t.is(lines.length, 1);
    t.like(lines[0], { level: 40, err: { code: 'BKR_ERR_MIDDLEWARE' }, sender: { pid: process.pid } });
  });

  test(`${way}: a port is refused with what to do instead`, async (t) => {
    const { app } = makeApp(t);
    const error = await t.throwsAsync(app.listen({ port: 0 }), { code: 'BKR_ERR_LISTEN_ADDRESS' });
    t.regex(error?.message ?? '', /front door/);
  });
}

test('the http options of Fastify reach the server, those of handoverServer win', (t) => {
  const app = Fastify({
    http: { maxHeaderSize: 4096, headersTimeout: 1234 },
    serverFactory: handoverServer({ maxHeaderSize: 8192 }),
  } as never);
  t.is(Reflect.get(app.server, 'headersTimeout'), 1234);
  t.is(Reflect.get(app.server, 'maxHeaderSize'), 8192);
});

test('an option out of its bounds is refused when the application is made', (t) => {
  t.throws(() => Fastify({ serverFactory: handoverServer({ closeTimeoutMs: -1 }) }), {
    code: 'BKR_ERR_OPTION',
  });
  t.throws(() => Fastify({ serverFactory: handoverServer({ keepAlive: { scope: 'app' } }) }), {
    code: 'BKR_ERR_OPTION',
  });
});
