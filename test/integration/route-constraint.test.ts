// Which route of a path serves a connection that came by handover: by its addresses, its port and its interface. All of 127.0.0.0/8 is
// local: parts of it stand for a host's prefixes.
import {
  connectionConstraintPlugin,
  createFrontDoor,
  interfaceStats,
  prefixMatcher,
  prefixRouter,
} from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify';
import { ClientSource } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type AppOptions, appWays } from '../helpers/fastify-app.js';
import { type HandedClient, type HandOverOptions, handOver } from '../helpers/hand-over.js';
import { RawClient } from '../helpers/raw-client.js';
import { serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];

/** Status, and the body of a 200. */
const answered = (answer: string): string => {
  const [, status, body] = /^(?:HTTP\/1\.1|Status:) (\d+).*?\r\n\r\n(.*)$/s.exec(answer) ?? [];
  return status === '200' ? `${body}` : `${status}`;
};

interface To extends HandOverOptions {
  /** The address the client connects to. @default '127.0.0.1' */
  local?: string;
}

/** A client of an address; the kernel says which, and in a relay the web server. */
async function handTo(
  path: string,
  { local = '127.0.0.1', headers = {}, ...options }: To,
): Promise<HandedClient> {
  if (options.kind === 'relay') {
    const said = { SERVER_ADDR: local, SERVER_PORT: '80', ...headers };
    return handOver(path, { ...options, headers: said });
  }
  const source = new ClientSource(local.includes(':') ? '::' : '0.0.0.0');
  const accepted = await source.next(local);
  source.close();
  return handOver(path, { ...options, headers, accepted });
}

const ask = async (path: string, to: To): Promise<string> =>
  answered(
    await (await handTo(path, { ...to, headers: { HTTP_CONNECTION: 'close', ...to.headers } })).readToEnd(),
  );

/** An application with these routes, listening on a path. */
async function listening(
  t: ExecutionContext,
  routes: (app: FastifyInstance) => unknown,
  options: AppOptions = {},
): Promise<string> {
  const { app, listen } = appWays.full(t, { handover: { keepAlive: { scope: '/' } }, ...options });
  await app.register(connectionConstraintPlugin);
  await routes(app);
  return (await listen()).path as string;
}

type Connection = NonNullable<NonNullable<RouteOptions['constraints']>['connection']>;

/** A route that says which it is. */
const says = (text: string, connection?: Connection, more: Partial<RouteOptions> = {}): RouteOptions => ({
  method: 'GET',
  url: '/',
  handler: async () => text,
  ...more,
  constraints: { ...more.constraints, ...(connection === undefined ? {} : { connection }) },
});

const ROUTES: readonly RouteOptions[] = [
  says('long', { localPrefix: '127.0.1.0/24' }),
  says('short', { localPrefix: '127.0.0.0/16' }),
  says('longest, for a partner', { localPrefix: '127.0.1.128/25', sourcePrefix: '198.51.100.0/24' }),
  says('ipv6', { localPrefix: '::1' }),
  says('others'),
];

for (const kind of KINDS) {
  for (const [what, to, text] of [
    ['the longer prefix', { local: '127.0.1.1' }, 'long'],
    ['the shorter prefix', { local: '127.0.2.1' }, 'short'],
    ['prefix and source', { local: '127.0.1.129', address: '198.51.100.1' }, 'longest, for a partner'],
    ['the shorter prefix, where the longest is for another source', { local: '127.0.1.129' }, 'long'],
    ['IPv6', { local: '::1' }, 'ipv6'],
    ['nothing: the route without a constraint', { local: '127.1.0.1' }, 'others'],
  ] as [string, To, string][]) {
    test(`${kind}: a route is found by ${what}, whatever the order they are declared in`, async (t) => {
      for (const routes of [ROUTES, ROUTES.toReversed()]) {
        const path = await listening(t, (app) => {
          for (const route of routes) app.route(route);
        });
        t.is(await ask(path, { ...to, kind }), text);
      }
    });
  }
}

test('a client of IPv4 that came by a socket for both families', async (t) => {
  const path = await listening(t, (app) => {
    for (const route of ROUTES) app.route(route);
  });
  const source = new ClientSource('::');
  const accepted = await source.next('127.0.1.129');
  source.close();
  const headers = { HTTP_CONNECTION: 'close' };
  const client = await handOver(path, { accepted, headers, address: '::ffff:198.51.100.1' });
  t.is(answered(await client.readToEnd()), 'longest, for a partner');
});

test('without a route that matches it is 404, and HEAD and other methods have their own', async (t) => {
  const path = await listening(t, (app) => {
    app.route(says('here', { localPrefix: '127.0.1.0/24' }));
    app.route(says('there', { localPrefix: '127.0.2.0/24' }, { method: ['PUT', 'POST'] }));
  });
  const asked = async (method: string, local: string): Promise<string> =>
    answered(
      await (await handTo(path, { method, local, headers: { HTTP_CONNECTION: 'close' } })).readToEnd(),
    );
  t.is(await asked('GET', '127.0.1.1'), 'here');
  t.is(await asked('GET', '127.0.2.1'), '404');
  t.is(await asked('HEAD', '127.0.1.1'), '');
  t.is(await asked('HEAD', '127.0.2.1'), '404');
  t.is(await asked('PUT', '127.0.2.1'), 'there');
  t.is(await asked('POST', '127.0.2.1'), 'there');
  t.is(await asked('POST', '127.0.1.1'), '404');
});

test('routes of plugins with a prefix, and paths with parameters', async (t) => {
  const path = await listening(t, async (app) => {
    await app.register(
      async (scope) => {
        scope.route(says('a', { localPrefix: '127.0.1.0/24' }, { url: '/:name' }));
        scope.route(says('b', { localPrefix: '127.0.2.0/24' }, { url: '/:name' }));
      },
      { prefix: '/v1' },
    );
    app.route(says('any', undefined, { url: '/v1/*' }));
  });
  t.is(await ask(path, { target: '/v1/x', local: '127.0.1.1' }), 'a');
  t.is(await ask(path, { target: '/v1/x', local: '127.0.2.1' }), 'b');
  t.is(await ask(path, { target: '/v1/x', local: '127.0.3.1' }), 'any');
});

test('beside host and version: routes of a shorter prefix are taken where those of the longer one are for others', async (t) => {
  const path = await listening(t, (app) => {
    app.route(says('other host', undefined, { constraints: { host: 'd.test' } }));
    app.route(says('shortest', { localPrefix: '127.0.0.0/8' }, { constraints: { host: 'c.test' } }));
    app.route(says('long a', { localPrefix: '127.0.1.0/24' }, { constraints: { host: 'a.test' } }));
    app.route(says('long b', { localPrefix: '127.0.1.0/24' }, { constraints: { host: 'b.test' } }));
    app.route(says('long 2', { localPrefix: '127.0.1.0/24' }, { constraints: { version: '2.0.0' } }));
    app.route(says('short', { localPrefix: '127.0.0.0/16' }));
    app.route(says('others'));
  });
  const asked = (local: string, HTTP_HOST: string, more = {}): Promise<string> =>
    ask(path, { local, headers: { HTTP_HOST, ...more } });
  t.is(await asked('127.0.1.1', 'a.test'), 'long a');
  t.is(await asked('127.0.1.1', 'b.test'), 'long b');
  t.is(await asked('127.0.1.1', 'x.test', { HTTP_ACCEPT_VERSION: '2.x' }), 'long 2');
  t.is(await asked('127.0.2.1', 'a.test'), 'short');
  t.is(await asked('127.0.1.1', 'x.test'), 'short');
  t.is(await asked('127.1.0.1', 'c.test'), 'shortest');
  t.is(await asked('127.1.0.1', 'd.test'), 'other host');
  t.is(await asked('127.1.0.1', 'x.test'), 'others');
});

test('beside host: no route is taken for one of a longer prefix, whatever the order they are declared in', async (t) => {
  const routes = [
    says('long', { localPrefix: '127.0.1.0/24' }, { constraints: { host: 'a.test' } }),
    says('short', { localPrefix: '127.0.0.0/16' }, { constraints: { host: 'a.test' } }),
  ];
  for (const declared of [routes, routes.toReversed()]) {
    const path = await listening(t, (app) => {
      for (const route of declared) app.route(route);
    });
    t.is(await ask(path, { local: '127.0.1.1', headers: { HTTP_HOST: 'a.test' } }), 'long');
    t.is(await ask(path, { local: '127.0.2.1', headers: { HTTP_HOST: 'a.test' } }), 'short');
    t.is(await ask(path, { local: '127.0.2.1', headers: { HTTP_HOST: 'b.test' } }), '404');
  }
});

test('the port, which the kernel knows', async (t) => {
  const source = new ClientSource('0.0.0.0');
  t.teardown(() => source.close());
  const path = await listening(t, (app) => {
    app.route(says('that port', { port: source.port }));
    app.route(says('that port there', { localPrefix: '127.0.1.0/24', port: source.port }));
    app.route(says('there', { localPrefix: '127.0.1.0/24' }));
  });
  const headers = { HTTP_CONNECTION: 'close' };
  const asked = async (host: string): Promise<string> =>
    answered(await (await handOver(path, { headers, accepted: await source.next(host) })).readToEnd());
  t.is(await asked('127.0.1.1'), 'that port there');
  t.is(await asked('127.0.2.1'), 'that port');
  t.is(await ask(path, { local: '127.0.1.1' }), 'there');
});

for (const [what, configure, ingress] of [
  ['its name', {}, 'lo'],
  [
    'the source tag a middleware gives it',
    {
      configure: (server) => server.use(interfaceStats({ interfaces: [{ device: 'lo', tag: 'mg1' }] })),
    },
    'mg1',
  ],
] as [string, Pick<AppOptions, 'configure'>, string][]) {
  test(`the ingress interface, by ${what}`, async (t) => {
    const path = await listening(
      t,
      (app) => {
        for (const name of ['lo', 'mg1', 'mg2']) app.route(says(name, { ingress: name }));
        app.route(says('relayed'));
      },
      configure,
    );
    t.is(await ask(path, {}), ingress);
    t.is(await ask(path, { kind: 'partial' }), ingress);
    t.is(await ask(path, { kind: 'relay' }), 'relayed');
  });
}

for (const lean of [true, false]) {
  for (const kind of ['full', 'partial'] as const) {
    test(`${kind}, lean ${lean}: later requests of a connection find their routes by the same connection`, async (t) => {
      const path = await listening(
        t,
        (app) => {
          for (const url of ['/a', '/b']) {
            app.route(says(`one ${url}.`, { localPrefix: '127.0.1.0/24' }, { url }));
            app.route(says(`two ${url}.`, { localPrefix: '127.0.2.0/24', ingress: 'lo' }, { url }));
          }
        },
        { handover: { keepAlive: { scope: '/' }, lean } },
      );
      const one = await handTo(path, { kind, local: '127.0.1.1', target: '/a' });
      const two = await handTo(path, { kind, local: '127.0.2.1', target: '/a' });
      t.true((await one.readUntil('one /a.')).endsWith('one /a.'));
      t.true((await two.readUntil('two /a.')).endsWith('two /a.'));
      for (const [client, text] of [
        [one, 'one /b.'],
        [two, 'two /b.'],
      ] as const) {
        await client.send('GET /b HTTP/1.1\r\nHost: example.test\r\n\r\n');
        t.true((await client.readUntil(text)).endsWith(text));
        await client.close();
      }
    });
  }
}

test('a client of a UNIX socket and one that Fastify accepts itself get the route without a constraint', async (t) => {
  const routes = (app: FastifyInstance): void => {
    app.route(says('IPv4', { localPrefix: '0.0.0.0/0' }));
    app.route(says('others'));
  };
  const path = await listening(t, routes);
  t.is(await ask(path, { kind: 'relay', local: 'unix:', address: 'unix:' }), 'others');
  t.is(await ask(path, {}), 'IPv4');
  const { app, listen } = appWays['plain Fastify'](t);
  await app.register(connectionConstraintPlugin);
  routes(app);
  const client = await (await listen()).connect();
  await client.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  t.is(answered(await client.readToEnd()), 'others');
});

test('in an application that a prefix router gives connections to, also for later requests', async (t) => {
  const app = Fastify();
  t.teardown(() => app.close());
  await app.register(connectionConstraintPlugin);
  app.route(says('one.', { localPrefix: '127.0.1.0/24' }));
  app.route(says('others.'));
  const { path, server } = await serve(t, { keepAlive: { scope: '/' } });
  server.use(prefixRouter({ routes: [{ prefix: '127.0.0.0/16', to: app }] }));
  for (const [local, text] of [
    ['127.0.1.1', 'one.'],
    ['127.0.2.1', 'others.'],
  ] as const) {
    const client = await handTo(path, { local });
    t.true((await client.readUntil(text)).endsWith(text));
    const before = client.received.length;
    await client.send('GET / HTTP/1.1\r\nHost: example.test\r\n\r\n');
    await until('it is answered', () => client.received.slice(before).endsWith(text));
    await client.close();
  }
});

test('behind the front door, 31 routes and compiled ones', async (t) => {
  const path = await listening(
    t,
    (app) => {
      for (let nth = 1; nth <= 30; nth++) app.route(says(`${nth}`, { localPrefix: `127.0.${nth}.0/24` }));
      app.route(says('others'));
    },
    { fastify: { routerOptions: { compile: true } } },
  );
  const door = createFrontDoor({ listeners: [{ host: '0.0.0.0', port: 0, to: path }] });
  await door.listen();
  t.teardown(() => door.destroy());
  const port = door.addresses()[0]?.port ?? 0;
  for (const [host, text] of [
    ['127.0.1.1', '1'],
    ['127.0.30.1', '30'],
    ['127.0.31.1', 'others'],
  ] as const) {
    const client = await RawClient.connect(port, host);
    await client.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    t.is(answered(await client.readToEnd()), text);
  }
});

test('matchPrefix() in a handler of plain http, also for later requests', async (t) => {
  const matchPrefix = prefixMatcher([
    { localPrefix: '127.0.1.0/24', value: 'one' },
    { localPrefix: '127.0.0.0/16', value: 'all' },
    { localPrefix: '127.0.1.0/24', sourcePrefix: '198.51.100.0/24', value: 'partner' },
  ]);
  const { path } = await serve(t, { keepAlive: { scope: '/' } }, (request, response) =>
    response.end(`${matchPrefix(request)} ${matchPrefix(request.socket)} ${request.url}.`),
  );
  for (const [to, text] of [
    [{ local: '127.0.1.1' }, 'one one'],
    [{ local: '127.0.2.1' }, 'all all'],
    [{ local: '127.0.1.1', address: '198.51.100.1' }, 'partner partner'],
    [{ local: '127.1.0.1' }, 'undefined undefined'],
  ] as [To, string][]) {
    const client = await handTo(path, to);
    t.true((await client.readUntil(' /.')).endsWith(`${text} /.`));
    await client.send('GET /again HTTP/1.1\r\nHost: example.test\r\n\r\n');
    t.true((await client.readUntil(' /again.')).endsWith(`${text} /again.`));
    await client.close();
  }
});
