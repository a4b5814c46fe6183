// admission() on a real server: what a client sees that is denied, in each kind of handover, and that nothing of it is read before.
import { admission, createFrontDoor, interfaceStats } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { type AcceptedClient, ClientSource } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { RawClient } from '../helpers/raw-client.js';
import { serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];

/** A client that came to this address. */
async function acceptedAt(host: string): Promise<AcceptedClient> {
  const source = new ClientSource('0.0.0.0');
  const accepted = await source.next(host);
  source.close();
  return accepted;
}

/** What the client gets: all bytes, and the error if that is how it ends. */
async function seen(client: HandedClient): Promise<string> {
  const received = await client.readToEnd();
  return client.answer.error ?? received;
}

for (const kind of KINDS) {
  for (const [action, end] of [
    ['close', ''],
    // The client of a relay is the web server's: here it sees the end of the UNIX connection.
    ['reset', kind === 'relay' ? '' : 'ECONNRESET'],
  ] as const) {
    test(`${kind}: ${action} ends a client before anything of it is read`, async (t) => {
      const { path, server, errors, lines } = await serve(t);
      const closes: boolean[] = [];
      const admitting = admission({ block: ['192.0.2.0/24'], action });
      server.use(
        (handover, next) => {
          handover.observe({ onClose: (hadError) => closes.push(hadError) });
          next();
        },
        admitting,
        () => t.fail('a later middleware'),
      );
      server.on('connection', () => t.fail('a connection'));
      t.is(await seen(await handOver(path, { kind, address: '192.0.2.7' })), end);
      await until('it is forgotten', () => closes.length === 1);
      t.deepEqual(closes, [false]);
      t.is(server.stats().connections, 0);
      t.deepEqual(admitting.stats().block, [{ prefix: '192.0.2.0/24', connections: 1 }]);
      t.deepEqual([errors, lines], [[], []]);
    });
  }

  test(`${kind}: what is let in is served, also by a dry run`, async (t) => {
    const { path, server } = await serve(t);
    const admitting = admission({ allow: ['198.51.100.0/24'], action: 'reset' });
    server.use(admitting);
    t.regex(await seen(await handOver(path, { kind, address: '198.51.100.1' })), /served/);
    t.notRegex(await seen(await handOver(path, { kind, address: '192.0.2.7' })), /served/);
    admitting.replace({ allow: ['198.51.100.0/24'], dryRun: true });
    t.regex(await seen(await handOver(path, { kind, address: '192.0.2.7' })), /served/);
    t.deepEqual(admitting.stats(), {
      block: [],
      allow: [{ prefix: '198.51.100.0/24', connections: 1 }],
      notAllowed: 2,
    });
  });
}

test("the address that the client connected to is the kernel's word", async (t) => {
  const { path, server } = await serve(t);
  const admitting = admission({ block: ['127.0.1.0/24'] });
  server.use(admitting);
  const headers = { SERVER_ADDR: '127.0.2.1' };
  t.is(await seen(await handOver(path, { headers, accepted: await acceptedAt('127.0.1.1') })), '');
  t.regex(await seen(await handOver(path, { headers, accepted: await acceptedAt('127.0.2.1') })), /served/);
  t.is(admitting.stats().block[0]?.connections, 1);
});

test('the client is who the sender says, also where that is another host', async (t) => {
  const { path, server } = await serve(t);
  server.use(admission({ allow: ['2001:db8::/32'] }));
  t.regex(await seen(await handOver(path, { address: '2001:db8::7' })), /served/);
  t.is(await seen(await handOver(path, { address: '127.0.0.1' })), '');
});

test('a client that is sending still is reset by close as well: the kernel does that for what nobody has read', async (t) => {
  const { path, server } = await serve(t);
  server.use(admission({ block: ['192.0.2.0/24'] }));
  const accepted = await acceptedAt('127.0.0.1');
  await accepted.client.send('a body that nobody wants');
  t.is(await seen(await handOver(path, { address: '192.0.2.7', accepted })), 'ECONNRESET');
});

test('connections that are open stay when the rules change', async (t) => {
  const { path, server } = await serve(t, { keepAlive: { scope: '/' } });
  const admitting = admission({});
  server.use(admitting);
  const client = await handOver(path, { address: '192.0.2.7' });
  await client.readUntil('served');
  admitting.replace({ block: ['192.0.2.0/24'] });
  t.is(await seen(await handOver(path, { address: '192.0.2.7' })), '');
  const before = client.received.length;
  await client.send('GET / HTTP/1.1\r\nHost: example.test\r\n\r\n');
  await until('it is answered', () => client.received.slice(before).includes('served'));
  await client.close();
});

for (const version of [0, 1] as const) {
  test(`version ${version}, many at once: each is ended, and counted once`, async (t) => {
    const { path, server } = await serve(t);
    const admitting = admission({ block: ['192.0.2.0/24', '192.0.2.0/28'], action: 'reset' });
    const stats = interfaceStats();
    server.use(admitting, stats);
    const addresses = Array.from({ length: 40 }, (_, nth) => `192.0.2.${nth}`);
    const ends = await Promise.all(
      addresses.map(async (address) => seen(await handOver(path, { address, version }))),
    );
    t.deepEqual([...new Set(ends)], ['ECONNRESET']);
    t.deepEqual(
      admitting.stats().block.map(({ connections }) => connections),
      [24, 16],
    );
    t.deepEqual((await stats.snapshot()).handovers, []);
  });
}

test('behind the front door a client sees what it sees without', async (t) => {
  const { path, server } = await serve(t);
  const admitting = admission({ block: ['127.0.1.0/24'] });
  server.use(admitting);
  const door = createFrontDoor({ listeners: [{ host: '0.0.0.0', port: 0, to: path }] });
  await door.listen();
  t.teardown(() => door.destroy());
  const ask = async (host: string): Promise<string> => {
    const client = await RawClient.connect(door.addresses()[0]?.port ?? 0, host);
    await client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const received = await client.readToEnd();
    return client.error ?? received;
  };
  t.is(await ask('127.0.1.1'), '');
  t.regex(await ask('127.0.2.1'), /served/);
  admitting.replace({ block: ['127.0.2.0/24'], action: 'reset' });
  t.is(await ask('127.0.2.1'), 'ECONNRESET');
  t.regex(await ask('127.0.1.1'), /served/);
});
