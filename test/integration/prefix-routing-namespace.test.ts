// One port, many prefixes, many servers: a host that owns addresses by prefix, in a network namespace of the test's own, with a web
// server, a router and two backends of other users. What becomes of them under load is prefix-routing-under-load.test.ts.
import { randomInt } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { CommandedProcess } from '../helpers/commanded-process.js';
import { guardDescriptors, watchDescriptors } from '../helpers/descriptors.js';
import type { NamedFacts, WrittenRoute } from '../helpers/named-server.js';
import { NAMESPACES } from '../helpers/network-namespace.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { CLIENT, type Front, PrefixScene, USERS, urlHost } from '../helpers/prefix-scene.js';
import { needs, program, type Requirement } from '../helpers/requirements.js';

guardDescriptors(test);
const withNamespaces = needs(test.serial, ...NAMESPACES);

const sourceFor = (address: string): string => (address.includes(':') ? CLIENT.v6 : CLIENT.v4);

/** Who answers the clients of an address on port 80, or the status they get. */
async function whoAnswers(client: CommandedProcess, address: string): Promise<string> {
  const answer = await client.ask<NamedFacts | { error: string }>(`${address} 80 /facts`);
  return 'error' in answer ? answer.error : answer.name;
}

const PREFIXES = {
  blue: ['203.0.113.0/24', '2001:db8:1::/48'],
  green: ['198.51.100.0/24', '2001:db8:2::/48'],
  router: ['192.0.2.0/24', '2001:db8:3::/48'],
  nobody: ['203.0.112.0/24', '2001:db8:4::/48'],
} as const;

const routesIn = (scene: PrefixScene): WrittenRoute[] => [
  ...PREFIXES.blue.map((prefix) => ({ prefix, to: `unix:${scene.path('blue')}` })),
  ...PREFIXES.green.map((prefix) => ({ prefix, to: scene.path('green') })),
  ...PREFIXES.router.map((prefix) => ({ prefix, to: 'here' })),
];

/** The host, its router, both backends. */
async function start(t: ExecutionContext) {
  const scene = await PrefixScene.make(t, ...Object.values(PREFIXES).flat());
  const servers = {
    router: await scene.router(routesIn(scene)),
    blue: await scene.backend('blue'),
    green: await scene.backend('green'),
  };
  return { scene, servers };
}

const FRONTS: [who: Front, local4: string, needed: readonly Requirement[]][] = [
  // It takes IPv4 on its socket of IPv6: then the kernel writes the addresses like this.
  ['frontDoor', '::ffff:', []],
  ['nginx', '', nginxWithModule],
];

for (const [front, mapped, needed] of FRONTS) {
  const declare = needs(test.serial, ...NAMESPACES, ...needed);
  declare(`behind ${front}: on one port, each prefix is another server's, of another user`, async (t) => {
    const { scene, servers } = await start(t);
    const sender = await scene[front]();
    const client = await scene.client();
    const settled = watchDescriptors([sender, ...Object.values(servers).map(({ pid }) => pid)]);
    for (let times = 0; times < 5; times++) {
      for (const name of ['blue', 'green', 'router'] as const) {
        for (const prefix of PREFIXES[name]) {
          const address = prefix.replace(/0\/24$|\/48$/, String(7 + times));
          t.like(await client.ask<NamedFacts>(`${address} 80 /facts ${sourceFor(address)}`), {
            name,
            uid: USERS[name],
            handover: 'full',
            local: address.includes(':') ? address : `${mapped}${address}`,
            client: sourceFor(address),
            hops: name === 'router' ? 0 : 1,
            sender,
          });
        }
      }
    }
    t.is(await whoAnswers(client, '203.0.112.7'), '421');
    t.is(await whoAnswers(client, '2001:db8:4::7'), '421');
    t.like(await servers.router.router(), { routes: [5, 5, 5, 5, 5, 5], misses: 2, passedOn: 20 });
    await settled(t);
  });
}

withNamespaces(
  "a backend's socket is its router's alone, by its mode and by the kernel's word",
  async (t) => {
    const { scene } = await start(t);
    const sendAs = async (path: string, uid: number, gid: number): Promise<string[]> => {
      const args = [path, String(uid), String(gid)];
      return (await CommandedProcess.start(t, 'sending-process.js', args)).ask('send');
    };
    const { front, router, blue, green } = USERS;
    const served = ['200', '200', '200', '200'];
    const noEntry = Array(4).fill('FDPASS_ERR_BACKEND_DOWN');
    // Version 0 and relays get no word.
    const refused = ['FDPASS_ERR_REFUSED', '', 'FDPASS_ERR_REFUSED', ''];
    t.deepEqual(await sendAs(scene.path('blue'), router, router), served);
    t.deepEqual(await sendAs(scene.path('blue'), front, front), noEntry);
    t.deepEqual(await sendAs(scene.path('blue'), green, green), noEntry);
    t.deepEqual(await sendAs(scene.path('blue'), green, router), refused);
    t.deepEqual(await sendAs(scene.path('router'), blue, blue), noEntry);
    // These clients came by 127.0.0.1, which is in no prefix.
    t.deepEqual(await sendAs(scene.path('router'), front, front), ['421', '421', '421', '421']);
  },
);

const KINDS = ['full 1', 'full 0', 'partial 1', 'partial 0', 'relay 0'] as const;

withNamespaces('all kinds of handover: body and facts arrive at the server of the prefix', async (t) => {
  const { scene, servers } = await start(t);
  const args = [scene.path('router'), String(USERS.front)];
  const handing = await CommandedProcess.start(t, 'handing-process.js', args, {
    before: scene.namespace.enter,
  });
  const settled = watchDescriptors([handing.pid, ...Object.values(servers).map(({ pid }) => pid)]);
  for (const kind of KINDS) {
    for (const name of ['blue', 'green', 'router'] as const) {
      for (const prefix of PREFIXES[name]) {
        const local = prefix.replace(/0\/24$|\/48$/, '9');
        t.like(await handing.ask<NamedFacts>(`${local} ${kind}`), {
          name,
          handover: kind.split(' ')[0],
          local,
          client: '192.0.2.7',
          hops: name === 'router' ? 0 : 1,
          sender: handing.pid,
          body: '0123456789',
        });
      }
    }
  }
  await settled(t);
});

needs(
  test.serial,
  ...NAMESPACES,
  ...nginxWithModule,
  program('curl'),
)('what nginx cannot hand over, it relays to the server of the prefix all the same', async (t) => {
  const { scene, servers } = await start(t);
  const sender = await scene.nginx();
  const ask = (address: string, how: string, port = 80): string => {
    const options = ['-sS', '--max-time', '20', '--interface', sourceFor(address), '-d', 'name=value', how];
    return scene.namespace.run('curl', ...options, `http://${urlHost(address)}:${port}/facts`);
  };
  for (const [name, addresses] of [
    ['blue', ['203.0.113.4', '2001:db8:1::4']],
    ['green', ['198.51.100.4', '2001:db8:2::4']],
    ['router', ['192.0.2.4', '2001:db8:3::4']],
  ] as const) {
    for (const address of addresses) {
      const body = 'name=value';
      const facts = { name, local: address, client: sourceFor(address), sender, body };
      t.like(JSON.parse(ask(address, '--http1.1')), { ...facts, handover: 'full' });
      t.like(JSON.parse(ask(address, '--http1.0')), { ...facts, handover: 'relay' });
      t.like(JSON.parse(ask(address, '--http2-prior-knowledge', 81)), { ...facts, handover: 'relay' });
    }
  }
  t.is((await servers.router.router()).passedOn, 12);
});

withNamespaces('of prefixes in prefixes the longest counts, and without it the next', async (t) => {
  const scene = await PrefixScene.make(t, '10.1.0.0/16', '2001:db8:1::/48');
  const [blue, green] = [scene.path('blue'), scene.path('green')];
  const nested: WrittenRoute[] = [
    { prefix: '10.1.0.0/16', to: blue },
    { prefix: '10.1.2.0/24', to: green },
    { prefix: '10.1.2.3', to: 'here' },
    { prefix: '2001:db8:1::/48', to: green },
    { prefix: '2001:db8:1:2::/64', to: blue },
    { prefix: '2001:db8:1:2::3', to: 'here' },
  ];
  const router = await scene.router(nested);
  await scene.backend('blue');
  await scene.backend('green');
  await scene.frontDoor();
  const client = await scene.client();
  const ask = async (): Promise<string[]> => {
    const answers: string[] = [];
    for (const address of [
      ...['10.1.0.0', '10.1.1.255', '10.1.2.0', '10.1.2.2', '10.1.2.3', '10.1.2.4', '10.1.2.255', '10.1.3.0'],
      ...['2001:db8:1:1:ffff::', '2001:db8:1:2::2', '2001:db8:1:2::3', '2001:db8:1:2::4', '2001:db8:1:3::'],
    ]) {
      answers.push(await whoAnswers(client, address));
    }
    return answers;
  };
  t.deepEqual(await ask(), [
    ...['blue', 'blue', 'green', 'green', 'router', 'green', 'green', 'blue'],
    ...['green', 'blue', 'router', 'blue', 'green'],
  ]);
  await router.replace(nested.filter(({ prefix }) => !/\/(?:24|64)$/.test(prefix ?? '')));
  t.deepEqual(await ask(), [
    ...['blue', 'blue', 'blue', 'blue', 'router', 'blue', 'blue', 'blue'],
    ...['green', 'green', 'router', 'green', 'green'],
  ]);
  await router.replace([]);
  t.deepEqual(new Set(await ask()), new Set(['421']));
});

const MANY = 1000;
const V4 = (nth: number, host: number): string => `10.${nth >> 8}.${nth & 255}.${host}`;
const V6 = (nth: number, host: string): string => `2001:db8:${nth.toString(16)}:${host}`;

withNamespaces('2,000 prefixes', async (t) => {
  const scene = await PrefixScene.make(t, '10.0.0.0/8', '2001:db8::/32');
  const router = await scene.router([]);
  const names = ['blue', 'green'] as const;
  for (const name of names) await scene.backend(name);
  await scene.frontDoor();
  const client = await scene.client();
  const nameOf = (nth: number): (typeof names)[number] => names[nth % 2] as 'blue' | 'green';
  await router.replace(
    Array.from({ length: MANY }, (_, nth) => [
      { prefix: `${V4(nth, 0)}/24`, to: scene.path(nameOf(nth)) },
      { prefix: `${V6(nth, ':')}/48`, to: scene.path(nameOf(nth + 1)) },
    ]).flat(),
  );
  const misses = [V4(MANY, 0), V4(MANY, 255), V4(65_535, 9), V6(MANY, ':'), V6(65_535, 'ffff::9')];
  for (const address of misses) t.is(await whoAnswers(client, address), '421', address);
  const random = Array.from({ length: 100 }, () => randomInt(MANY));
  t.log(`at random: ${random.join(' ')}`);
  const sampled = [0, 1, 255, 256, 511, 512, MANY - 2, MANY - 1, ...random];
  for (const nth of sampled) {
    for (const address of [V4(nth, 0), V4(nth, 255)]) {
      t.is(await whoAnswers(client, address), nameOf(nth), address);
    }
    for (const address of [V6(nth, ':'), V6(nth, 'ffff:ffff:ffff:ffff:ffff')]) {
      t.is(await whoAnswers(client, address), nameOf(nth + 1), address);
    }
  }
  const { routes, misses: counted, passedOn } = await router.router();
  t.is(routes.length, 2 * MANY);
  t.is(counted, misses.length);
  t.is(passedOn, 4 * sampled.length);
});
