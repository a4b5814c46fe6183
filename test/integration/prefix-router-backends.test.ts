// Connections that a router passes on to other backends: message and descriptors arrive there as if they came first-hand, and what no
// backend takes is answered, or goes to the next target, never to another route.
import { once } from 'node:events';
import { join } from 'node:path';
import {
  connectionInfo,
  createServer,
  type HandoverMiddleware,
  type HandoverServerOptions,
  type PrefixRouterOptions,
  prefixRouter,
} from '@fdpass/backend-runtime';
import { type HandoverKind, PassedFd } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { handOverAt } from '../helpers/local-clients.js';
import { BLUE, body, type Routed, route as routeTo, status } from '../helpers/routed.js';
import { closed, type Served, serve, temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

const native = loadNative();
guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];

const route = (
  t: ExecutionContext,
  options: PrefixRouterOptions,
  serverOptions?: HandoverServerOptions,
): Promise<Routed> => routeTo(t, (_request, response) => response.end('router'), options, serverOptions);

const backend = (t: ExecutionContext, name: string, options: HandoverServerOptions = {}): Promise<Served> =>
  serve(t, options, async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    response.end(`${name} ${request.url} ${text}`);
  });

interface SilentBackend {
  readonly path: string;
  /** Idempotent; whoever waits for its answer is refused. */
  close(): void;
}

/** A backend that is there and says nothing. */
async function silentBackend(t: ExecutionContext): Promise<SilentBackend> {
  const path = join(await temporaryFolder(t), 'silent');
  const listening = new PassedFd(native.bindUnix(path, 0o600));
  native.listen(listening.fd, 16);
  const close = (): void => listening.close();
  t.teardown(close);
  return { path, close };
}

const failing: HandoverMiddleware = (_handover, next) => {
  next();
  throw new Error('too late');
};

const nowhere = async (t: ExecutionContext): Promise<string> => join(await temporaryFolder(t), 'nobody');

for (const kind of KINDS) {
  for (const version of kind === 'relay' ? ([0] as const) : ([0, 1] as const)) {
    test(`${kind}, version ${version}: passed on with its body and facts`, async (t) => {
      const blue = await serve(
        t,
        { trustedRouters: { uids: [process.getuid?.() ?? 0] } },
        (request, response) => {
          let text = '';
          request.on('data', (chunk) => {
            text += chunk;
          });
          request.on('end', () => {
            const { handover, client, local, hops, sender, variables } = connectionInfo(request);
            response.end(JSON.stringify({ text, handover, client, local, hops, sender, variables }));
          });
        },
      );
      const { path, router, server } = await route(t, {
        routes: [{ prefix: BLUE, to: `unix:${blue.path}` }],
      });
      const client = await handOverAt(path, '127.1.0.1', kind, {
        version,
        method: 'POST',
        headers: { X_TAG: 'a', ...(kind === 'relay' ? {} : { HTTP_CONTENT_LENGTH: '10' }) },
        earlyBytes: version === 0 && kind !== 'relay' ? '' : '01234',
        bodyBytes: 10,
      });
      await client.send(version === 0 && kind !== 'relay' ? '0123456789' : '56789');
      const answer = await client.readToEnd();
      const facts = JSON.parse(body(answer).replace(/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$/g, ''));
      t.is(facts.text, '0123456789');
      t.is(facts.handover, kind);
      t.is(facts.client.address, '192.0.2.7');
      t.is(facts.local.address, '127.1.0.1');
      t.is(facts.hops, 1);
      t.is(facts.sender.pid, process.pid);
      t.is(facts.variables.X_TAG, 'a');
      t.deepEqual(router.stats(), { routes: [1], misses: 0, passedOn: 1, refused: {} });
      t.is(server.stats().connections, 0);
    });
  }

  test(`${kind}: the next backend when one is not there, and refuses, and is full`, async (t) => {
    const refusing = await backend(t, 'refusing');
    refusing.server.maxConnections = 0;
    const blue = await backend(t, 'blue');
    const { path, router } = await route(t, {
      routes: [{ prefix: BLUE, to: [`unix:${await nowhere(t)}`, refusing.path, blue.path] }],
    });
    const client = await handOverAt(path, '127.1.0.1', kind);
    t.is(body(await client.readToEnd()), 'blue / ');
    t.deepEqual(router.stats().refused, { FDPASS_ERR_BACKEND_DOWN: 1, FDPASS_ERR_REFUSED: 1 });
  });

  test(`${kind}: no backend is there: 503, and no other route's`, async (t) => {
    const lines: string[] = [];
    const { path, errors, router } = await route(t, {
      routes: [{ prefix: BLUE, to: await nowhere(t) }, { to: 'here' }],
      default: 'here',
      logger: { warn: (_facts: object, message: string) => void lines.push(message) },
    });
    const client = await handOverAt(path, '127.1.0.1', kind);
    t.is(status(await client.readToEnd()), '503');
    t.deepEqual(errors, ['BKR_ERR_ROUTE_DOWN']);
    t.deepEqual(router.stats(), {
      routes: [1, 0],
      misses: 0,
      passedOn: 0,
      refused: { FDPASS_ERR_BACKEND_DOWN: 1 },
    });
    t.regex(lines.join(), /^unix:\/\S+\/nobody did not take a connection: /);
  });

  test(`${kind}: no backend is there: the last target, with the client untouched`, async (t) => {
    const { path, errors } = await route(t, { routes: [{ prefix: BLUE, to: [await nowhere(t), 'here'] }] });
    const client = await handOverAt(path, '127.1.0.1', kind);
    t.is(body(await client.readToEnd()), 'router');
    t.deepEqual(errors, []);
  });

  test(`${kind}: a backend that says nothing costs its time, and no middleware's`, async (t) => {
    const { path, errors, server } = await route(
      t,
      { routes: [{ prefix: BLUE, to: [(await silentBackend(t)).path] }], sendTimeoutMs: 200 },
      { middlewareTimeoutMs: 20 },
    );
    const client = await handOverAt(path, '127.1.0.1', kind);
    await until('it is offered', () => server.stats().connections === 1);
    t.is(status(await client.readToEnd()), '503');
    t.deepEqual(errors, ['BKR_ERR_ROUTE_DOWN']);
  });

  test(`${kind}: the server is destroyed while a backend is asked`, async (t) => {
    const { path, server } = await route(t, {
      routes: [{ prefix: BLUE, to: (await silentBackend(t)).path }],
      // Far longer than the test may take.
      sendTimeoutMs: 600_000,
    });
    const client = await handOverAt(path, '127.1.0.1', kind);
    await until('it is offered', () => server.stats().connections === 1);
    await closed(server);
    t.is(await client.readToEnd(), '');
  });

  for (const [what, middleware] of [
    ['throws', failing],
    ['rejects', async (_handover, next) => failing(_handover, next)],
  ] as [string, HandoverMiddleware][]) {
    test(`${kind}: a middleware ${what} while a backend is asked: that is reported, and the backend has its say`, async (t) => {
      const silent = await silentBackend(t);
      const { path, errors, server } = await serve(t);
      server.use(middleware, prefixRouter({ routes: [{ to: [silent.path, { reject: 404 }] }] }));
      const client = await handOver(path, { kind });
      await until('it is reported', () => errors.length > 0);
      silent.close();
      t.is(status(await client.readToEnd()), '404');
      t.deepEqual(errors, ['BKR_ERR_MIDDLEWARE']);
    });
  }

  test(`${kind}: two routers that pass a connection to each other`, async (t) => {
    const first = await route(t, { routes: [] });
    const second = await route(t, { routes: [{ to: first.path }] });
    first.router.replace({ routes: [{ to: second.path }] });
    const client = await handOver(first.path, { kind });
    t.is(status(await client.readToEnd()), '508');
    t.is(first.router.stats().passedOn + second.router.stats().passedOn, 5);
    t.deepEqual([...first.errors, ...second.errors], ['BKR_ERR_ROUTE_HOPS']);
  });
}

test('later requests of a connection go to the backend that has it', async (t) => {
  const blue = await backend(t, 'blue', { keepAlive: { scope: '/' } });
  const { path } = await route(t, { routes: [{ prefix: BLUE, to: blue.path }] });
  const client = await handOverAt(path, '127.1.0.1', 'full');
  await client.readUntil('blue / ');
  await client.send('GET /2 HTTP/1.1\r\nHost: example.test\r\n\r\n');
  await client.readUntil('blue /2 ');
  t.is(blue.server.stats().connections, 1);
  await client.close();
});

test('a backend that goes and comes back', async (t) => {
  const blue = await backend(t, 'blue');
  const { path } = await route(t, { routes: [{ prefix: BLUE, to: blue.path }] });
  const ask = async (): Promise<string> => {
    const client = await handOverAt(path, '127.1.0.1', 'full');
    return status(await client.readToEnd());
  };
  t.is(await ask(), '200');
  await closed(blue.server);
  t.is(await ask(), '503');
  blue.server.listen({ path: blue.path });
  await once(blue.server, 'listening');
  t.is(await ask(), '200');
});

test("a route to the server's own socket is refused, and the routes in force stay", async (t) => {
  const { path, router } = await route(t, { routes: [{ prefix: BLUE, to: 'here' }] });
  for (const routes of [
    { routes: [{ to: 'here' }], default: path },
    { routes: [{ to: [await nowhere(t), path] }] },
    { routes: [{ to: 'loop' }], targets: { loop: `unix:${path}` } },
  ] as const) {
    const error = t.throws(() => router.replace(routes), { code: 'BKR_ERR_ROUTE_LOOP' });
    t.regex(error?.message ?? '', /^(?:routes\[0\]|default) passes connections on to unix:/);
  }
  const client = await handOverAt(path, '127.1.0.1', 'full');
  t.is(body(await client.readToEnd()), 'router');
});

test("a router that is refused for a route to the server's own socket is not used", async (t) => {
  const { path, server } = await serve(t);
  t.throws(() => server.use(prefixRouter({ routes: [{ to: path }] })), { code: 'BKR_ERR_ROUTE_LOOP' });
  const client = await handOver(path);
  t.is(body(await client.readToEnd()), 'served');
});

test('one that listens on its own target later answers 508', async (t) => {
  const path = join(await temporaryFolder(t), 'socket');
  const server = createServer((_request, response) => response.end());
  server.use(prefixRouter({ routes: [{ to: path }] }));
  const errors: string[] = [];
  server.on('handoverError', ({ code }) => errors.push(code));
  server.listen({ path });
  await once(server, 'listening');
  t.teardown(() => closed(server));
  const client = await handOver(path);
  t.is(status(await client.readToEnd()), '508');
  t.deepEqual(errors, ['BKR_ERR_ROUTE_HOPS']);
});

test('many at once, by turns to backends and to oneself', async (t) => {
  const blue = await backend(t, 'blue');
  const { path, router } = await route(t, { routes: [{ prefix: BLUE, to: blue.path }], default: 'here' });
  const asked = Array.from({ length: 60 }, async (_, nth) => {
    const isBlue = nth % 2 === 0;
    const kind = KINDS[nth % 3] as HandoverKind;
    const client = await handOverAt(path, isBlue ? '127.1.0.1' : '127.2.0.1', kind, { target: `/${nth}` });
    return [isBlue ? `blue /${nth} ` : 'router', body(await client.readToEnd())];
  });
  for (const [wanted, got] of await Promise.all(asked)) t.is(got, wanted);
  t.is(router.stats().passedOn, 30);
});

for (const kind of ['full', 'partial'] as const) {
  test(`${kind}: a client that leaves while a backend is asked is nobody's failure`, async (t) => {
    const { path, errors, router, server } = await route(t, {
      routes: [{ prefix: BLUE, to: (await silentBackend(t)).path }],
      sendTimeoutMs: 200,
    });
    const client = await handOverAt(path, '127.1.0.1', kind);
    await until('it is offered', () => server.stats().connections === 1);
    client.answer.socket.resetAndDestroy();
    await until('it is let go of', () => server.stats().connections === 0);
    await client.close();
    t.deepEqual(errors, []);
    t.is(router.stats().passedOn, 0);
  });
}
