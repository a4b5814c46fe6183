// Other listeners for a front door that has clients, and sockets that a supervisor has opened for it. With clients in masses:
// front-door-prefixes-load.test.ts.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createFrontDoor } from '@fdpass/backend-runtime';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { FrontDoorScene, type SceneRoute, SPLIT } from '../helpers/front-door-scene.js';
import { RawClient } from '../helpers/raw-client.js';
import { until } from '../helpers/until.js';

const native = loadNative();

guardDescriptors(test);

test('after a replacement the new table holds, also for ports that come, go and stay', async (t) => {
  const scene = await FrontDoorScene.open(t, [...SPLIT, { host: '127.0.0.1', to: 'c' }]);
  const [{ port }, , { port: leaving }] = scene.frontDoor.addresses() as [
    { port: number },
    unknown,
    { port: number },
  ];
  const early = await RawClient.connect(port, '127.0.2.1');
  const late = await RawClient.connect(leaving, '127.0.0.1');
  await scene.replace([
    { host: '127.0.0.2', to: 'b' },
    { port, prefixes: ['127.0.2.0/25'], to: 'c' },
    { port, to: 'a' },
  ]);
  const [coming, same] = scene.frontDoor.addresses();
  t.is(same?.port, port);
  t.is(await scene.goesTo('127.0.0.2', coming?.port), 'b');
  t.deepEqual(await scene.allGoTo(['127.0.2.1', '127.0.2.200', '::1'], port), {
    '127.0.2.1': 'c',
    '127.0.2.200': 'a',
    '::1': 'a',
  });
  t.is(await scene.goesTo('127.0.0.1', leaving), 'ECONNREFUSED');
  for (const client of [early, late]) {
    // Connected before; whether they were accepted before, too, is not known.
    await client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 200 /);
  }
  // Back to one listener for all.
  await scene.replace([{ port, to: 'b' }]);
  t.deepEqual(scene.frontDoor.stats().partitions, []);
  t.is(await scene.goesTo('127.0.2.1', port), 'b');
  await scene.replace([
    { port, prefixes: ['127.0.1.0/24'], to: 'a' },
    { port, prefixes: ['127.0.2.0/24'], to: 'b' },
    { port, prefixes: ['127.0.3.0/24'], to: 'c' },
    { port, prefixes: ['127.0.4.0/24'], to: 'a' },
  ]);
  t.deepEqual(await scene.allGoTo(['127.0.1.1', '127.0.2.1', '127.0.3.1', '127.0.4.1', '127.0.5.1'], port), {
    '127.0.1.1': 'a',
    '127.0.2.1': 'b',
    '127.0.3.1': 'c',
    '127.0.4.1': 'a',
    '127.0.5.1': 'reset',
  });
});

test('a listener that names a port has it, also behind one that leaves it to the kernel', async (t) => {
  const scene = await FrontDoorScene.open(t, SPLIT);
  const { port } = scene;
  await scene.replace([
    { prefixes: ['127.0.1.0/24'], to: 'c' },
    { port, prefixes: ['127.0.1.0/24'], to: 'b' },
  ]);
  const [chosen, named] = scene.frontDoor.addresses();
  t.is(named?.port, port);
  t.is(await scene.goesTo('127.0.1.1', port), 'b');
  t.is(await scene.goesTo('127.0.1.1', chosen?.port), 'c');
});

test('a replacement that cannot be is none', async (t) => {
  const scene = await FrontDoorScene.open(t, SPLIT);
  const { port } = scene;
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port: takenPort } = taken.address() as { port: number };
  const more: readonly SceneRoute[] = [...SPLIT, { prefixes: ['127.0.5.0/24'], to: 'c' }, { to: 'c' }].map(
    (route) => ({ ...route, port }),
  );
  const before = scene.frontDoor.stats();
  await t.throwsAsync(
    scene.replace([...more, { host: '127.0.0.1', to: 'c' }, { host: '127.0.0.1', port: takenPort, to: 'a' }]),
    {
      code: 'EADDRINUSE',
    },
  );
  await t.throwsAsync(scene.replace([...more, { port, prefixes: ['127.0.5.0/24'], to: 'b' }]), {
    code: 'BKR_ERR_PREFIX_TWICE',
    message: /^listeners\[4\]\.prefixes\[0\] and listeners\[2\]\.prefixes\[0\]/,
  });
  await t.throwsAsync(scene.replace([]), { code: 'BKR_ERR_OPTION' });
  t.deepEqual(scene.frontDoor.stats(), before);
  t.deepEqual(await scene.allGoTo(['127.0.1.1', '127.0.2.1', '127.0.5.1']), {
    '127.0.1.1': 'a',
    '127.0.2.1': 'b',
    '127.0.5.1': 'reset',
  });
  taken.close();
  await once(taken, 'close');
});

test('of two replacements the later one counts, also if names of the earlier are looked up', async (t) => {
  const scene = await FrontDoorScene.open(t, SPLIT);
  const { port } = scene;
  const done: string[] = [];
  await Promise.all([
    scene
      .replace([
        { port, to: 'a' },
        { host: 'localhost', to: 'a' },
      ])
      .then(() => done.push('earlier')),
    scene.replace([{ port, to: 'c' }]).then(() => done.push('later')),
  ]);
  t.deepEqual(done, ['earlier', 'later']);
  t.is(await scene.goesTo('127.0.1.1', port), 'c');
});

test('only one that listens has listeners to replace', async (t) => {
  const frontDoor = createFrontDoor({ listeners: [{ port: 0, to: '/a' }] });
  await t.throwsAsync(frontDoor.replace([{ port: 0, to: '/a' }]), { code: 'BKR_ERR_FRONT_DOOR_STATE' });
  await frontDoor.listen();
  const replacing = frontDoor.replace([{ port: 0, to: '/a' }]);
  const closing = frontDoor.close();
  await t.throwsAsync(replacing, { code: 'BKR_ERR_FRONT_DOOR_STATE' });
  await closing;
});

test('another front door of the same user does not get into the port by mistake', async (t) => {
  const scene = await FrontDoorScene.open(t, SPLIT);
  const other = createFrontDoor({
    listeners: [{ host: '::', port: scene.port, prefixes: ['127.0.9.0/24'], to: '/a' }],
  });
  await t.throwsAsync(other.listen(), { code: 'EADDRINUSE' });
  t.is(await scene.goesTo('127.0.1.1'), 'a');
});

/** Listening sockets of one port, as a supervisor would pass them. Owned by the caller. */
function inherited(count: number): [number, ...number[]] {
  const first = native.bindTcp('::', 0, true);
  native.listen(first, 64);
  const { port } = native.localAddress(first);
  const others = Array.from({ length: count - 1 }, () => {
    const fd = native.bindTcp('::', port, true);
    native.listen(fd, 64);
    return fd;
  });
  return [first, ...others];
}

test('inherited sockets are shared by more listeners than there are of them', async (t) => {
  const [one, two = -1] = inherited(2);
  const scene = await FrontDoorScene.open(t, [
    { fd: one, prefixes: ['127.0.1.0/24'], to: 'a' },
    { fd: two, prefixes: ['127.0.2.0/24'], to: 'b' },
  ]);
  const { port } = scene;
  t.like(scene.frontDoor.stats().partitions, { 0: { by: 'kernel', sockets: 2 } });
  t.deepEqual(await scene.allGoTo(['127.0.1.1', '127.0.2.1', '127.0.3.1']), {
    '127.0.1.1': 'a',
    '127.0.2.1': 'b',
    '127.0.3.1': 'reset',
  });
  await scene.replace([
    { fd: one, prefixes: ['127.0.1.0/24'], to: 'a' },
    { fd: two, prefixes: ['127.0.2.0/24'], to: 'b' },
    { port, prefixes: ['127.0.3.0/24'], to: 'c' },
    { port, to: 'a' },
  ]);
  t.deepEqual(await scene.allGoTo(['127.0.1.1', '127.0.2.1', '127.0.3.1', '127.0.4.1']), {
    '127.0.1.1': 'a',
    '127.0.2.1': 'b',
    '127.0.3.1': 'c',
    '127.0.4.1': 'a',
  });
  t.like(scene.frontDoor.stats(), { rerouted: 0, unrouted: 1 });
});

test('an inherited socket alone, without prefixes and with them', async (t) => {
  const fd = native.bindTcp('::', 0);
  native.listen(fd, 64);
  const scene = await FrontDoorScene.open(t, [{ fd, to: 'a' }]);
  t.is(await scene.goesTo('127.0.1.1'), 'a');
  await scene.replace([
    { fd, prefixes: ['127.0.1.0/24'], to: 'b' },
    { port: scene.port, to: 'c' },
  ]);
  t.is(await scene.goesTo('127.0.1.1'), 'b');
  t.is(await scene.goesTo('127.0.2.1'), 'c');
  t.like(scene.frontDoor.stats(), { partitions: [{ by: 'user', sockets: 1, instructions: 0 }] });
  t.deepEqual(scene.warnings, []);
});

test('a start that fails leaves inherited sockets to whoever passed them', async (t) => {
  const [fd] = inherited(1);
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  const frontDoor = createFrontDoor({
    listeners: [
      { fd, to: '/a' },
      { port, to: '/a' },
    ],
  });
  await t.throwsAsync(frontDoor.listen(), { code: 'EADDRINUSE' });
  t.notThrows(() => native.localAddress(fd));
  native.closeFd(fd);
  taken.close();
  await once(taken, 'close');
});

test('who waits in the accept queue while the table changes goes where it says now', async (t) => {
  const scene = await FrontDoorScene.open(t, SPLIT, { maxConnections: 1 });
  // Accepting pauses.
  const holder = await RawClient.connect(scene.port, '127.0.1.1');
  await until('it is full', () => scene.frontDoor.stats().connectionPauses === 1);
  const waiting = scene.goesTo('127.0.1.2');
  const stranger = scene.goesTo('127.0.9.1');
  await scene.replace([
    { prefixes: ['127.0.2.0/24'], to: 'b' },
    { prefixes: ['127.0.1.0/24', '127.0.9.0/24'], to: 'c' },
  ]);
  holder.socket.destroy();
  t.is(await waiting, 'c');
  t.is(await stranger, 'c');
});

/** Clients that wait for being accepted, of all listening sockets of a port for '::'. */
function queuedAt(port: number): number {
  const local = `${'0'.repeat(32)}:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = readFileSync('/proc/self/net/tcp6', 'utf8').split('\n');
  // The state of one that listens is 0A, and its receive queue that of clients.
  const queues = lines.map((line) => line.trim().split(/\s+/)).filter((fields) => fields[1] === local);
  return queues
    .filter(([, , , state]) => state === '0A')
    .reduce((sum, [, , , , bytes]) => sum + Number.parseInt(bytes?.split(':')[1] ?? '', 16), 0);
}

test("nobody's clients take no room from those that wait behind them when it closes", async (t) => {
  const scene = await FrontDoorScene.open(t, SPLIT, { maxConnections: 2 });
  const { port, frontDoor } = scene;
  const strangers = ['127.0.1.1', '127.0.1.2', '127.0.1.3'].map((address) => scene.goesTo(address));
  const clients = ['127.0.1.200', '127.0.1.201'].map((address) => scene.goesTo(address));
  // From here on the event loop does not turn, so that nobody is accepted before it closes.
  await new Promise<void>((resolve) => process.nextTick(() => process.nextTick(resolve)));
  const deadline = Date.now() + 5_000;
  while (queuedAt(port) < 5 && Date.now() < deadline);
  await scene.replace([{ port, prefixes: ['127.0.1.128/25'], to: 'a' }]);
  t.is(frontDoor.stats().accepted, 0);
  void frontDoor.close();
  t.like(frontDoor.stats(), { accepted: 5, unrouted: 3, waiting: 2 });
  t.deepEqual(await Promise.all(strangers), ['reset', 'reset', 'reset']);
  t.deepEqual(await Promise.all(clients), ['a', 'a']);
});
