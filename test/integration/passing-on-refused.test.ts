// What a router cannot pass on stays its own, untouched: for the next backend, or for an answer of its own.
import { join } from 'node:path';
import { closeHandover, type Handover, passOn, Sender } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { echo, ways } from '../helpers/passing-ways.js';
import { routeTo } from '../helpers/router.js';
import { closed, serve, temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import { listeningSocket } from '../helpers/wire-backend.js';

const native = loadNative();
guardDescriptors(test);

for (const [title, way] of Object.entries(ways)) {
  test(`${title}: refused, the client is the router’s as it was, for the next backend`, async (t) => {
    const full = await serve(t);
    full.server.maxConnections = 0;
    full.server.on('drop', () => {});
    const { path } = await serve(t, {}, echo);
    const router = await routeTo(t, full.path);
    const isBlind = way.version === 0;
    const client = await handOver(router.path, {
      ...way,
      method: 'POST',
      headers: { HTTP_CONTENT_LENGTH: '10' },
      earlyBytes: isBlind ? '' : '01234',
      bodyBytes: 10,
    });
    await until('it is refused', () => router.kept.length === 1);
    t.like(router.outcomes, [{ taken: false, code: 'FDPASS_ERR_REFUSED' }]);
    t.like(full.server.stats(), { refused: 1, errors: {} });
    await client.send(isBlind ? '0123456789' : '56789');
    const kept = router.kept.pop() as Handover;
    const outcome = await new Sender({ path }).send(passOn(kept));
    closeHandover(kept);
    t.true(outcome.taken);
    t.regex(await client.readToEnd(), / 1 \{\} \d+ early: 0123456789\n$/);
  });

  test(`${title}: a backend that says nothing has not touched the client either`, async (t) => {
    const silent = join(await temporaryFolder(t), 'socket');
    const listening = listeningSocket(silent, 16);
    t.teardown(() => native.closeFd(listening));
    const { path } = await serve(t, {}, echo);
    const router = await routeTo(t, silent, { sendTimeoutMs: 50 });
    const client = await handOver(router.path, way);
    await until('the router has given up', () => router.kept.length === 1);
    t.like(router.outcomes, [{ taken: false, code: 'FDPASS_ERR_ACK_TIMEOUT' }]);
    const kept = router.kept.pop() as Handover;
    t.true((await new Sender({ path }).send(passOn(kept))).taken);
    closeHandover(kept);
    t.regex(await client.readToEnd(), /GET \/ HTTP\/1\.1 \w+ 1 /);
  });
}

test('a circle of routers ends, and the last of them has the client', async (t) => {
  const { path } = await serve(t, {}, echo);
  const router = await routeTo(t, path);
  router.to = router.path;
  const client = await handOver(router.path);
  await until('it has come round', () => router.kept.length === 1 && router.outcomes.length === 99);
  t.deepEqual(router.failures, ['FDPASS_ERR_HOPS']);
  const kept = router.kept.pop() as Handover & { kind: 'full' };
  t.is(kept.hops, 99);
  native.write(kept.passedFd.fd, Buffer.from('HTTP/1.1 508 Loop Detected\r\n\r\n'));
  closeHandover(kept);
  t.is(await client.readToEnd(), 'HTTP/1.1 508 Loop Detected\r\n\r\n');
});

test('a backend that dies behind its acknowledgement has the client: the router does nothing more', async (t) => {
  const { path, server } = await serve(t, {}, () => {});
  const router = await routeTo(t, path);
  const client = await handOver(router.path);
  await until('it is served', () => server.stats().connections === 1);
  await closed(server);
  t.is(await client.readToEnd(), '');
  await until('the router knows', () => router.outcomes.length === 1);
  t.deepEqual(router.outcomes, [{ taken: true, connection: undefined }]);
});
