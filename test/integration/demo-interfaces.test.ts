// The demo behind two interfaces, in network namespaces of the test's own: its /metrics tells a hundred requests on each apart, exactly,
// for IPv4 and IPv6, while the answers leave by the other one.
import { join } from 'node:path';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { FdpassCommand, root, temporaryFolder } from '../helpers/fdpass-command.js';
import { IngressNetwork } from '../helpers/ingress-network.js';
import { NAMESPACES } from '../helpers/network-namespace.js';
import { needs, program } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNamespaces = needs(test.serial, ...NAMESPACES, program('curl'));

const PORT = 8080;
const BIN = join(root, 'packages/backend-runtime/bin/fdpass.js');
const VIPS = { left: ['203.0.113.1', '2001:db8:c::1'], right: ['203.0.113.65', '2001:db8:d::1'] } as const;

withNamespaces('the demo tells a hundred requests on each of two interfaces apart', async (t) => {
  const network = await IngressNetwork.make(t);
  await network.linkOneWay();
  const socket = join(temporaryFolder(t), 'app.sock');
  const command = [...network.server.command, process.execPath, BIN];
  const demo = FdpassCommand.start(t, ['serve', join(root, 'packages/demo-app'), '--socket', socket], {
    command,
    env: { FDPASS_INTERFACES: 'a0=left,b0=right' },
  });
  await demo.printed('listening');
  const front = FdpassCommand.start(t, ['front', '--listen', `[::]:${PORT}`, '--to', `unix:${socket}`], {
    command,
  });
  await front.printed(`${PORT}`);

  const curl = (...args: string[]): string =>
    network.clients.run('curl', '--silent', '--show-error', '--fail', ...args);
  const url = (vip: string): string => `http://${vip.includes(':') ? `[${vip}]` : vip}:${PORT}`;
  const sent = (device: string): number => {
    const [link] = JSON.parse(network.server.ip(`-json -stats link show dev ${device}`));
    return link.stats64.tx.packets;
  };
  // The neighbours know each other then.
  for (const vip of Object.values(VIPS).flat()) curl(`${url(vip)}/metrics`);
  for (const [tag, vips] of Object.entries(VIPS)) {
    const before = { a0: sent('a0'), b0: sent('b0') };
    for (const vip of vips) {
      // Half of them on a connection each, half on one.
      curl(
        '--header',
        'Connection: close',
        '--globoff',
        ...Array.from({ length: 50 }, () => `${url(vip)}/hello`),
      );
      curl('--globoff', ...Array.from({ length: 50 }, () => `${url(vip)}/hello`));
    }
    const answers = { a0: sent('a0') - before.a0, b0: sent('b0') - before.b0 };
    const [other, own] = tag === 'left' ? [answers.b0, answers.a0] : [answers.a0, answers.b0];
    t.true(other >= 200 && own < 20, `${tag}: ${JSON.stringify(answers)}`);
  }

  let scrape = '';
  const counted = (tag: string, vip: string): string | undefined =>
    scrape
      .split('\n')
      .find((line) => line.startsWith(`fdpass_requests_total{source_tag="${tag}",vip="${vip}",code="2xx"}`))
      ?.split(' ')[1];
  await until('the last is counted', () => {
    scrape = curl(`${url(VIPS.left[0])}/metrics`);
    return counted('right', VIPS.right[1]) === '100';
  });
  for (const [tag, vips] of Object.entries(VIPS)) {
    for (const vip of vips) {
      t.is(counted(tag, vip), '100', `${tag} ${vip}`);
      t.is(counted(tag === 'left' ? 'right' : 'left', vip), undefined);
    }
  }
  t.regex(scrape, /^fdpass_ifindex_misses_total 0$/m);
});
