// Handover middleware in a real server: what each decision does to the client, the descriptors, and those who come after.
import { once } from 'node:events';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { connectionInfo, type HandoverMiddleware, type HandoverServerOptions } from '@fdpass/backend-runtime';
import { closeHandover, type Handover, type HandoverKind } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { ClientSource } from '../helpers/client-source.js';
import { guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { type Served, serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

const native = loadNative();
guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];

interface Fixture extends Served {
  /** What happened, in order. */
  events: string[];
}

/** A server with these middlewares; each connection's close is an event as well. */
async function start(
  t: ExecutionContext,
  middleware: (events: string[]) => HandoverMiddleware[],
  options: HandoverServerOptions = {},
): Promise<Fixture> {
  const events: string[] = [];
  const served = await serve(t, options, (_request, response) => {
    events.push('request');
    response.end('served');
  });
  served.server.use(
    (handover, next) => {
      handover.observe({ onClose: (hadError) => events.push(`close ${hadError}`) });
      next();
    },
    ...middleware(events),
  );
  return { ...served, events };
}

const status = (answer: string): string => /^(?:HTTP\/1\.1|Status:) (\d+)/.exec(answer)?.[1] ?? '';

for (const kind of KINDS) {
  test(`${kind}: middlewares run in order, synchronous and asynchronous ones, before the request`, async (t) => {
    const { path, events } = await start(t, (order) => [
      (handover, next) => {
        order.push('first');
        handover.tags.set('first', 1);
        next();
      },
      async (handover, next) => {
        await delay(20);
        order.push(`second after ${handover.tags.get('first')}`);
        next();
        order.push('second goes on');
      },
      (_handover, next) => {
        setTimeout(() => {
          order.push('third');
          next();
        }, 20);
      },
    ]);
    const client = await handOver(path, { kind });
    t.is(status(await client.readToEnd()), '200');
    await until('it is closed', () => events.includes('close false'));
    t.deepEqual(events, ['first', 'second after 1', 'second goes on', 'third', 'request', 'close false']);
  });

  test(`${kind}: facts are there for the middleware, and the same for the request`, async (t) => {
    const facts: unknown[] = [];
    const { path, server } = await serve(t, {}, (request, response) => {
      facts.push(connectionInfo(request));
      response.end();
    });
    server.on('connection', (socket: Socket) => facts.push(connectionInfo(socket)));
    server.use((handover, next) => {
      t.is(handover.kind, kind);
      t.is(handover.headers.get('REQUEST_URI'), '/');
      facts.push(handover.info.snapshot(1));
      next();
    });
    const client = await handOver(path, { kind, headers: { TENANT: 'blue' } });
    await client.readToEnd();
    const [inMiddleware, onConnection, inRequest] = facts as Record<string, unknown>[];
    t.deepEqual(inRequest, inMiddleware);
    t.deepEqual({ ...onConnection, requestNumber: 1 }, inMiddleware);
    t.like(inRequest, {
      handover: kind,
      client: { family: 'IPv4', address: '192.0.2.7', port: 4711 },
      variables: { TENANT: 'blue' },
      sender: { pid: process.pid },
    });
    if (kind !== 'relay')
      t.like(inRequest, { peer: { address: '127.0.0.1' }, ingress: { ifindex: 1, name: 'lo' } });
  });

  test(`${kind}: reject() answers with its status and headers, closes, and no later middleware runs`, async (t) => {
    const { path, events, server } = await start(t, (order) => [
      (handover) => handover.reject(429, { 'Retry-After': '7' }),
      () => void order.push('never'),
    ]);
    const client = await handOver(path, { kind });
    const answer = await client.readToEnd();
    t.is(status(answer), '429');
    t.regex(answer, /^Retry-After: 7$/m);
    t.regex(answer, /\r\n\r\n429 Too Many Requests\n$/);
    if (kind !== 'relay') t.regex(answer, /^Connection: close$/m);
    await until('it is closed', () => server.stats().connections === 0);
    t.deepEqual(events, ['close false']);
  });

  test(`${kind}: take() gives the descriptors away for good`, async (t) => {
    let taken: Handover | undefined;
    const { path, events, server } = await start(t, () => [
      (handover) => {
        taken = handover.take();
        t.throws(() => handover.reject(500), { code: 'BKR_ERR_HANDOVER_DECIDED' });
        t.throws(() => handover.take(), { code: 'BKR_ERR_HANDOVER_DECIDED' });
      },
    ]);
    const client = await handOver(path, { kind });
    await until('it is taken', () => taken !== undefined);
    t.deepEqual(events, ['close false']);
    t.is(server.stats().connections, 0);
    const handover = taken as Handover;
    const passed = handover.kind === 'relay' ? handover.connection : handover.passedFd;
    const socket = new Socket({ fd: passed.take(), readable: true, writable: true });
    socket.end('from the one who took it');
    socket.resume();
    t.is(await client.readToEnd(), 'from the one who took it');
    await (socket.closed ? undefined : once(socket, 'close'));
    closeHandover(handover);
  });

  const mistakes: Record<string, HandoverMiddleware> = {
    'throws at once': () => {
      throw new Error('a mistake');
    },
    'throws later': async () => {
      await delay(10);
      throw new Error('a mistake');
    },
    'calls next with an error': (_handover, next) => next(new Error('a mistake')),
    'rejects with no status for an answer': (handover) => handover.reject(200),
  };
  for (const [title, middleware] of Object.entries(mistakes)) {
    test(`${kind}: a middleware that ${title}: 500, one error, and the next client is served`, async (t) => {
      let isRight = false;
      const served = await start(t, () => [
        (handover, next) => (isRight ? next() : middleware(handover, next)),
      ]);
      const { path, errors, lines, events, server } = served;
      const client = await handOver(path, { kind });
      t.is(status(await client.readToEnd()), '500');
      await until('it is closed', () => server.stats().connections === 0);
      t.deepEqual(errors, ['BKR_ERR_MIDDLEWARE']);
      t.deepEqual(server.stats().errors, { BKR_ERR_MIDDLEWARE: 1 });
      t.is(lines.length, 1);
      t.deepEqual(events.splice(0), ['close false']);
      isRight = true;
      t.is(status(await (await handOver(path, { kind })).readToEnd()), '200');
    });
  }

  test(`${kind}: no decision within middlewareTimeoutMs: 503, and a late next() changes nothing`, async (t) => {
    let late = (): void => {};
    const middleware: HandoverMiddleware = (_handover, next) => {
      late = next;
    };
    const { path, errors, events, server } = await start(t, () => [middleware], { middlewareTimeoutMs: 100 });
    const began = performance.now();
    const client = await handOver(path, { kind });
    await until('the middleware has it', () => server.stats().connections === 1);
    t.is(status(await client.readToEnd()), '503');
    const tookMs = performance.now() - began;
    t.true(tookMs > 90 && tookMs < 9000, `${tookMs} ms`);
    late();
    await until('it is closed', () => server.stats().connections === 0);
    t.deepEqual(errors, ['BKR_ERR_MIDDLEWARE_TIMEOUT']);
    t.deepEqual(events, ['close false']);
  });

  test(`${kind}: a client that leaves while its middleware is at work`, async (t) => {
    let goOn = (): void => {};
    const { path, events, server } = await start(t, () => [
      (_handover, next) => {
        goOn = next;
      },
    ]);
    const client = await handOver(path, { kind });
    await until('the middleware has it', () => server.stats().connections === 1);
    await client.close();
    goOn();
    await until('it is closed', () => server.stats().connections === 0);
    t.is(events.filter((event) => event.startsWith('close')).length, 1);
  });

  test(`${kind}: a guard answers each request it does not let pass, and the connection is closed`, async (t) => {
    const guarded: (string | undefined)[] = [];
    const { path, events, server } = await start(
      t,
      () => [
        (handover, next) => {
          handover.guard((request) => {
            guarded.push(request.url);
            return request.url === '/secret' ? 403 : undefined;
          });
          next();
        },
      ],
      { keepAlive: { scope: '/' } },
    );
    const later = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: example.test\r\n\r\n`;
    const denied = await handOver(path, { kind, target: '/secret' });
    t.is(status(await denied.readToEnd()), '403');
    t.deepEqual(guarded.splice(0), ['/secret']);
    if (kind === 'relay') return;
    const client = await handOver(path, { kind, target: '/1' });
    await client.send(later('/2') + later('/secret') + later('/4'));
    t.deepEqual((await client.readToEnd()).match(/HTTP\/1\.1 \d+/g), [
      'HTTP/1.1 200',
      'HTTP/1.1 200',
      'HTTP/1.1 403',
    ]);
    t.deepEqual(guarded, ['/1', '/2', '/secret']);
    await until('both are closed', () => server.stats().connections === 0);
    t.deepEqual(events, ['close false', 'request', 'request', 'close false']);
  });
}

test('a guard judges upgrades as well', async (t) => {
  const { path, server } = await start(t, () => [
    (handover, next) => {
      handover.guard((request) => (request.headers.authorization === undefined ? 401 : undefined));
      next();
    },
  ]);
  server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
  const upgrade = { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'websocket' };
  t.is(status(await (await handOver(path, { headers: upgrade })).readToEnd()), '401');
  const authorized = { ...upgrade, HTTP_AUTHORIZATION: 'Bearer token' };
  t.is(status(await (await handOver(path, { headers: authorized })).readToEnd()), '101');
});

test.serial(
  'a descriptor that cannot be made a socket: BKR_ERR_ADOPT, closed, and the next client is served',
  async (t) => {
    const source = new ClientSource();
    const accepted = await source.next();
    source.close();
    const ours = accepted.fd;
    let isBroken = true;
    const { path, errors, events, server } = await start(t, () => [
      (_handover, next) => {
        // Somebody closed it behind its owner's back.
        const target = openDescriptors().get(ours);
        const [received] = [...openDescriptors()].find(([fd, each]) => each === target && fd !== ours) ?? [];
        if (isBroken && received !== undefined) native.closeFd(received);
        isBroken = false;
        next();
      },
    ]);
    const client = await handOver(path, { accepted });
    await until('it fails', () => errors.length > 0);
    t.deepEqual(errors, ['BKR_ERR_ADOPT']);
    t.is(await client.readToEnd(), '');
    t.deepEqual(events, ['close true']);
    t.is(server.stats().connections, 0);
    t.is(status(await (await handOver(path)).readToEnd()), '200');
  },
);

test('heads that cannot be served are answered after the middleware, and close exactly once', async (t) => {
  for (const [headers, expected, code] of [
    [{ REQUEST_METHOD: 'NO TOKEN' }, '400', 'BKR_ERR_REQUEST_HEAD'],
    [{ HTTP_CONTENT_LENGTH: '5', HTTP_TRANSFER_ENCODING: 'chunked' }, '400', 'BKR_ERR_REQUEST_HEAD'],
    [{ HTTP_X: 'a\r\nInjected: b' }, '400', 'BKR_ERR_REQUEST_HEAD'],
    [{ SERVER_PROTOCOL: 'HTTP/2.0' }, '505', 'BKR_ERR_HTTP_VERSION'],
  ] as const) {
    const { path, events, errors, server } = await start(t, (order) => [
      (_handover, next) => {
        order.push('middleware');
        next();
      },
    ]);
    const client = await handOver(path, { headers });
    t.is(status(await client.readToEnd()), expected);
    await until('it is closed', () => server.stats().connections === 0);
    t.deepEqual(errors, [code]);
    t.deepEqual(events, ['middleware', 'close false']);
  }
});

test('a relayed websocket upgrade: 426 that names what is wanted', async (t) => {
  const { path, errors } = await serve(t);
  const client = await handOver(path, { kind: 'relay', headers: { HTTP_UPGRADE: 'websocket' } });
  const answer = await client.readToEnd();
  t.is(status(answer), '426');
  t.deepEqual(errors, ['BKR_ERR_RELAYED_UPGRADE']);
});

test('a hundred handovers whose middleware never decides leave nothing when the server is destroyed', async (t) => {
  const { path, server, events } = await start(t, () => [() => {}]);
  const clients = await Promise.all(
    Array.from({ length: 100 }, async () => handOver(path, { kind: 'full' })),
  );
  await until('all wait', () => server.stats().connections === 100);
  server.destroy();
  for (const client of clients) t.is(await client.readToEnd(), '');
  t.deepEqual(events, Array(100).fill('close false'));
});
