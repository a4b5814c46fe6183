// Which interface a client came in by, and its source tag, through a front door in network namespaces of the test's own.
import test from 'ava';
import { type InterfaceRule, resolveRules } from '#runtime/ingress/interface-rules.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type IngressAnswer, IngressNetwork } from '../helpers/ingress-network.js';
import { NAMESPACES, NetworkNamespace } from '../helpers/network-namespace.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNamespaces = needs(test.serial, ...NAMESPACES);

const NOBODY = '65534';

const rules: readonly InterfaceRule[] = [
  { device: 'a0', tag: 'left' },
  { device: 'b0', family: 'ipv4', tag: 'right-4' },
  { device: 'b0', family: 'ipv6', tag: 'right-6' },
];

for (const [who, uid] of Object.entries({ root: '', nobody: NOBODY })) {
  withNamespaces(`as ${who}: IPv4, IPv6 and mapped clients by two interfaces`, async (t) => {
    const network = await IngressNetwork.make(t);
    const [a, b] = [await network.link('a'), await network.link('b')];
    const serving = await network.serve(rules, { uid });
    const client = await network.client();
    const { v4Port, port } = serving;
    const left = { ifindex: a, name: 'a0', tag: 'left' };
    for (const [address, toPort, expected] of [
      ['192.0.2.1', v4Port, left],
      ['192.0.2.1', port, left],
      ['2001:db8:a::1', port, left],
      ['198.51.100.1', v4Port, { ifindex: b, name: 'b0', tag: 'right-4' }],
      ['198.51.100.1', port, { ifindex: b, name: 'b0', tag: 'right-4' }],
      ['2001:db8:b::1', port, { ifindex: b, name: 'b0', tag: 'right-6' }],
    ] as const) {
      const isMapped = toPort === port && address.includes('.');
      t.deepEqual(await client.ask<IngressAnswer>(`${address} ${toPort}`), {
        ...expected,
        address: isMapped ? `::ffff:${address}` : address,
      });
    }
    t.deepEqual(await serving.close(), []);
  });

  withNamespaces(`as ${who}: interfaces that come after the start, and change their names`, async (t) => {
    const network = await IngressNetwork.make(t);
    const serving = await network.serve([{ device: 'a0' }, { device: 'late0', tag: 'late' }], { uid });
    const client = await network.client();
    const ifindex = await network.link('a');
    t.like(await client.ask<IngressAnswer>(`192.0.2.1 ${serving.port}`), { ifindex, name: 'a0', tag: 'a0' });
    // No new number tells of this: only the kernel's news can, as there is no rescan.
    const index = await network.link('b', 'tmp0');
    t.like(await client.ask(`198.51.100.1 ${serving.port}`), {
      ifindex: index,
      name: 'tmp0',
      tag: 'direct',
    });
    network.server.ip('link set tmp0 down');
    network.server.ip('link set tmp0 name late0');
    let known: unknown;
    for (const end = performance.now() + 10_000; performance.now() < end; ) {
      known = await serving.process.ask(`lookup ${index}`);
      if ((known as IngressAnswer).name === 'late0') break;
    }
    t.deepEqual(known, { name: 'late0', tag: 'late' });
    t.deepEqual(await serving.close(), []);
  });
}

withNamespaces('a client comes in by a, and its answers go out by b: it is of a', async (t) => {
  const network = await IngressNetwork.make(t);
  const { server } = network;
  const a = await network.linkOneWay();
  const serving = await network.serve(rules);
  const client = await network.client();
  const sentPackets = (device: string): number => {
    const [link] = JSON.parse(server.ip(`-json -stats link show dev ${device}`));
    return link.stats64.tx.packets;
  };
  for (const [address, port] of [
    ['203.0.113.1', serving.v4Port],
    ['203.0.113.1', serving.port],
    ['2001:db8:c::1', serving.port],
  ] as const) {
    // The neighbours know each other after the first one.
    await client.ask(`${address} ${port}`);
    const before = { a: sentPackets('a0'), b: sentPackets('b0') };
    for (let times = 0; times < 10; times++) {
      t.like(await client.ask<IngressAnswer>(`${address} ${port}`), { ifindex: a, name: 'a0', tag: 'left' });
    }
    const sent = { a: sentPackets('a0') - before.a, b: sentPackets('b0') - before.b };
    t.true(sent.b >= 30, `SYN-ACK, answer and FIN of each by b: ${JSON.stringify(sent)}`);
    t.true(sent.a < 10, JSON.stringify(sent));
  }
  t.deepEqual(await serving.close(), []);
});

withNamespaces('an interface is deleted and made again while clients come: the tag follows', async (t) => {
  const network = await IngressNetwork.make(t);
  const { server } = network;
  let a = await network.link('a');
  const b = await network.link('b');
  const serving = await network.serve(rules);
  const client = await network.client();
  const steady = await network.client();
  let isDone = false;
  const answers: IngressAnswer[] = [];
  const meanwhile = (async () => {
    while (!isDone) answers.push(await steady.ask<IngressAnswer>(`198.51.100.1 ${serving.port}`));
  })();
  for (let round = 0; round < 4; round++) {
    const count = answers.length;
    // The first to ask for the new number, and it has just come.
    const address = round % 2 === 0 ? '192.0.2.1' : '2001:db8:a::1';
    t.like(await client.ask(`${address} ${serving.port}`), { ifindex: a, name: 'a0', tag: 'left' });
    server.ip('link delete a0');
    const old = a;
    a = await network.link('a');
    t.not(a, old);
    await until('others came meanwhile', () => answers.length > count);
  }
  isDone = true;
  await meanwhile;
  t.deepEqual(new Set(answers.map(({ ifindex, tag }) => `${ifindex} ${tag}`)), new Set([`${b} right-4`]));
  t.deepEqual(await serving.close(), []);
});

withNamespaces('with a rule for none of its interfaces a client has the default tag', async (t) => {
  const network = await IngressNetwork.make(t);
  const a = await network.link('a');
  const serving = await network.serve([{ device: 'a0', family: 'ipv6' }]);
  const client = await network.client();
  t.deepEqual(await client.ask(`192.0.2.1 ${serving.port}`), {
    ifindex: a,
    name: 'a0',
    tag: 'direct',
    address: '::ffff:192.0.2.1',
  });
  t.like(await client.ask(`2001:db8:a::1 ${serving.port}`), { ifindex: a, tag: 'a0' });
  t.deepEqual(await serving.close(), []);
});

withNamespaces('a device may be named as the kernel lets it be named', async (t) => {
  const namespace = await NetworkNamespace.make(t);
  const isTaken = (name: string): boolean => {
    try {
      namespace.run('ip', 'link', 'add', 'name', name, 'type', 'bridge');
      return true;
    } catch {
      return false;
    }
  };
  const isRule = (device: string): boolean => {
    try {
      return resolveRules([{ device, tag: 'tag' }]).has(device);
    } catch {
      return false;
    }
  };
  const names = [
    'x',
    '@x',
    '...',
    'é',
    '\x01',
    'a.1',
    'abcdefghijklmno',
    'abcdefghijklmnop',
    'ééééééé',
    'éééééééé',
  ];
  const wrong = [
    '',
    '.',
    '..',
    'a/b',
    'a:b',
    'a%b',
    'a b',
    'a\tb',
    'a\nb',
    'a\vb',
    'a\fb',
    'a\rb',
    'à',
    'a\u00a0',
  ];
  for (const name of [...names, ...wrong]) t.is(isRule(name), isTaken(name), JSON.stringify(name));
});
