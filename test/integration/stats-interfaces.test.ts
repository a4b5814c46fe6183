// The stats of each interface, exactly, in network namespaces of the test's own.

import type { StatsSnapshot } from '@fdpass/backend-runtime';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { IngressNetwork, type IngressServer } from '../helpers/ingress-network.js';
import { NAMESPACES } from '../helpers/network-namespace.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNamespaces = needs(test.serial, ...NAMESPACES);

/** Requests by tag and address, when so many are counted. */
async function counted(serving: IngressServer, requests: number): Promise<Record<string, number>> {
  let byPair: Record<string, number> = {};
  await until(`${requests} are counted`, async () => {
    const { pairs } = await serving.process.ask<StatsSnapshot>('stats');
    byPair = Object.fromEntries(
      pairs.map(({ sourceTag, vip, requests: by }) => [`${sourceTag} ${vip}`, by['2xx']]),
    );
    return Object.values(byPair).reduce((sum, count) => sum + count, 0) >= requests;
  });
  return byPair;
}

for (const [who, uid] of Object.entries({ root: '', nobody: '65534' })) {
  withNamespaces(
    `as ${who}: ten requests by each device and family are counted as 20, 10 and 10`,
    async (t) => {
      const network = await IngressNetwork.make(t);
      await network.link('a');
      await network.link('b');
      const serving = await network.serve(
        [
          { device: 'a0', tag: 'left' },
          { device: 'b0', family: 'ipv4', tag: 'right-4' },
          { device: 'b0', family: 'ipv6', tag: 'right-6' },
        ],
        { uid },
      );
      const client = await network.client();
      for (let times = 0; times < 10; times++) {
        for (const address of ['192.0.2.1', '2001:db8:a::1', '198.51.100.1', '2001:db8:b::1']) {
          await client.ask(`${address} ${serving.port}`);
        }
      }
      t.deepEqual(await counted(serving, 40), {
        'left 192.0.2.1': 10,
        'left 2001:db8:a::1': 10,
        'right-4 198.51.100.1': 10,
        'right-6 2001:db8:b::1': 10,
      });
      const { handovers, ifindexMisses } = await serving.process.ask<StatsSnapshot>('stats');
      t.deepEqual(Object.fromEntries(handovers.map(({ sourceTag, full }) => [sourceTag, full])), {
        left: 20,
        'right-4': 10,
        'right-6': 10,
      });
      t.is(ifindexMisses, 0);
      t.deepEqual(await serving.close(), []);
    },
  );
}

withNamespaces('what comes in by one and goes out by the other is of the one', async (t) => {
  const network = await IngressNetwork.make(t);
  await network.linkOneWay();
  const serving = await network.serve([{ device: 'a0' }, { device: 'b0' }]);
  const client = await network.client();
  for (let times = 0; times < 100; times++) {
    await client.ask(`203.0.113.1 ${serving.port}`);
    await client.ask(`2001:db8:c::1 ${serving.port}`);
    await client.ask(`198.51.100.1 ${serving.port}`);
  }
  t.deepEqual(await counted(serving, 300), {
    'a0 203.0.113.1': 100,
    'a0 2001:db8:c::1': 100,
    'b0 198.51.100.1': 100,
  });
  t.deepEqual(await serving.close(), []);
});

withNamespaces(
  'what no rule names has the default tag and is a miss, until its device is there',
  async (t) => {
    const network = await IngressNetwork.make(t);
    await network.link('a');
    const serving = await network.serve([{ device: 'b0', tag: 'right' }]);
    const client = await network.client();
    await client.ask(`192.0.2.1 ${serving.port}`);
    await network.link('b');
    await client.ask(`198.51.100.1 ${serving.port}`);
    t.deepEqual(await counted(serving, 2), { 'direct 192.0.2.1': 1, 'right 198.51.100.1': 1 });
    t.is((await serving.process.ask<StatsSnapshot>('stats')).ifindexMisses, 1);
    t.deepEqual(await serving.close(), []);
  },
);
