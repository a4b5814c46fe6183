// limitClients() on a real server: connections and requests per client address, and what it remembers of them.
import { limitClients } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { CommandedProcess } from '../helpers/commanded-process.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { serve, temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import { GET, versionZero, WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];
const status = (answer: string): string => /^(?:HTTP\/1\.1|Status:) (\d+)/.exec(answer)?.[1] ?? '';

for (const kind of KINDS) {
  test(`${kind}: connections of one address are limited, those of others are not, and a free place is used again`, async (t) => {
    const { path, server } = await serve(t, {}, (_request, response) => response.write('held'));
    server.use(limitClients({ maxConnections: 2 }));
    const held: HandedClient[] = [];
    for (const address of ['192.0.2.1', '192.0.2.1', '192.0.2.2', '2001:db8::1']) {
      const client = await handOver(path, { kind, address });
      await client.readUntil('held');
      held.push(client);
    }
    t.is(status(await (await handOver(path, { kind, address: '192.0.2.1' })).readToEnd()), '503');
    const open = server.stats().connections;
    await held.shift()?.close();
    await until('its place is free', () => server.stats().connections < open);
    const next = await handOver(path, { kind, address: '192.0.2.1' });
    t.is(status(await next.readUntil('held')), '200');
    t.is(status(await (await handOver(path, { kind, address: '192.0.2.1' })).readToEnd()), '503');
    for (const client of [...held, next]) await client.close();
  });

  test(`${kind}: requests above the rate get 429`, async (t) => {
    const { path, server } = await serve(t);
    server.use(limitClients({ requestsPerSecond: 0.01, burst: 3 }));
    const ask = async (address: string): Promise<string> =>
      status(await (await handOver(path, { kind, address })).readToEnd());
    const answers: string[] = [];
    for (let nth = 0; nth < 5; nth++) answers.push(await ask('192.0.2.1'));
    t.deepEqual(answers, ['200', '200', '200', '429', '429']);
    t.is(await ask('192.0.2.2'), '200');
  });
}

test('clients that are turned away and stay do not use up the places of others', async (t) => {
  const { path, server } = await serve(t, {}, (_request, response) => response.write('held'));
  server.maxConnections = 3;
  server.use(limitClients({ maxConnections: 1 }));
  const clients: HandedClient[] = [];
  for (let nth = 0; nth < 5; nth++) clients.push(await handOver(path, { address: '192.0.2.1' }));
  // Answered, and still open on their side: the server waits for them to go.
  for (const client of clients.slice(1)) await client.readUntil('503');
  t.is(server.stats().connections, 5);
  for (const address of ['192.0.2.2', '192.0.2.3']) {
    const other = await handOver(path, { address });
    t.is(status(await other.readUntil('held')), '200');
    clients.push(other);
  }
  await t.throwsAsync(handOver(path, { address: '192.0.2.4' }), { code: 'FDPASS_ERR_REFUSED' });
  for (const client of clients) await client.close();
});

test('requests of one kept connection count like those of several', async (t) => {
  const { path, server } = await serve(t, { keepAlive: { scope: '/' } });
  server.use(limitClients({ requestsPerSecond: 0.01, burst: 3 }));
  const client = await handOver(path);
  await client.send('GET /later HTTP/1.1\r\nHost: example.test\r\n\r\n'.repeat(9));
  const answers = (await client.readToEnd()).match(/HTTP\/1\.1 \d+/g);
  t.deepEqual(answers, ['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 429']);
});

test('connections that are rejected by a later middleware give their place back', async (t) => {
  const { path, server } = await serve(t);
  server.use(limitClients({ maxConnections: 1 }), (handover) => handover.reject(403));
  for (let nth = 0; nth < 5; nth++) {
    t.is(status(await (await handOver(path)).readToEnd()), '403');
    await until('it is closed', () => server.stats().connections === 0);
  }
});

test('UNIX clients count as one', async (t) => {
  const { path, server } = await serve(t, {}, (_request, response) => response.write('held'));
  server.use(limitClients({ maxConnections: 1 }));
  const headers = GET.map(([name, value]) => [name, name === 'REMOTE_ADDR' ? 'unix:' : value] as const);
  const ends: number[] = [];
  for (let nth = 0; nth < 2; nth++) {
    const [near, far] = native.socketpair();
    const sender = new WireSender(path);
    await sender.send(versionZero({ headers }), near);
    sender.close();
    native.closeFd(near);
    ends.push(far);
  }
  const heads: string[] = [];
  for (const fd of ends) {
    const bytes = Buffer.alloc(1024);
    await until('an answer comes', () => native.readQueueBytes(fd) > 0);
    heads.push(status(bytes.toString('latin1', 0, native.read(fd, bytes))));
    native.closeFd(fd);
  }
  t.deepEqual(heads, ['200', '503']);
});

test('memory does not grow with the addresses seen', async (t) => {
  const path = `${await temporaryFolder(t)}/socket`;
  const limited = await CommandedProcess.start(t, 'limiting-process.js', [path], {
    nodeOptions: ['--expose-gc'],
  });
  const round = async (from: number): Promise<number> => {
    const bytes = await limited.ask<number>(`addresses ${from} 40000`);
    t.is(typeof bytes, 'number');
    return bytes;
  };
  await round(0);
  const before = await round(100_000);
  const after = await round(200_000);
  // One remembered address costs some 200 bytes: 40,000 of them would be 8 MB.
  t.true(after - before < 2_000_000, `${before} and then ${after} bytes`);
});
