// Connections by their local address to request listeners and servers of this process: which of them hears what, for all kinds of
// handover, with and without sockets.
import { EventEmitter, once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import websocket from '@fastify/websocket';
import {
  connectionInfo,
  type HandoverServerOptions,
  type HostBits,
  handoverServer,
  type PrefixRouterOptions,
  prefixRouter,
  type RequestListener,
} from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import Fastify from 'fastify';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { handOverAt } from '../helpers/local-clients.js';
import { BLUE, body, GREEN, type Routed, route as routeTo, status } from '../helpers/routed.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];

const says =
  (what: string): RequestListener =>
  (request, response) =>
    response.end(`${what} ${request.url}`);

const route = (
  t: ExecutionContext,
  options: PrefixRouterOptions,
  serverOptions?: HandoverServerOptions,
): Promise<Routed> => routeTo(t, says('own'), options, serverOptions);

for (const kind of KINDS) {
  for (const lean of kind === 'full' ? [true, false] : [false]) {
    test(`${kind}, lean ${lean}: the server of the longest prefix answers`, async (t) => {
      const { path, router, errors } = await route(
        t,
        {
          routes: [
            { prefix: BLUE, to: says('blue') },
            { prefix: GREEN, to: createHttpServer(says('green')) },
            { prefix: '127.2.7.0/24', to: 'seven' },
            { prefix: '127.2.8.0/24', to: 'here' },
          ],
          targets: { seven: says('seven') },
        },
        { lean },
      );
      const answers: string[] = [];
      for (const local of ['127.1.0.1', '127.2.0.1', '127.2.7.1', '127.2.8.1', '127.3.0.1']) {
        const client = await handOverAt(path, local, kind, { target: '/a' });
        const answer = await client.readToEnd();
        answers.push(`${status(answer)} ${body(answer).trim()}`);
      }
      t.deepEqual(answers, [
        '200 blue /a',
        '200 green /a',
        '200 seven /a',
        '200 own /a',
        '421 421 Misdirected Request',
      ]);
      t.deepEqual(router.stats(), { routes: [1, 1, 1, 1], misses: 1, passedOn: 0, refused: {} });
      t.deepEqual(errors, ['BKR_ERR_NO_ROUTE']);
    });
  }

  test(`${kind}: what matches nothing goes to the default, and counts as a miss`, async (t) => {
    const { path, router, errors } = await route(t, {
      routes: [{ prefix: BLUE, to: says('blue') }],
      default: says('rest'),
    });
    const client = await handOverAt(path, '127.3.0.1', kind);
    t.is(body(await client.readToEnd()), 'rest /');
    t.is(router.stats().misses, 1);
    t.deepEqual(errors, []);
  });

  test(`${kind}: rejected with a status`, async (t) => {
    const { path, errors } = await route(t, { routes: [{ prefix: BLUE, to: { reject: 404 } }] });
    const client = await handOverAt(path, '127.1.0.1', kind);
    t.is(status(await client.readToEnd()), '404');
    t.deepEqual(errors, []);
  });

  test(`${kind}: rejected by a reset`, async (t) => {
    const { path, server } = await route(t, { routes: [{ prefix: BLUE, to: { reject: 'reset' } }] });
    const client = await handOverAt(path, '127.1.0.1', kind);
    t.is(await client.readToEnd(), '');
    t.is(client.answer.error, kind === 'relay' ? undefined : 'ECONNRESET');
    t.is(server.stats().connections, 0);
  });

  test(`${kind}: a body goes where the request goes`, async (t) => {
    const echo: RequestListener = async (request, response) => {
      let text = '';
      for await (const chunk of request) text += chunk;
      response.end(text);
    };
    const { path } = await route(t, { routes: [{ prefix: BLUE, to: echo }] });
    const client = await handOverAt(path, '127.1.0.1', kind, {
      method: 'POST',
      headers: kind === 'relay' ? {} : { HTTP_CONTENT_LENGTH: '10' },
      earlyBytes: '01234',
      bodyBytes: 10,
    });
    await client.send('56789');
    t.is(body(await client.readToEnd()), '0123456789');
  });
}

test('a relay that does not say its local address matches no prefix, and the error says why', async (t) => {
  const { path, server } = await route(t, { routes: [{ prefix: '0.0.0.0/0', to: says('any') }] });
  const reported = once(server, 'handoverError');
  const client = await handOver(path, { kind: 'relay' });
  t.is(status(await client.readToEnd()), '421');
  const [error] = await reported;
  t.is(error.code, 'BKR_ERR_NO_ROUTE');
  t.regex(error.message, /SERVER_ADDR/);
});

for (const lean of [true, false]) {
  test(`lean ${lean}: later requests of a connection are the same server's, and guards and observers see them`, async (t) => {
    const { path, server } = await route(
      t,
      { routes: [{ prefix: BLUE, to: says('blue') }] },
      { lean, keepAlive: { scope: '/app/' } },
    );
    const seen: (string | undefined)[] = [];
    server.use((handover, next) => {
      handover.observe({ onRequest: ({ url }) => seen.push(url) });
      next();
    });
    const client = await handOverAt(path, '127.1.0.1', 'full', { target: '/app/1' });
    await client.readUntil('blue /app/1');
    await client.send('GET /app/2 HTTP/1.1\r\nHost: example.test\r\n\r\n');
    await client.readUntil('blue /app/2');
    await client.send('GET /else HTTP/1.1\r\nHost: example.test\r\n\r\n');
    t.regex(await client.readToEnd(), /HTTP\/1\.1 421 /);
    t.deepEqual(seen, ['/app/1', '/app/2', '/else']);
  });
}

const UPGRADE = { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'echo' };

test('an upgrade is for the server that has a listener to it', async (t) => {
  const upgrading = createHttpServer(says('green'));
  upgrading.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
    socket.pipe(socket);
  });
  const { path, server } = await route(t, {
    routes: [
      { prefix: BLUE, to: says('blue') },
      { prefix: GREEN, to: upgrading },
    ],
  });
  const green = await handOverAt(path, '127.2.0.1', 'full', { headers: UPGRADE });
  await green.readUntil('101 Switching Protocols\r\n\r\n');
  await green.send('hello');
  await green.readUntil('hello');
  green.end();
  await green.readToEnd();
  // The other way about: the server itself upgrades, and what answers instead does not.
  server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 101 Own\r\n\r\n'));
  const blue = await handOverAt(path, '127.1.0.1', 'full', { headers: UPGRADE });
  t.regex(await blue.readToEnd(), /^HTTP\/1\.1 200 .*blue/s);
  const own = await handOver(path, { headers: UPGRADE });
  t.regex(await own.readToEnd(), /^HTTP\/1\.1 421 /);
});

test('the other events of http.Server go to whoever answers', async (t) => {
  const heard: string[] = [];
  const blue = createHttpServer(says('blue'));
  blue.on('checkContinue', (request, response) => {
    heard.push('checkContinue');
    response.writeContinue();
    blue.emit('request', request, response);
  });
  blue.on('checkExpectation', (_request, response) => {
    heard.push('checkExpectation');
    response.writeHead(418).end();
  });
  blue.on('clientError', (_error, socket) => {
    heard.push('clientError');
    socket.end('HTTP/1.1 499 Mine\r\n\r\n');
  });
  const { path, server } = await route(
    t,
    {
      routes: [
        { prefix: BLUE, to: blue },
        { prefix: GREEN, to: says('green') },
      ],
    },
    { keepAlive: { scope: '/' } },
  );
  server.on('clientError', () => t.fail());
  const expecting = (value: string) => ({ headers: { HTTP_EXPECT: value } });
  const first = await handOverAt(path, '127.1.0.1', 'full', expecting('100-continue'));
  await first.readUntil('blue');
  await first.send('no request\r\n\r\n');
  t.regex(await first.readToEnd(), /^HTTP\/1\.1 100 .*blue.*499 Mine/s);
  const second = await handOverAt(path, '127.1.0.1', 'full', expecting('something'));
  await second.readUntil('418');
  await second.close();
  t.deepEqual(heard, ['checkContinue', 'clientError', 'checkExpectation']);
  // Without listeners of its own, what Node.js does by itself.
  for (const [value, answer] of [
    ['100-continue', /^HTTP\/1\.1 100 .*green/s],
    ['something', /^HTTP\/1\.1 417 /],
  ] as const) {
    const client = await handOverAt(path, '127.2.0.1', 'full', expecting(value));
    await client.send('GET /second HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n');
    const answers = await client.readToEnd();
    t.regex(answers, answer);
    t.regex(answers, /green \/second/);
  }
});

test('a Fastify application answers, made ready by its first connection', async (t) => {
  const app = Fastify();
  const { path } = await route(t, { routes: [{ prefix: BLUE, to: app }] });
  app.get('/info', async (request) => connectionInfo(request.raw).local?.address);
  t.teardown(() => app.close());
  for (let times = 0; times < 2; times++) {
    const client = await handOverAt(path, '127.1.0.9', 'full', { target: '/info' });
    t.is(body(await client.readToEnd()), '127.1.0.9');
  }
});

for (const [what, serverFactory] of [
  ['takes handovers itself', handoverServer()],
  ['is a server of its own', undefined],
] as const) {
  test(`a WebSocket of a Fastify application that ${what}`, async (t) => {
    const app = Fastify(serverFactory === undefined ? {} : { serverFactory });
    await app.register(websocket);
    app.get('/chat', { websocket: true }, (socket) => {
      socket.on('message', (data) => socket.send(`heard ${data}`));
    });
    const { path, server } = await route(t, { routes: [{ prefix: BLUE, to: app }] });
    t.teardown(() => app.close());
    const client = await handOverAt(path, '127.1.0.9', 'full', {
      target: '/chat',
      headers: {
        HTTP_CONNECTION: 'Upgrade',
        HTTP_UPGRADE: 'websocket',
        HTTP_SEC_WEBSOCKET_VERSION: '13',
        HTTP_SEC_WEBSOCKET_KEY: 'AAAAAAAAAAAAAAAAAAAAAA==',
      },
    });
    await client.readUntil('\r\n\r\n');
    // A text frame, masked with zeros (RFC 6455, section 5.2).
    await client.send('\x81\x82\0\0\0\0hi');
    await client.readUntil('heard hi');
    t.is(server.stats().connections, 1);
    await client.close();
  });
}

test('a Fastify application that does not get ready costs its clients a 500, and nobody else anything', async (t) => {
  const app = Fastify();
  app.register(async () => {
    throw new Error('no database');
  });
  const { path, errors } = await route(t, {
    routes: [{ prefix: BLUE, to: app }],
    default: 'here',
  });
  const blue = await handOverAt(path, '127.1.0.9', 'full');
  t.is(status(await blue.readToEnd()), '500');
  const own = await handOver(path);
  t.is(body(await own.readToEnd()), 'own /');
  t.deepEqual(errors, ['BKR_ERR_MIDDLEWARE']);
});

test('by the source, the port and the ingress interface as well', async (t) => {
  const { path } = await route(t, {
    routes: [
      { prefix: BLUE, to: says('blue') },
      { prefix: BLUE, source: '192.0.2.0/24', to: says('known') },
      { prefix: BLUE, source: '192.0.2.0/24', ingress: 'eth99', to: says('nobody') },
      { prefix: GREEN, ingress: 'lo', to: says('loopback') },
      { prefix: GREEN, port: 9, to: says('nobody') },
    ],
  });
  const answers: string[] = [];
  for (const [local, address] of [
    ['127.1.0.1', '192.0.2.1'],
    ['127.1.0.1', '198.51.100.1'],
    ['127.2.0.1', '198.51.100.1'],
  ] as const) {
    const client = await handOverAt(path, local, 'full', { address });
    answers.push(body(await client.readToEnd()));
  }
  t.deepEqual(answers, ['known /', 'blue /', 'loopback /']);
});

test('other routes are in force at once, and connections stay where they are', async (t) => {
  const { path, router } = await route(
    t,
    { routes: [{ prefix: BLUE, to: says('blue') }] },
    { keepAlive: { scope: '/' } },
  );
  const client = await handOverAt(path, '127.1.0.1', 'full');
  await client.readUntil('blue /');
  router.replace({ routes: [{ prefix: BLUE, to: says('azure') }] });
  const next = await handOverAt(path, '127.1.0.1', 'full');
  await next.readUntil('azure /');
  await next.close();
  await client.send('GET /again HTTP/1.1\r\nHost: example.test\r\n\r\n');
  await client.readUntil('blue /again');
  await client.close();
  t.deepEqual(router.stats().routes, [1]);
});

for (const [what, routes, code, message] of [
  ['a malformed prefix', [{ prefix: '127.1.0.0/33', to: 'here' }], 'BKR_ERR_PREFIX', 'routes[0].prefix'],
  ['a source that is none', [{ source: 'a', to: 'here' }], 'BKR_ERR_PREFIX', 'routes[0].source'],
  [
    'the same twice',
    [{ to: 'here' }, { to: { reject: 404 } }],
    'BKR_ERR_PREFIX_TWICE',
    'routes[1] and routes[0]',
  ],
  [
    'an unknown name',
    [{ to: 'blue' }],
    'BKR_ERR_OPTION',
    'routes[0].to must be a target: there is none of the name "blue"',
  ],
  ['no target', [{ to: [] }], 'BKR_ERR_OPTION', 'routes[0].to must be a target'],
  ['no list', undefined, 'BKR_ERR_OPTION', 'routes must be a list of routes'],
  ['no route', [null], 'BKR_ERR_OPTION', 'routes[0] must be a route'],
  [
    'a misspelt name',
    [{ soruce: '192.0.2.0/24', to: { reject: 403 } }],
    'BKR_ERR_OPTION',
    'routes[0].soruce must be left out',
  ],
  ['nothing', [{ to: undefined }], 'BKR_ERR_OPTION', 'routes[0].to must be unix:/path'],
  [
    'a relative path',
    [{ to: 'unix:app.sock' }],
    'BKR_ERR_OPTION',
    'routes[0].to must be "unix:" and an absolute path',
  ],
  [
    'a path that is too long',
    [{ to: `/${'x'.repeat(107)}` }],
    'BKR_ERR_OPTION',
    'routes[0].to must be at most 107 bytes',
  ],
  [
    'an emitter that is no server',
    [{ to: new EventEmitter() as never }],
    'BKR_ERR_OPTION',
    'routes[0].to must be unix:/path',
  ],
  [
    'a status that is none',
    [{ to: { reject: 200 } }],
    'BKR_ERR_OPTION',
    'routes[0].to.reject must be a status',
  ],
  [
    'a target behind one that always takes',
    [{ to: ['here', 'unix:/a'] }],
    'BKR_ERR_OPTION',
    'routes[0].to must be a list',
  ],
  [
    'a target in a list',
    [{ to: ['unix:/a', 'nobody'] }],
    'BKR_ERR_OPTION',
    'routes[0].to[1] must be a target',
  ],
] as unknown as [string, PrefixRouterOptions['routes'], string, string][]) {
  test(`refused, and the routes in force stay: ${what}`, async (t) => {
    const { path, router } = await route(t, { routes: [{ prefix: BLUE, to: says('blue') }] });
    for (const apply of [() => prefixRouter({ routes }), () => router.replace({ routes })]) {
      const error = t.throws(apply, { code });
      t.true(error?.message.includes(message), error?.message);
    }
    const client = await handOverAt(path, '127.1.0.1', 'full');
    t.is(body(await client.readToEnd()), 'blue /');
  });
}

for (const [what, options, message] of [
  ['a name that is reserved', { routes: [], targets: { here: 'here' } }, 'targets.here must be under a name'],
  [
    'a name that stands for a name',
    { routes: [], targets: { a: 'b', b: 'here' } },
    'targets.a must be a target',
  ],
  ['too many hops', { routes: [], maxHops: 99 }, 'maxHops must be an integer from 0 to 98'],
  [
    'host bits that are neither refused nor masked',
    { routes: [], hostBits: 'masked' as HostBits },
    "hostBits must be 'refuse' or 'mask'",
  ],
  [
    'a word for strict',
    { routes: [], strict: 'no' } as unknown as PrefixRouterOptions,
    'strict must be true or false',
  ],
  ['no time', { routes: [], sendTimeoutMs: 0 }, 'sendTimeoutMs must be an integer from 1'],
] as [string, PrefixRouterOptions, string][]) {
  test(`refused: ${what}`, (t) => {
    const error = t.throws(() => prefixRouter(options), { code: 'BKR_ERR_OPTION' });
    t.true(error?.message.includes(message), error?.message);
  });
}

test("a server that is somebody else's still closes its own connections", async (t) => {
  const held: (() => void)[] = [];
  const { path, server } = await route(t, {
    routes: [{ prefix: BLUE, to: (_request, response) => void held.push(() => response.end('late')) }],
  });
  const client = await handOverAt(path, '127.1.0.1', 'full');
  await until('it is asked', () => held.length === 1);
  const isClosed = once(server, 'close');
  server.close();
  held[0]?.();
  t.is(body(await client.readToEnd()), 'late');
  await isClosed;
});
