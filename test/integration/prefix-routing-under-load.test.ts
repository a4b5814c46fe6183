// A host with servers for each prefix while clients come as fast as they are answered: its routes change, a backend is killed and comes
// back, and one process takes over from another. Who has nothing to do with it notices nothing.
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors, watchDescriptors } from '../helpers/descriptors.js';
import type { NamedFacts, NamedServer, WrittenRoute } from '../helpers/named-server.js';
import { type AnswerCounts, NO_ERRORS } from '../helpers/namespace-load.js';
import { NAMESPACES } from '../helpers/network-namespace.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { type Front, type MoreSetup, PrefixScene } from '../helpers/prefix-scene.js';
import { needs, program, type Requirement } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withLoad = needs(test.serial, ...NAMESPACES, program('wrk'));

const BLUE = '203.0.113.0/24';
const GREEN = '2001:db8:2::/48';
const OWN = '192.0.2.0/24';
/** Green's while blue is down. */
const EITHER = '2001:db8:3::/48';
const CONNECTIONS = 8;

interface Host {
  readonly scene: PrefixScene;
  readonly router: NamedServer;
  readonly blue: NamedServer;
  readonly green: NamedServer;
  /** Of what is in front. */
  readonly sender: number;
}

async function start(t: ExecutionContext, front: Front, more: MoreSetup = {}): Promise<Host> {
  const scene = await PrefixScene.make(t, BLUE, GREEN, OWN, EITHER);
  const routes: WrittenRoute[] = [
    { prefix: BLUE, to: scene.path('blue') },
    { prefix: GREEN, to: scene.path('green') },
    { prefix: OWN, to: 'here' },
    { prefix: EITHER, to: [scene.path('blue'), scene.path('green')] },
  ];
  const router = await scene.router(routes, more);
  const blue = await scene.backend('blue', more);
  const green = await scene.backend('green', more);
  return { scene, router, blue, green, sender: await scene[front]() };
}

const sum = (counts: Iterable<number>): number => [...counts].reduce((total, count) => total + count, 0);

const askedOf = (servers: readonly NamedServer[]): Promise<number[]> =>
  Promise.all(servers.map((server) => server.asked()));

/** Every answer is of one of these, each has answered, and each was asked what it has answered, and what wrk did not wait for. */
async function assertAllAnswered(
  t: ExecutionContext,
  { errors, answers }: AnswerCounts,
  servers: readonly NamedServer[],
): Promise<void> {
  t.deepEqual(errors, NO_ERRORS);
  t.deepEqual(Object.keys(answers).sort(), servers.map(({ setup }) => setup.name).sort());
  const asked = await askedOf(servers);
  const beyond = servers.map(({ setup }, nth) => (asked[nth] ?? 0) - (answers[setup.name] ?? 0));
  t.true(
    beyond.every((count) => count >= 0) && sum(beyond) <= CONNECTIONS,
    `asked and not waited for: ${beyond.join(' ')}`,
  );
}

/** Resolves when each has been asked so many times more. */
async function underLoad(servers: readonly NamedServer[], more = 50): Promise<void> {
  const before = await askedOf(servers);
  await until(`each is asked ${more} times more`, async () =>
    (await askedOf(servers)).every((count, nth) => count >= (before[nth] ?? 0) + more),
  );
}

const FRONTS: [front: Front, address: string, needed: readonly Requirement[]][] = [
  ['frontDoor', '203.0.113.1', []],
  ['nginx', '2001:db8:2::1', nginxWithModule],
];

for (const [front, address, needed] of FRONTS) {
  for (const isKept of [false, true]) {
    const how = isKept ? 'that are kept' : 'one for each request';
    const declare = needs(test.serial, ...NAMESPACES, program('wrk'), ...needed);
    declare(`behind ${front}, routes are replaced all the time, connections ${how}: no error`, async (t) => {
      // Kept connections stay where they are: they have to end now and then, to be routed anew.
      const { scene, router, blue, green, sender } = await start(t, front, {
        options: { keepAlive: { scope: '/' } },
        requestsPerConnection: 20,
      });
      const servers = [router, blue, green];
      const settled = watchDescriptors([sender, ...servers.map(({ pid }) => pid)]);
      const tables = [scene.path('blue'), scene.path('green'), 'here'].map((to) => [
        { prefix: BLUE, to },
        { prefix: GREEN, to },
      ]);
      await router.replace(tables[0] ?? []);
      await router.churn(tables);
      const load = scene.load(address, { connections: CONNECTIONS, isKept });
      await underLoad(servers);
      await until('30 tables were in force', async () => (await router.replaced()) >= 30);
      await underLoad(servers);
      const counts = await load.stop();
      t.log(`${await router.replaced()} tables, answers ${JSON.stringify(counts.answers)}`);
      await assertAllAnswered(t, counts, servers);
      t.like(await router.router(), { misses: 0, refused: {} });
      await settled(t);
    });
  }
}

withLoad(
  'a backend is killed and comes back: its own clients get 503 meanwhile, others notice nothing',
  async (t) => {
    const { scene, router, blue, green, sender } = await start(t, 'frontDoor');
    const settled = watchDescriptors([sender, router.pid, green.pid]);
    const client = await scene.client();
    const ask = async (address: string, path = '/facts'): Promise<string> => {
      const answer = await client.ask<NamedFacts | { error: string }>(`${address} 80 ${path}`);
      return 'error' in answer ? answer.error : answer.name;
    };
    const askBoth = async (): Promise<string[]> => [await ask('203.0.113.9'), await ask('2001:db8:3::9')];
    t.deepEqual(await askBoth(), ['blue', 'blue']);
    const loads = ['203.0.113.1', '2001:db8:2::1', '192.0.2.1'].map((address) =>
      scene.load(address, { connections: 4 }),
    );
    const held = ask('203.0.113.9', '/held');
    await until('it is held', async () => (await blue.process.ask('held')) === 1);
    await underLoad([router, blue, green]);
    t.is(await blue.end('SIGKILL'), 'SIGKILL');
    t.regex(await held, /hang up|ECONNRESET/);
    t.deepEqual(await askBoth(), ['503', 'green']);
    await underLoad([router, green]);
    const again = await scene.backend('blue');
    t.deepEqual(await askBoth(), ['blue', 'blue']);
    await underLoad([router, again, green]);
    const [ofBlue, ofGreen, ofRouter] = await Promise.all(loads.map((load) => load.stop()));
    t.deepEqual([ofGreen?.errors, ofRouter?.errors], [NO_ERRORS, NO_ERRORS]);
    const answered = [ofBlue, ofGreen, ofRouter].map((counts) => Object.keys(counts?.answers ?? {}).sort());
    t.deepEqual(answered, [['503', 'blue'], ['green'], ['router']]);
    const { misses, refused } = await router.router();
    t.is(misses, 0);
    t.true((refused.FDPASS_ERR_BACKEND_DOWN ?? 0) > 0);
    await settled(t);
  },
);

withLoad('one process of a backend takes over from the other, which ends: nobody notices', async (t) => {
  const { scene, router, blue, green, sender } = await start(t, 'frontDoor');
  const settled = watchDescriptors([sender, router.pid, green.pid]);
  const load = scene.load('203.0.113.1', { connections: CONNECTIONS });
  const ends: unknown[] = [];
  let current = blue;
  for (let times = 0; times < 3; times++) {
    await underLoad([current]);
    const next = await scene.successor('blue');
    ends.push(await current.end('SIGTERM'));
    current = next;
  }
  await underLoad([current]);
  t.deepEqual(ends, [0, 0, 0]);
  const { errors, answers } = await load.stop();
  t.deepEqual(errors, NO_ERRORS);
  t.deepEqual(Object.keys(answers), ['blue']);
  t.like(await router.router(), { misses: 0 });
  await settled(t);
});
