// The whole way: a sender, a router that passes everything on, and a handover server behind it that serves it as if it had come directly.
import { chmodSync } from 'node:fs';
import { dirname } from 'node:path';
import { connectionInfo } from '@fdpass/backend-runtime';
import test from 'ava';
import { answerDigest, bodyOf, digestOf } from '../helpers/body-digest.js';
import { CommandedProcess } from '../helpers/commanded-process.js';
import { assertSameDescriptors, guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { echo, ways } from '../helpers/passing-ways.js';
import { condition, needs } from '../helpers/requirements.js';
import { routeTo } from '../helpers/router.js';
import { serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

for (const [title, way] of Object.entries(ways)) {
  test(`${title}: a body, some of it early, arrives whole, and so does the answer`, async (t) => {
    const { path, server } = await serve(t, {}, answerDigest);
    const router = await routeTo(t, path);
    const body = bodyOf(300_000);
    // The public module has none that it sends; in a relay it is what came with the message.
    const early = way.version === 0 ? 0 : 1000;
    const client = await handOver(router.path, {
      ...way,
      method: 'POST',
      headers: { HTTP_CONTENT_LENGTH: String(body.length) },
      earlyBytes: body.toString('latin1', 0, early),
      bodyBytes: body.length,
    });
    await client.send(body.subarray(early));
    const answer = await client.readToEnd();
    t.regex(answer, way.kind === 'relay' ? /^Status: 200/ : /^HTTP\/1\.1 200/);
    t.like(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))), {
      ...digestOf(body),
      method: 'POST',
      handover: way.kind,
    });
    t.like(server.stats(), { full: 0, partial: 0, relay: 0, [way.kind ?? '']: 1, errors: {} });
    await until('the router knows', () => router.outcomes.length === 1);
    t.deepEqual(router.outcomes, [{ taken: true, connection: undefined }]);
    t.deepEqual(router.errors, []);
  });

  test(`${title}: what the operator added arrives, what the routers added is not seen`, async (t) => {
    const { path } = await serve(t, {}, echo);
    const second = await routeTo(t, path);
    const router = await routeTo(t, second.path);
    const client = await handOver(router.path, {
      ...way,
      target: '/%7Ea/../b?c=d;e',
      headers: { GEO: 'caf\xe9', FD_PASS_LOCATION: '/' },
    });
    const variables = JSON.stringify({ GEO: 'caf\xe9', FD_PASS_LOCATION: '/' });
    const answer = Buffer.from(await client.readToEnd(), 'latin1').toString();
    t.true(answer.endsWith(`GET /%7Ea/../b?c=d;e HTTP/1.1 ${way.kind} 2 ${variables} 0 early: \n`), answer);
  });

  test.serial(
    `${title}: nothing is left of 30 clients, neither in the router nor in the server`,
    async (t) => {
      const { path, server } = await serve(t);
      const router = await routeTo(t, path);
      await (await handOver(router.path, way)).readToEnd();
      const before = openDescriptors();
      const clients = await Promise.all(Array.from({ length: 30 }, () => handOver(router.path, way)));
      for (const client of clients) t.regex(await client.readToEnd(), /200/);
      await until('all are closed', () => server.stats().connections === 0);
      await assertSameDescriptors(t, before);
    },
  );
}

for (const kind of ['full', 'partial'] as const) {
  test(`${kind}: the next request of the connection is served, too`, async (t) => {
    const { path } = await serve(t, { keepAlive: { scope: '/' } }, echo);
    const router = await routeTo(t, path);
    const client = await handOver(router.path, { kind, target: '/first' });
    await client.readUntil('GET /first');
    await client.send('POST /second HTTP/1.1\r\nHost: example.test\r\nContent-Length: 4\r\n\r\nbody');
    await client.readUntil('early: body\n');
    await client.send('GET /third HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n');
    t.true((await client.readToEnd()).includes(`GET /third HTTP/1.1 ${kind} 1 `));
  });

  test(`${kind}: an upgraded connection goes both ways`, async (t) => {
    const { path, server } = await serve(t);
    server.on('upgrade', (_request, socket, head) => {
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n\r\n${head}`);
      socket.pipe(socket);
    });
    const router = await routeTo(t, path);
    const headers = { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'websocket' };
    const client = await handOver(router.path, { kind, headers, earlyBytes: 'early' });
    await client.readUntil('\r\n\r\nearly');
    for (const frame of ['one', 'two', 'x'.repeat(100_000)]) {
      await client.send(frame);
      await client.readUntil(frame);
    }
    client.end();
    t.true((await client.readToEnd()).endsWith(`\r\n\r\nearlyonetwo${'x'.repeat(100_000)}`));
  });
}

test('a relay that asks for a WebSocket gets 426, as without a router', async (t) => {
  const { path, errors } = await serve(t);
  const router = await routeTo(t, path);
  const client = await handOver(router.path, { kind: 'relay', headers: { HTTP_UPGRADE: 'websocket' } });
  t.regex(await client.readToEnd(), /^Status: 426/);
  t.deepEqual(errors, ['BKR_ERR_RELAYED_UPGRADE']);
});

test('a relay whose operator wrote KTLS_RX has no decrypted bytes to send for it', async (t) => {
  const { path } = await serve(t, {}, echo);
  const router = await routeTo(t, path);
  for (const value of ['0', '1', 'on']) {
    const client = await handOver(router.path, { kind: 'relay', headers: { KTLS_RX: value } });
    t.regex(await client.readToEnd(), / relay 1 \{\} 0 early: \n$/);
  }
  await until('the router knows', () => router.outcomes.length === 3);
  t.deepEqual(router.outcomes, Array(3).fill({ taken: true, connection: undefined }));
});

test('what the public module has lost is missed, behind a router, too', async (t) => {
  const { path, errors } = await serve(t, { earlyBodyTimeoutMs: 50 }, echo);
  const router = await routeTo(t, path);
  for (const kind of ['full', 'partial'] as const) {
    const request = { kind, method: 'POST', headers: { HTTP_CONTENT_LENGTH: '10' } };
    const client = await handOver(router.path, { ...request, version: 0 });
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 408/);
  }
  t.deepEqual(errors, ['BKR_ERR_BODY_LOST', 'BKR_ERR_BODY_LOST']);
});

test('HTTP/1.0 is believed of a first sender of version 1 only', async (t) => {
  const { path } = await serve(t, {}, echo);
  const router = await routeTo(t, path);
  for (const [version, served] of [
    [0, '1.1'],
    [1, '1.0'],
  ] as const) {
    const client = await handOver(router.path, { version, headers: { SERVER_PROTOCOL: 'HTTP/1.0' } });
    t.true((await client.readToEnd()).includes(`GET / HTTP/${served} `));
  }
});

test('partial: a close is the end of the client’s stream in version 0, and the end of the client in version 1', async (t) => {
  const { path, server } = await serve(t, {}, echo);
  const router = await routeTo(t, path);
  const body = '0123456789';
  const request = { kind: 'partial', method: 'POST', headers: { HTTP_CONTENT_LENGTH: '10' } } as const;
  const blind = await handOver(router.path, { ...request, version: 0 });
  await blind.send(body);
  blind.end();
  t.true((await blind.readToEnd()).endsWith(`${body}\n`));
  const known = await handOver(router.path, { ...request, version: 1, earlyBytes: '01234' });
  await until('it is served', () => server.stats().connections === 1);
  await known.close();
  await until('it is over', () => server.stats().connections === 0);
});

const isRoot = process.getuid?.() === 0;
const asRoot = needs(test, condition(isRoot, 'root, to send as somebody else: run the tests as root'));
/** Debian's nobody and nogroup. */
const NOBODY = 65_534;

for (const [title, trustedRouters, isBelieved] of [
  ['trusted', { uids: [0] }, true],
  ['not trusted', undefined, false],
] as const) {
  asRoot(
    `behind a router that is ${title}, handlers see the ${isBelieved ? 'first sender' : 'router'}`,
    async (t) => {
      const senders: unknown[] = [];
      const { path } = await serve(
        t,
        { allowedPeers: { uids: [0] }, ...(trustedRouters && { trustedRouters }) },
        (request, response) => {
          senders.push(connectionInfo(request).sender);
          response.end();
        },
      );
      const router = await routeTo(t, path, { listen: { mode: 0o666 } });
      chmodSync(dirname(router.path), 0o755);
      const args = [router.path, String(NOBODY), String(NOBODY)];
      const child = await CommandedProcess.start(t, 'sending-process.js', args);
      t.deepEqual(await child.ask('send'), ['200', '200', '200', '200']);
      const sender = isBelieved
        ? { pid: child.pid, uid: NOBODY, gid: NOBODY }
        : { pid: process.pid, uid: 0, gid: process.getgid?.() };
      t.deepEqual(senders, Array(4).fill(sender));
    },
  );
}
