// What Fastify gets from a handover that it has not by itself: the client the web server names, connectionInfo, its request ids, and
// the server's own log lines and options.
import { connectionInfoPlugin, handoverRequestId, handoverServer } from '@fdpass/backend-runtime';
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
    t.is(info.tls, undefined);
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
