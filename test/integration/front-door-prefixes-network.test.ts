// What SO_BINDTOPREFIX wanted, without privileges: one port, whole prefixes of local addresses, servers of different users. In network
// namespaces of the test's own.
import { once } from 'node:events';
import type { FrontDoorRoute, FrontDoorStats } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { CommandedProcess } from '../helpers/commanded-process.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { IngressNetwork } from '../helpers/ingress-network.js';
import { NAMESPACES, NetworkNamespace } from '../helpers/network-namespace.js';
import { needs, program } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNamespaces = needs(test.serial, ...NAMESPACES, program('curl'));

const NOBODY = '65534';

class Host {
  readonly #t: ExecutionContext;
  readonly namespace: NetworkNamespace;
  front!: CommandedProcess;

  constructor(t: ExecutionContext, namespace: NetworkNamespace) {
    this.#t = t;
    this.namespace = namespace;
  }

  backend(name: string, uid = ''): Promise<CommandedProcess> {
    return CommandedProcess.start(this.#t, 'named-backend.js', [name, uid], { before: this.namespace.enter });
  }

  async listen(listeners: readonly FrontDoorRoute[], uid = NOBODY): Promise<void> {
    this.front = await CommandedProcess.start(this.#t, 'prefix-front.js', [JSON.stringify(listeners), uid], {
      before: this.namespace.enter,
    });
  }

  stats(): Promise<FrontDoorStats> {
    return this.front.ask('stats');
  }

  async replace(listeners: readonly FrontDoorRoute[]): Promise<void> {
    this.#t.is(await this.front.ask(`replace ${JSON.stringify(listeners)}`), '');
  }

  /** It ends by itself. */
  async close(): Promise<void> {
    const exited = once(this.front.child, 'exit');
    await this.front.ask('close');
    this.#t.deepEqual(await exited, [0, null]);
  }
}

/** The backend that answers a client of `address` in `namespace`; what curl exits with if none does. */
function goesTo(namespace: NetworkNamespace, address: string, port = 80): string {
  const host = address.includes(':') ? `[${address}]` : address;
  try {
    const answer = namespace.run('curl', '--silent', '--fail', '--globoff', `http://${host}:${port}/`);
    return answer.replace('undefined ', '');
  } catch (error) {
    return `curl: ${(error as { status: number }).status}`;
  }
}

/** curl(1): "Failure in receiving network data", "The server did not reply anything" and "Sending the data failed". */
const RESET = /^curl: (?:5[256]|7)$/;

const on80 = (to: string, route: Omit<FrontDoorRoute, 'to'> = {}): FrontDoorRoute => ({
  host: '::',
  port: 80,
  to: `\0${to}`,
  ...route,
});

withNamespaces(
  'port 80 of one prefix is one server, of another prefix another: of two users, unprivileged',
  async (t) => {
    const host = new Host(t, await NetworkNamespace.make(t));
    const { namespace } = host;
    for (const prefix of ['192.0.2.0/24', '203.0.113.0/24', '2001:db8:a::/48', '2001:db8:b::/64']) {
      namespace.ip(`${prefix.includes(':') ? '-6 ' : ''}route add local ${prefix} dev lo`);
    }
    namespace.run('sh', '-c', 'echo 80 > /proc/sys/net/ipv4/ip_unprivileged_port_start');
    const one = await host.backend('one', '4001');
    const two = await host.backend('two', '4002');
    await host.backend('host-route', '4002');
    await host.listen([
      on80('one', { prefixes: ['192.0.2.0/24', '2001:db8:a::/48'] }),
      on80('two', { prefixes: ['203.0.113.0/24', '2001:db8:b::/64', '2001:db8:a:1::/64'] }),
      on80('host-route', { prefixes: ['192.0.2.77/32', '2001:db8:a:1::77/128'] }),
    ]);
    for (const [address, name] of [
      ['192.0.2.0', 'one'],
      ['192.0.2.255', 'one'],
      ['192.0.2.77', 'host-route'],
      ['203.0.113.9', 'two'],
      ['2001:db8:a::1', 'one'],
      ['2001:db8:a:ffff:ffff:ffff:ffff:ffff', 'one'],
      ['2001:db8:a:1::1', 'two'],
      ['2001:db8:a:1::77', 'host-route'],
      ['2001:db8:b::1', 'two'],
    ] as const) {
      t.is(goesTo(namespace, address), name, address);
    }
    t.regex(goesTo(namespace, '127.0.0.1'), RESET);
    t.regex(goesTo(namespace, '::1'), RESET);
    t.like(await host.stats(), {
      accepted: 11,
      handedOver: 9,
      unrouted: 2,
      rerouted: 0,
      partitions: [{ by: 'kernel' }],
    });
    t.deepEqual(
      [await one.ask('count'), await two.ask('count')],
      [
        { uid: 4001, count: 4 },
        { uid: 4002, count: 3 },
      ],
    );
    await host.close();
  },
);

withNamespaces('2,000 prefixes of both families in the kernel, unprivileged', async (t) => {
  const host = new Host(t, await NetworkNamespace.make(t));
  host.namespace.ip('route add local 10.0.0.0/8 dev lo');
  host.namespace.ip('-6 route add local 2001:db8::/32 dev lo');
  await host.backend('even');
  await host.backend('odd');
  const prefixes = Array.from({ length: 2000 }, (_, n) =>
    n < 1000 ? `10.${n >> 8}.${n & 255}.0/24` : `2001:db8:${(n - 1000).toString(16)}::/48`,
  );
  await host.listen([
    on80('even', { port: 8080, prefixes: prefixes.filter((_, n) => n % 2 === 0) }),
    on80('odd', { port: 8080, prefixes: prefixes.filter((_, n) => n % 2 === 1) }),
  ]);
  for (const [address, name] of [
    ['10.0.0.1', 'even'],
    ['10.0.1.1', 'odd'],
    ['10.3.231.1', 'odd'],
    ['2001:db8::1', 'even'],
    ['2001:db8:1::1', 'odd'],
    ['2001:db8:3e7::1', 'odd'],
  ] as const) {
    t.is(goesTo(host.namespace, address, 8080), name, address);
  }
  const of6 = Array.from(
    { length: 100 },
    (_, n) => `http://[2001:db8:${(n * 10).toString(16)}::${n}]:8080/?n=${n % 2}`,
  );
  const answers = host.namespace.run('curl', '--silent', '--globoff', '--write-out', '\n', ...of6);
  t.deepEqual(new Set(answers.trim().split('\n')), new Set(['0 even', '1 even']));
  t.regex(goesTo(host.namespace, '10.3.232.1', 8080), RESET);
  t.regex(goesTo(host.namespace, '2001:db8:3e8::1', 8080), RESET);
  t.like(await host.stats(), { rerouted: 0, unrouted: 2, partitions: [{ by: 'kernel', rules: 2000 }] });
  await host.close();
});

withNamespaces(
  'a backend is killed and started again: 502 meanwhile, and nothing for the others',
  async (t) => {
    const host = new Host(t, await NetworkNamespace.make(t));
    const { namespace } = host;
    const first = await host.backend('one');
    await host.backend('two');
    await host.listen([
      on80('one', { port: 8080, prefixes: ['127.0.1.0/24'] }),
      on80('two', { port: 8080, prefixes: ['127.0.2.0/24'] }),
    ]);
    t.is(goesTo(namespace, '127.0.1.1', 8080), 'one');
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');
    // 22: an error by its status.
    t.is(goesTo(namespace, '127.0.1.1', 8080), 'curl: 22');
    t.is(goesTo(namespace, '127.0.2.1', 8080), 'two');
    t.like(await host.stats(), { answered: { 502: 1 } });
    await host.backend('one');
    t.is(goesTo(namespace, '127.0.1.1', 8080), 'one');
    await host.close();
  },
);

withNamespaces('interfaces count, also those that come later and under other numbers', async (t) => {
  const network = await IngressNetwork.make(t);
  const host = new Host(t, network.server);
  await network.link('b');
  for (const name of ['left', 'right', 'prefix', 'rest']) await host.backend(name);
  const listeners = [
    on80('left', { port: 8080, ingress: 'a0' }),
    on80('right', { port: 8080, prefixes: ['198.51.100.0/24', '203.0.113.0/24'], ingress: 'b0' }),
    on80('prefix', { port: 8080, prefixes: ['198.51.100.0/24', '192.0.2.1/32'] }),
    on80('rest', { port: 8080 }),
  ];
  await host.listen(listeners);
  const { clients, server } = network;
  t.is(goesTo(clients, '198.51.100.1', 8080), 'right');
  t.is(goesTo(clients, '2001:db8:b::1', 8080), 'rest');
  for (let round = 0; round < 2; round++) {
    await network.link('a');
    // The table knows at once; the kernel's program follows.
    t.is(goesTo(clients, '2001:db8:a::1', 8080), 'left');
    t.is(goesTo(clients, '192.0.2.1', 8080), 'prefix', 'the longer prefix');
    const { rerouted } = await host.stats();
    await until('the kernel gives it to the right socket', async () => {
      const before = (await host.stats()).rerouted;
      t.is(goesTo(clients, '2001:db8:a::1', 8080), 'left');
      return (await host.stats()).rerouted === before;
    });
    t.true(rerouted <= 2 * (round + 1));
    server.ip('link delete a0');
  }
  await host.replace(listeners.slice(2));
  t.is(goesTo(clients, '198.51.100.1', 8080), 'prefix');
  t.is(goesTo(clients, '2001:db8:b::1', 8080), 'rest');
  await host.close();
});
