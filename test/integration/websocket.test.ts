// WebSockets by @fastify/websocket and by ws itself on a handover server, with and without a keep-alive scope. The same
// application listens by itself as the control.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import websocket from '@fastify/websocket';
import { connectionInfoPlugin } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { WebSocket, WebSocketServer } from 'ws';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type AppOptions, appWays } from '../helpers/fastify-app.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const ways = ['plain Fastify', 'full', 'partial'] as const;

/** An open client; it ends with the test. */
async function open(t: ExecutionContext, url: string, ...more: [string?, object?]): Promise<WebSocket> {
  const socket = new WebSocket(url.replace('http', 'ws'), ...(more as []));
  t.teardown(() => socket.terminate());
  await once(socket, 'open');
  return socket;
}

/** The status a refused upgrade is answered with. */
async function refusal(t: ExecutionContext, url: string): Promise<number> {
  const socket = new WebSocket(url.replace('http', 'ws'));
  socket.on('error', () => {});
  t.teardown(() => socket.terminate());
  const [, response] = await once(socket, 'unexpected-response');
  response.resume();
  return response.statusCode;
}

const message = async (socket: WebSocket): Promise<string> => String((await once(socket, 'message'))[0]);

for (const way of ways) {
  for (const [scope, handover] of Object.entries({
    'with a keep-alive scope': { keepAlive: { scope: '/' } },
    'without one': {},
  } satisfies Record<string, AppOptions['handover']>)) {
    if (way === 'plain Fastify' && scope === 'without one') continue;
    const makeApp = (t: ExecutionContext, options: AppOptions = {}) =>
      appWays[way](t, { handover, ...options });

    test(`${way} ${scope}: messages, hooks and the request of a socket`, async (t) => {
      const { app, listen } = makeApp(t);
      await app.register(connectionInfoPlugin);
      await app.register(websocket);
      app.addHook('preValidation', async (request, reply) => {
        if (request.url === '/closed') await reply.code(401).send('who are you?');
      });
      app.get('/chat/:room', { websocket: true }, (socket, request) => {
        const { ip, protocol, connectionInfo } = request;
        const room = (request.params as { room: string }).room;
        socket.send(JSON.stringify({ room, ip, protocol, kind: connectionInfo?.handover }));
        socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
      });
      app.get('/closed', { websocket: true }, () => t.fail('the hook refused it'));
      const { url } = await listen();

      const socket = new WebSocket(`${url.replace('http', 'ws')}/chat/7`);
      t.teardown(() => socket.terminate());
      t.deepEqual(JSON.parse(await message(socket)), {
        room: '7',
        ip: '127.0.0.1',
        protocol: 'http',
        ...(way === 'plain Fastify' ? {} : { kind: way }),
      });
      for (const text of ['one', '', 'three '.repeat(50_000)]) {
        const answer = message(socket);
        socket.send(text);
        t.is(await answer, text);
      }
      t.is(await refusal(t, `${url}/closed`), 401);
      t.is(await refusal(t, `${url}/nowhere`), 404);
      socket.close(1000);
      t.is((await once(socket, 'close'))[0], 1000);
    });

    test(`${way} ${scope}: a client that is gone is told to the handler`, async (t) => {
      const { app, listen } = makeApp(t);
      await app.register(websocket);
      const codes: number[] = [];
      app.get('/', { websocket: true }, (socket) => {
        socket.on('close', (code) => codes.push(code));
      });
      const { url } = await listen();
      const [polite, rude] = [await open(t, url), await open(t, url)];
      polite?.close(1001);
      await until('the polite one is gone', () => codes.length === 1);
      rude?.terminate();
      await until('the rude one is gone', () => codes.length === 2);
      t.deepEqual(codes, [1001, 1006]);
    });

    test(`${way} ${scope}: close() of the application closes its sockets with 1005 at the latest`, async (t) => {
      const { app, listen } = makeApp(t);
      await app.register(websocket);
      app.get('/', { websocket: true }, (socket) => void socket.on('error', () => {}));
      const { url } = await listen();
      const sockets = await Promise.all([open(t, url), open(t, url), open(t, url)]);
      const closes = sockets.map((socket) => once(socket, 'close'));
      await app.close();
      for (const [code] of await Promise.all(closes)) t.is(code, 1005);
    });
  }

  test(`${way}: 20 MB of messages reach a client that reads late, in order`, async (t) => {
    const { app, listen } = appWays[way](t);
    await app.register(websocket);
    const part = (nth: number): Buffer => Buffer.alloc(200_000, `part ${nth} `);
    const hash = createHash('sha256');
    for (let nth = 0; nth < 100; nth++) hash.update(part(nth));
    let waiting = 0;
    app.get('/', { websocket: true }, (socket) => {
      for (let nth = 0; nth < 100; nth++) socket.send(part(nth));
      waiting = socket.bufferedAmount;
      socket.close(1000);
    });
    const { url } = await listen();
    const socket = new WebSocket(url.replace('http', 'ws'));
    t.teardown(() => socket.terminate());
    const received = createHash('sha256');
    socket.on('message', (data: Buffer) => received.update(data));
    socket.once('upgrade', () => setTimeout(() => socket.resume(), 50));
    socket.once('open', () => socket.pause());
    t.is((await once(socket, 'close'))[0], 1000);
    t.is(received.digest('hex'), hash.digest('hex'));
    t.true(waiting > 0);
  });

  test(`${way}: 50 clients at once, each with its own messages`, async (t) => {
    const { app, listen } = appWays[way](t);
    await app.register(websocket);
    app.get('/:id', { websocket: true }, (socket, { params }) => {
      socket.on('message', (data) => socket.send(`${(params as { id: string }).id} heard ${data}`));
    });
    const { url } = await listen();
    await Promise.all(
      Array.from({ length: 50 }, async (_, id) => {
        const socket = await open(t, `${url}/${id}`);
        for (let nth = 0; nth < 5; nth++) {
          const answer = message(socket);
          socket.send(String(nth));
          t.is(await answer, `${id} heard ${nth}`);
        }
      }),
    );
  });

  test(`${way}: ws itself on the server of an application: subprotocols, headers, its own refusal`, async (t) => {
    const { app, listen } = appWays[way](t);
    const { url } = await listen();
    const sockets = new WebSocketServer({
      server: app.server,
      path: '/ws',
      handleProtocols: (offered) => (offered.has('second') ? 'second' : false),
      verifyClient: ({ req }: { req: { headers: Record<string, unknown> } }) =>
        req.headers.origin !== 'http://evil.test',
    });
    t.teardown(() => sockets.close());
    sockets.on('headers', (headers) => headers.push('X-Added: yes'));
    sockets.on('connection', (socket, request) => socket.send(String(request.socket.remoteAddress)));
    const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, ['first', 'second']);
    t.teardown(() => socket.terminate());
    const upgraded = once(socket, 'upgrade');
    t.is(await message(socket), '127.0.0.1');
    t.is((await upgraded)[0].headers['x-added'], 'yes');
    t.is(socket.protocol, 'second');
    t.is(await refusal(t, `${url}/other`), 400);
    const evil = new WebSocket(`${url.replace('http', 'ws')}/ws`, { origin: 'http://evil.test' });
    evil.on('error', () => {});
    t.is((await once(evil, 'unexpected-response'))[1].statusCode, 401);
    evil.terminate();
  });
}
