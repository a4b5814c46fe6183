// What Fastify says of routes with a connection when they are declared, and who is served without one. Requests that have one:
// test/integration/route-constraint.test.ts.
import { connectionConstraintPlugin } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify';
import { ConnectionFacts } from '#runtime/connection-info.js';
import { MatchedConnection } from '#runtime/routing/matched-connection.js';
import { ConnectionStorage } from '#runtime/routing/route-constraint.js';
import { requestEntries, standIn } from '../../helpers/stand-in-handover.js';

async function constrained(t: ExecutionContext): Promise<FastifyInstance> {
  const app = Fastify();
  t.teardown(() => app.close());
  await app.register(connectionConstraintPlugin);
  return app;
}

type Connection = NonNullable<NonNullable<RouteOptions['constraints']>['connection']>;
const handler = async (): Promise<string> => 'served';
const prefix = (nth: number): { localPrefix: string } => ({ localPrefix: `10.0.${nth}.0/24` });

for (const [what, connection, code, message] of [
  ['no object', '10.0.0.0/8', 'BKR_ERR_OPTION', /constraints\.connection must be an object$/],
  ['null', null, 'BKR_ERR_OPTION', /constraints\.connection must be an object$/],
  [
    'an unknown member',
    { localPrefx: '10.0.0.0/8' },
    'BKR_ERR_OPTION',
    /connection\.localPrefx must be left out/,
  ],
  [
    'a prefix',
    { localPrefix: '10.0.0/8' },
    'BKR_ERR_PREFIX',
    /^constraints\.connection\.localPrefix is no prefix/,
  ],
  ['a port', { port: 65_536 }, 'BKR_ERR_OPTION', /constraints\.connection\.port must be an integer/],
  [
    'a source',
    { sourcePrefix: '::/129' },
    'BKR_ERR_PREFIX',
    /^constraints\.connection\.sourcePrefix is no prefix/,
  ],
  [
    'an interface',
    { ingress: 1 },
    'BKR_ERR_OPTION',
    /constraints\.connection\.ingress must be the source tag/,
  ],
] as [string, object, string, RegExp][]) {
  test(`a route refuses ${what} that is wrong, where it is declared`, async (t) => {
    const app = await constrained(t);
    const constraints = { connection: connection as Connection };
    t.throws(() => app.get('/', { constraints }, handler), { code, message });
  });
}

test('the same on one path twice is the error it is in Fastify', async (t) => {
  const app = await constrained(t);
  app.get('/', { constraints: { connection: { port: 80, ...prefix(1) } } }, handler);
  app.get('/other', { constraints: { connection: { ...prefix(1), port: 80 } } }, handler);
  t.throws(() => app.get('/', { constraints: { connection: { ...prefix(1), port: 80 } } }, handler), {
    any: true,
    code: 'FST_ERR_DUPLICATED_ROUTE',
  });
});

for (const [what, first, second] of [
  ['a mapped prefix', { localPrefix: '10.0.0.0/8' }, { localPrefix: '::ffff:10.0.0.0/104' }],
  ['an IPv6 prefix', { localPrefix: '2001:db8::/32' }, { localPrefix: '2001:db8:0::/32' }],
  ['an address', { sourcePrefix: '10.0.0.1' }, { sourcePrefix: '10.0.0.1/32' }],
  ['what is undefined', { port: 80 }, { port: 80, ingress: undefined }],
] as [string, Connection, Connection][]) {
  test(`the same in two spellings is refused, as one route would hide the other: ${what}`, async (t) => {
    const app = await constrained(t);
    app.get('/', { constraints: { connection: first } }, handler);
    t.throws(() => app.get('/', { constraints: { connection: second } }, handler), {
      code: 'BKR_ERR_PREFIX_TWICE',
      message: /^constraints\.connection \{.*\} and \{.*\} are for the same connections: write them alike$/,
    });
  });
}

test('31 routes of a path and method are the most: the next one names them', async (t) => {
  const app = await constrained(t);
  app.get('/', handler);
  for (let nth = 0; nth < 30; nth++) app.get('/', { constraints: { connection: prefix(nth) } }, handler);
  t.throws(() => app.get('/', { constraints: { connection: prefix(30) } }, handler), {
    code: 'BKR_ERR_ROUTE_HANDLERS',
    message: /^GET \/ has more than 31 handlers, .*prefixMatcher\(\)$/,
  });
  app.get('/other', { constraints: { connection: prefix(30) } }, handler);
  app.post('/', { constraints: { connection: prefix(30) } }, handler);
  await app.ready();
});

test('the route without a constraint is one of the 31', async (t) => {
  const app = await constrained(t);
  for (let nth = 0; nth < 31; nth++) app.get('/', { constraints: { connection: prefix(nth) } }, handler);
  t.throws(() => app.get('/', handler), { code: 'BKR_ERR_ROUTE_HANDLERS' });
});

test('31 routes are the most in a plugin with a prefix, too', async (t) => {
  const app = await constrained(t);
  app.register(
    async (scope) => {
      for (let nth = 0; nth < 32; nth++) {
        scope.route({
          method: ['PUT', 'POST'],
          url: '/a',
          constraints: { connection: prefix(nth) },
          handler,
        });
      }
    },
    { prefix: '/v1' },
  );
  await t.throwsAsync(async () => app.ready(), {
    code: 'BKR_ERR_ROUTE_HANDLERS',
    message: /^PUT \/v1\/a has more/,
  });
});

test('app.inject() has no connection: only routes without the constraint are for it', async (t) => {
  const app = await constrained(t);
  app.get('/', { constraints: { connection: {} } }, async () => 'for connections');
  app.get('/both', { constraints: { connection: { localPrefix: '0.0.0.0/0' } } }, async () => 'for IPv4');
  app.get('/both', async () => 'without');
  t.is((await app.inject('/')).statusCode, 404);
  t.is((await app.inject('/both')).body, 'without');
});

test('registering the plugin again is harmless, also in a plugin', async (t) => {
  const app = await constrained(t);
  await app.register(connectionConstraintPlugin);
  await app.register(async (scope) => {
    await scope.register(connectionConstraintPlugin);
    scope.get('/', { constraints: { connection: {} } }, handler);
  });
  t.true(app.hasRoute({ method: 'GET', url: '/', constraints: { connection: {} } }));
  t.true(app.hasRoute({ method: 'HEAD', url: '/', constraints: { connection: {} } }));
  t.false(app.hasRoute({ method: 'GET', url: '/', constraints: { connection: { port: 80 } } }));
  t.truthy(app.findRoute({ method: 'GET', url: '/', constraints: { connection: {} } }));
  t.falsy(app.findRoute({ method: 'GET', url: '/', constraints: { connection: { port: 80 } } }));
});

test('the storage finds declared constraints only by themselves, not by what they match', (t) => {
  const storage = new ConnectionStorage();
  t.is(storage.get({}), 0);
  storage.set({}, 1);
  storage.set({ localPrefix: '10.0.0.0/8' }, 2);
  t.is(storage.get({ localPrefix: '10.0.0.0/8' }), 2);
  t.is(storage.get({ localPrefix: '10.1.0.0/16' }), 0);
  storage.set({ localPrefix: '10.0.0.0/8' }, 6);
  t.is(storage.get({ localPrefix: '10.0.0.0/8' }), 6);
});

/** A relay's connection to an address. */
function connectionTo(local: string): MatchedConnection {
  const handover = standIn(requestEntries(['SERVER_ADDR', local]), { kind: 'relay' });
  return new MatchedConnection(new ConnectionFacts(handover, () => undefined));
}

for (const [what, every, short, long, found] of [
  ['all patterns that match, if the better ones have the higher bits', 0b1, 0b10, 0b100, 0b111],
  ['several routes of each', 0b11, 0b100, 0b11000, 0b11111],
  ['none with a higher bit', 0b1, 0b100, 0b10, 0b10],
  ['none with a bit between those of a better one', 0b1, 0b100, 0b1010, 0b1010],
  ['none behind one that was left out', 0b1, 0b1010, 0b100, 0b100],
  ['the 31st bit', 0b1, 0b10, 2 ** 30, 2 ** 30 + 0b11],
] as [string, number, number, number, number][]) {
  test(`the storage finds ${what}`, (t) => {
    const storage = new ConnectionStorage();
    storage.set({}, every);
    storage.set({ localPrefix: '10.0.0.0/8' }, short);
    storage.set({ localPrefix: '10.1.0.0/16' }, long);
    storage.set({ localPrefix: '10.1.1.0/24' }, 2 ** 29);
    t.is(storage.get(connectionTo('10.1.0.1')), found);
    t.is(storage.get(connectionTo('11.0.0.1')), every);
  });
}

test('a pattern that is declared later is found as well', (t) => {
  const storage = new ConnectionStorage();
  storage.set({}, 1);
  t.is(storage.get(connectionTo('10.1.0.1')), 1);
  storage.set({ localPrefix: '10.0.0.0/8' }, 2);
  t.is(storage.get(connectionTo('10.1.0.1')), 3);
});
