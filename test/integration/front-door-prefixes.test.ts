// Listeners of a front door that share a port: which client goes to which backend, and what becomes of nobody's. All of 127.0.0.0/8 is
// local everywhere; other addresses, interfaces and users are in front-door-prefixes-network.test.ts.
import { createFrontDoor } from '@fdpass/backend-runtime';
import test from 'ava';
import fc from 'fast-check';
import { loadNative } from '#native/index.js';
import { LpmTable } from '#runtime/routing/lpm-table.js';
import { parsePrefix } from '#runtime/routing/prefix.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { FrontDoorScene, type SceneRoute, SPLIT } from '../helpers/front-door-scene.js';

const native = loadNative();

guardDescriptors(test);

test('each prefix has its backend, and nobody else has any', async (t) => {
  const scene = await FrontDoorScene.open(t, SPLIT);
  t.deepEqual(
    await scene.allGoTo([
      '127.0.1.0',
      '127.0.1.255',
      '127.0.2.1',
      '127.0.4.9',
      '127.0.3.1',
      '127.0.0.1',
      '::1',
    ]),
    {
      '127.0.1.0': 'a',
      '127.0.1.255': 'a',
      '127.0.2.1': 'b',
      '127.0.4.9': 'b',
      '127.0.3.1': 'reset',
      '127.0.0.1': 'reset',
      '::1': 'reset',
    },
  );
  const { accepted, unrouted, rerouted, handedOver, partitions } = scene.frontDoor.stats();
  t.deepEqual(
    { accepted, unrouted, rerouted, handedOver },
    { accepted: 7, unrouted: 3, rerouted: 0, handedOver: 4 },
  );
  t.deepEqual(
    partitions.map(({ instructions, ...others }) => ({
      ...others,
      isSmall: instructions > 0 && instructions < 20,
    })),
    [{ address: '::', port: scene.port, by: 'kernel', rules: 3, sockets: 3, isSmall: true }],
  );
  t.is(scene.warnings.length, 1, 'one line for all of them within a second');
  t.regex(scene.warnings[0] ?? '', /^A client of port \d+ was reset: no listener is for its address$/);
});

test('the longest prefix wins, whatever the order, and the listener without one has the others', async (t) => {
  const scene = await FrontDoorScene.open(t, [
    { to: 'c' },
    { prefixes: ['127.0.0.0/16'], to: 'a' },
    { prefixes: ['127.0.1.0/24', '127.0.1.128/32', '::1/128'], to: 'b' },
    { prefixes: ['127.0.1.128/25'], to: 'a' },
  ]);
  t.deepEqual(
    await scene.allGoTo(['127.0.9.9', '127.0.1.1', '127.0.1.128', '127.0.1.129', '127.1.0.1', '::1']),
    {
      '127.0.9.9': 'a',
      '127.0.1.1': 'b',
      '127.0.1.128': 'b',
      '127.0.1.129': 'a',
      '127.1.0.1': 'c',
      '::1': 'b',
    },
  );
  t.like(scene.frontDoor.stats(), { unrouted: 0, rerouted: 0, accepted: 6 });
});

test('an interface counts among equally long prefixes', async (t) => {
  const scene = await FrontDoorScene.open(t, [
    { ingress: 'lo', to: 'a' },
    { prefixes: ['127.0.1.0/24'], to: 'b' },
    { prefixes: ['127.0.2.0/24'], ingress: 'no-such-device', to: 'c' },
    { prefixes: ['127.0.1.0/24'], ingress: 'lo', to: 'c' },
  ]);
  t.deepEqual(await scene.allGoTo(['127.0.1.1', '127.0.2.1', '127.0.3.1', '::1']), {
    '127.0.1.1': 'c',
    '127.0.2.1': 'a',
    '127.0.3.1': 'a',
    '::1': 'a',
  });
  t.like(scene.frontDoor.stats(), { unrouted: 0, rerouted: 0 });
});

test('with host 0.0.0.0, and beside other ports', async (t) => {
  const scene = await FrontDoorScene.open(t, [
    ...SPLIT.map((route) => ({ ...route, host: '0.0.0.0' })),
    { host: '127.0.0.1', to: 'c' },
  ]);
  const [first, second, third] = scene.frontDoor.addresses();
  t.deepEqual(first, second);
  t.is(await scene.goesTo('127.0.1.1'), 'a');
  t.is(await scene.goesTo('127.0.2.1'), 'b');
  t.is(await scene.goesTo('127.0.0.1', third?.port), 'c');
  t.is(scene.frontDoor.stats().partitions.length, 1);
});

test('a table past what the kernel takes is followed all the same, and said once', async (t) => {
  const many = Array.from({ length: 4000 }, (_, n) => `10.${n >> 8}.${n & 255}.0/24`);
  const big: readonly SceneRoute[] = [{ prefixes: ['127.0.1.0/24', ...many], to: 'a' }, ...SPLIT.slice(1)];
  const scene = await FrontDoorScene.open(t, big);
  const addresses = ['127.0.1.1', '127.0.2.1', '127.0.1.2', '127.0.2.2', '127.0.4.4', '127.0.1.3'];
  const expected = { a: 3, b: 3 };
  const counts = async (): Promise<Record<string, number>> => {
    const found: Record<string, number> = {};
    for (const name of Object.values(await scene.allGoTo(addresses))) found[name] = (found[name] ?? 0) + 1;
    return found;
  };
  t.deepEqual(await counts(), expected);
  t.like(scene.frontDoor.stats(), {
    rerouted: 0,
    partitions: [{ by: 'user', rules: 4003, instructions: 0 }],
  });
  t.is(scene.warnings.length, 1);
  t.regex(
    scene.warnings[0] ?? '',
    /share their accept queues now: it would have \d{4} instructions, more than 4096$/,
  );
  t.is(await scene.goesTo('127.0.9.9'), 'reset');
  await scene.replace(SPLIT.map((route) => ({ ...route, port: scene.port })));
  t.like(scene.frontDoor.stats(), { partitions: [{ by: 'kernel', rules: 3 }] });
  t.deepEqual(await counts(), expected);
  await scene.replace(big.map((route) => ({ ...route, port: scene.port })));
  t.like(scene.frontDoor.stats(), { partitions: [{ by: 'user', rules: 4003 }] });
  t.deepEqual(await counts(), expected);
});

test('2,000 prefixes are split by the kernel', async (t) => {
  const prefixes = Array.from({ length: 2000 }, (_, n) => `127.${n >> 8}.${n & 255}.0/24`);
  const scene = await FrontDoorScene.open(t, [
    { prefixes: prefixes.filter((_, n) => n % 2 === 0), to: 'a' },
    { prefixes: prefixes.filter((_, n) => n % 2 === 1), to: 'b' },
  ]);
  t.like(scene.frontDoor.stats(), { partitions: [{ by: 'kernel', rules: 2000, sockets: 3 }] });
  const asked = [0, 1, 2, 255, 256, 257, 1000, 1001, 1998, 1999];
  for (const n of asked) t.is(await scene.goesTo(`127.${n >> 8}.${n & 255}.7`), n % 2 === 0 ? 'a' : 'b');
  t.is(await scene.goesTo('127.7.208.1'), 'reset');
  t.like(scene.frontDoor.stats(), { rerouted: 0, unrouted: 1 });
});

test('for any rules the kernel gives clients to the listeners that the table gives them to', async (t) => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
  t.log(`seed ${seed}`);
  const random = fc.sample(fc.nat(), { seed, numRuns: 2000 });
  const next = (below: number): number => (random.pop() ?? 0) % below;
  const prefixes = new Map<string, string>();
  for (let count = 0; count < 300; count++) {
    const length = 9 + next(24);
    const prefix = parsePrefix(`127.${next(3)}.${next(4)}.${next(256)}/${length}`, '', 'mask').text;
    prefixes.set(prefix, 'abc'[next(3)] as string);
  }
  const routes = ['a', 'b', 'c'].map((to) => ({
    to,
    prefixes: [...prefixes].filter(([, name]) => name === to).map(([prefix]) => prefix),
  }));
  const scene = await FrontDoorScene.open(t, routes);
  const table = new LpmTable(Array.from(prefixes, ([prefix, value]) => ({ prefix, value })));
  for (let count = 0; count < 200; count++) {
    const address = `127.${next(3)}.${next(4)}.${1 + next(254)}`;
    t.is(await scene.goesTo(address), table.lookup(address) ?? 'reset', address);
  }
  t.like(scene.frontDoor.stats(), { rerouted: 0, partitions: [{ by: 'kernel' }] });
});

test('a backend that is gone is missed by its own clients alone', async (t) => {
  const scene = await FrontDoorScene.open(t, [...SPLIT, { prefixes: ['127.0.3.0/24'], to: '/nowhere' }]);
  t.regex(await scene.goesTo('127.0.3.1'), /502/);
  t.is(await scene.goesTo('127.0.1.1'), 'a');
  t.like(scene.frontDoor.stats(), { answered: { 502: 1 }, handedOver: 1 });
});

test('the same prefix twice, and other mistakes, name their places', async (t) => {
  const to = '/a';
  const wildcard = { host: '::', port: 80, to };
  const fd = native.bindTcp('127.0.0.1', 0);
  t.teardown(() => native.closeFd(fd));
  for (const [listeners, code, message] of [
    [
      [
        { ...wildcard, prefixes: ['10.0.0.0/8', '127.0.1.0/24'] },
        wildcard,
        { ...wildcard, prefixes: ['::ffff:127.0.1.0/120'] },
      ],
      'BKR_ERR_PREFIX_TWICE',
      'listeners[2].prefixes[0] and listeners[0].prefixes[1] are for the same connections: 127.0.1.0/24',
    ],
    [
      [
        { ...wildcard, ingress: 'a' },
        { ...wildcard, ingress: 'a' },
      ],
      'BKR_ERR_PREFIX_TWICE',
      'listeners[1] and listeners[0] are for the same connections: every address by a',
    ],
    [
      [wildcard, { ...wildcard, prefixes: ['::/0'] }, wildcard],
      'BKR_ERR_PREFIX_TWICE',
      /^listeners\[2\] and listeners\[0\]/,
    ],
    [
      [{ ...wildcard, prefixes: ['127.0.1.1/24'] }],
      'BKR_ERR_PREFIX',
      /^listeners\[0\]\.prefixes\[0\].*127\.0\.1\.0\/24/,
    ],
    [[{ ...wildcard, prefixes: ['127.0.1.0/33'] }], 'BKR_ERR_PREFIX', /0 to 32/],
    [
      [{ ...wildcard, prefixes: [] }],
      'BKR_ERR_OPTION',
      /listeners\[0\]\.prefixes must be a list with at least one/,
    ],
    [[{ ...wildcard, prefixes: '::/0' }], 'BKR_ERR_OPTION', /listeners\[0\]\.prefixes/],
    [
      [{ ...wildcard, ingress: 'a/b' }],
      'BKR_ERR_OPTION',
      /listeners\[0\]\.ingress must be the name of an interface/,
    ],
    [
      [{ port: 80, prefixes: ['127.0.0.0/8'], to }],
      'BKR_ERR_OPTION',
      "The option listeners[0].host must be for all addresses, '::' or '0.0.0.0', with prefixes or ingress",
    ],
    [
      [{ host: '0.0.0.0', port: 80, prefixes: ['::/0'], to }],
      'BKR_ERR_OPTION',
      /listeners\[0\]\.prefixes\[0\].*of IPv4/,
    ],
    [[{ ...wildcard, fd: 3 }], 'BKR_ERR_OPTION', /without host and port/],
    [[{ fd, to }], 'BKR_ERR_OPTION', /listeners\[0\]\.fd must be a listening TCP socket/],
    [[{ fd: -1, to }], 'BKR_ERR_OPTION', /listeners\[0\]\.fd/],
    [[{ to }], 'BKR_ERR_OPTION', /listeners\[0\]\.port/],
    [[null], 'BKR_ERR_OPTION', /listeners\[0\]/],
  ] as const) {
    t.throws(() => createFrontDoor({ listeners: listeners as never }), { code, message });
  }
});
