// GET /metrics of the demo: whose traffic it tells apart, by options and by the environment, and that it is not there without handovers.
import { join } from 'node:path';
import demo from '@fdpass/demo-app';
import test from 'ava';
import Fastify from 'fastify';
import { guardDescriptors } from '../helpers/descriptors.js';
import { assertOneSentence, FdpassCommand, root, temporaryFolder } from '../helpers/fdpass-command.js';
import { get, openPort, serve } from '../helpers/serve-command.js';
import { waysToServe } from '../helpers/served-demo.js';

guardDescriptors(test);

const APP = join(root, 'packages/demo-app');

const closing = { headers: { connection: 'close' } };

/** How many requests were answered with 2xx for clients that came in by an interface of this tag. */
const answered = (scrape: string, sourceTag: string): string | undefined =>
  new RegExp(
    `^fdpass_requests_total\\{source_tag="${sourceTag}",vip="127\\.0\\.0\\.1",code="2xx"\\} (\\d+)$`,
    'm',
  ).exec(scrape)?.[1];

test('what came in by an interface that the options name is counted under its tag, without the scrape itself', async (t) => {
  const served = await waysToServe['a handover']({
    metrics: { interfaces: [{ device: 'lo', tag: 'home' }] },
  });
  t.teardown(() => served.close());
  for (let count = 0; count < 3; count += 1) await (await fetch(`${served.origin}/hello`, closing)).text();
  await (await fetch(`${served.origin}/metrics`, closing)).text();
  const scrape = await (await fetch(`${served.origin}/metrics`, closing)).text();
  t.is(answered(scrape, 'home'), '3');
  t.regex(scrape, /^fdpass_handovers_total\{source_tag="home",kind="full"\} 5$/m);
});

for (const { interfaces, sourceTag } of [
  { interfaces: 'lo=home', sourceTag: 'home' },
  { interfaces: 'eth9=other,lo', sourceTag: 'lo' },
  { interfaces: 'eth9=other', sourceTag: 'direct' },
  { interfaces: '', sourceTag: 'direct' },
]) {
  test(`with FDPASS_INTERFACES="${interfaces}" the loopback's traffic is ${sourceTag}`, async (t) => {
    const socket = join(temporaryFolder(t), 'app.sock');
    await serve(t, [APP, '--socket', socket], { env: { FDPASS_INTERFACES: interfaces } });
    await get(t, socket, '/hello');
    const { url } = await openPort(t, socket);
    const scrape = await (await fetch(`${url}/metrics`, closing)).text();
    t.is(answered(scrape, sourceTag), '1');
  });
}

for (const { interfaces, place } of [
  { interfaces: 'lo=', place: 'interfaces[0].tag' },
  { interfaces: 'lo=a=b', place: 'interfaces[0].tag' },
  { interfaces: 'lo,=a', place: 'interfaces[1].device' },
]) {
  test(`FDPASS_INTERFACES="${interfaces}" is refused at ${place}`, async (t) => {
    const socket = join(temporaryFolder(t), 'app.sock');
    const env = { FDPASS_INTERFACES: interfaces };
    const ended = await FdpassCommand.run(t, ['serve', APP, '--socket', socket], { env });
    assertOneSentence(t, ended, new RegExp(place.replace(/[[\]]/g, '\\$&')));
  });
}

test('on plain Fastify there are no metrics, and all else is served', async (t) => {
  const app = Fastify();
  await app.register(demo);
  t.teardown(() => app.close());
  t.is((await app.inject('/metrics')).statusCode, 404);
  t.is((await app.inject('/hello')).statusCode, 200);
});
