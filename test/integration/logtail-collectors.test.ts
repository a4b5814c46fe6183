// The ways to a collector, by one contract: lines arrive whole, a collector that leaves is counted and found again, one that is slow or
// full delays nobody.
import { rmSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { type Logtail, type LogtailOptions, openLogtail } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { type Collector, udpCollector, unixCollector } from '../helpers/collector.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { condition, type Declare, needs } from '../helpers/requirements.js';
import { serve, temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const native = loadNative();
const hasIpv6 = Object.values(networkInterfaces()).some((each) =>
  each?.some(({ address }) => address === '::1'),
);

/** Opens a collector; again, at the same address, after it was closed. */
type Open = () => Promise<Collector>;

const udp =
  (host: string) =>
  async (t: ExecutionContext): Promise<Open> => {
    let port = 0;
    return async () => {
      const collector = await udpCollector(t, host, port);
      port = Number(collector.to.split(':').at(-1));
      return collector;
    };
  };

const unixAt =
  (t: ExecutionContext, path: string): Open =>
  async () => {
    if (!path.startsWith('\0')) rmSync(path, { force: true });
    return unixCollector(t, path);
  };

let abstractNames = 0;
const abstractName = (): string => `\0fdpass-test-${process.pid}-${abstractNames++}`;

interface Way {
  readonly open: (t: ExecutionContext) => Promise<Open>;
  readonly test: Declare<unknown>;
}

const WAYS: Readonly<Record<string, Way>> = {
  'UDP by IPv4': { open: udp('127.0.0.1'), test },
  'UDP by IPv6': { open: udp('::1'), test: needs(test, condition(hasIpv6, 'IPv6 on loopback')) },
  'a UNIX path': {
    open: async (t: ExecutionContext) => unixAt(t, `${await temporaryFolder(t)}/collector`),
    test,
  },
  'an abstract UNIX address': { open: async (t: ExecutionContext) => unixAt(t, abstractName()), test },
};

async function log(
  t: ExecutionContext,
  options: LogtailOptions,
): Promise<{ tail: Logtail; client: HandedClient }> {
  const tail = await openLogtail({ format: '$request_uri', flushIntervalMs: 60_000, ...options });
  t.teardown(() => tail.close());
  const { server, path } = await serve(t, { keepAlive: { scope: '/' } }, (request, response) =>
    response.end(request.url),
  );
  server.use(tail);
  const client = await handOver(path, { target: '/first' });
  await client.readUntil('/first');
  t.teardown(() => client.close());
  return { tail, client };
}

/** Answers that arrive: nobody waits for the log. */
async function ask(client: HandedClient, targets: readonly string[]): Promise<void> {
  await client.send(targets.map((target) => `GET ${target} HTTP/1.1\r\nHost: example.test\r\n\r\n`).join(''));
  for (const target of targets.slice(-1)) await client.readUntil(`\r\n\r\n${target}`);
}

const named = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, nth) => `/${prefix}-${nth}.`);

for (const [way, { open, test }] of Object.entries(WAYS)) {
  test(`${way}: lines arrive, in datagrams of whole lines`, async (t) => {
    const collector = await (await open(t))();
    const { tail, client } = await log(t, { to: collector.to, maxDatagramBytes: 512 });
    const targets = named('long'.repeat(20), 50);
    await ask(client, targets);
    tail.flush();
    t.deepEqual(await collector.wait(51), ['/first', ...targets]);
    t.true(collector.datagrams.length >= 9);
    for (const datagram of collector.datagrams) {
      t.true(datagram.endsWith('\n'));
      t.true(datagram.length <= 512);
    }
    await until('they are counted', () => tail.lines.sent === 51);
  });

  test(`${way}: a collector that leaves is counted, and found again when it is back`, async (t) => {
    const openCollector = await open(t);
    const first = await openCollector();
    const { tail, client } = await log(t, { to: first.to });
    tail.flush();
    t.deepEqual(await first.wait(1), ['/first']);
    await until('it is counted', () => tail.lines.sent === 1);
    await first.close();
    await ask(client, ['/lost']);
    tail.flush();
    await until('the loss is counted', () => tail.lines.dropped_error === 1);
    const second = await openCollector();
    await ask(client, ['/found']);
    tail.flush();
    t.deepEqual(await second.wait(1), ['/found']);
    await until('it is counted', () => tail.lines.sent === 2);
    t.deepEqual(tail.lines, { sent: 2, dropped_full: 0, dropped_error: 1, dropped_too_long: 0 });
  });

  test(`${way}: closing sends what waits`, async (t) => {
    const collector = await (await open(t))();
    const { tail, client } = await log(t, { to: collector.to });
    await ask(client, ['/last']);
    await tail.close();
    t.deepEqual(await collector.wait(2), ['/first', '/last']);
    t.is(tail.lines.sent, 2);
  });

  test(`${way}: a line that fits into no datagram is counted`, async (t) => {
    const collector = await (await open(t))();
    const { tail, client } = await log(t, { to: collector.to, maxDatagramBytes: 512 });
    await ask(client, [`/${'x'.repeat(600)}.`, '/short']);
    tail.flush();
    t.deepEqual(await collector.wait(2), ['/first', '/short']);
    t.is(tail.lines.dropped_too_long, 1);
  });
}

for (const [kind, path] of [
  ['a UNIX path', async (t: ExecutionContext) => `${await temporaryFolder(t)}/collector`],
  ['an abstract UNIX address', async () => abstractName()],
] as const) {
  test(`${kind}: a collector that reads nothing delays nobody; what waited arrives when it reads`, async (t) => {
    const collector = unixCollector(t, await path(t), false);
    const { tail, client } = await log(t, { to: collector.to, bufferBytes: 4096, maxDatagramBytes: 512 });
    let asked = 1;
    for (let round = 0; tail.lines.dropped_full === 0; round++) {
      await ask(client, named(`${round}-${'x'.repeat(40)}`, 20));
      asked += 20;
    }
    await ask(client, ['/answered-all-the-same']);
    asked++;
    const { dropped_full } = tail.lines;
    collector.resume();
    tail.flush();
    await collector.wait(asked - dropped_full);
    await until('they are counted', () => {
      tail.flush();
      return tail.lines.sent + tail.lines.dropped_full === asked;
    });
    t.is(collector.lines.length, tail.lines.sent);
    t.is(collector.lines[0], '/first');
    t.is(new Set(collector.lines).size, collector.lines.length);
  });

  test(`${kind}: a full collector that leaves gives its lines back to the counter`, async (t) => {
    const collector = unixCollector(t, await path(t), false);
    const { tail, client } = await log(t, { to: collector.to, bufferBytes: 4096, maxDatagramBytes: 512 });
    for (let round = 0; tail.lines.dropped_full === 0; round++) {
      await ask(client, named(`${round}-${'x'.repeat(40)}`, 20));
    }
    await collector.close();
    await until('what waited is lost', () => tail.lines.dropped_error > 0);
    await ask(client, ['/answered-all-the-same']);
    await tail.close();
    t.pass();
  });

  test(`${kind}: closing does not wait for a full collector for ever`, async (t) => {
    const collector = unixCollector(t, await path(t), false);
    const { tail, client } = await log(t, { to: collector.to, bufferBytes: 4096, maxDatagramBytes: 512 });
    for (let round = 0; tail.lines.dropped_full === 0; round++) {
      await ask(client, named(`${round}-${'x'.repeat(40)}`, 20));
    }
    const { dropped_full } = tail.lines;
    await tail.close();
    t.true(tail.lines.dropped_full > dropped_full);
  });
}

test('an abstract collector may come after the log was opened', async (t) => {
  const name = abstractName();
  const { tail, client } = await log(t, { to: `unix:${name.replace('\0', '@')}` });
  tail.flush();
  await until('nobody is there yet', () => tail.lines.dropped_error === 1);
  const collector = unixCollector(t, name);
  await ask(client, ['/later']);
  tail.flush();
  t.deepEqual(await collector.wait(1), ['/later']);
});

test('a UNIX path that is no datagram socket is refused', async (t) => {
  const path = `${await temporaryFolder(t)}/stream`;
  const fd = native.bindUnix(path, 0o600);
  t.teardown(() => native.closeFd(fd));
  native.listen(fd, 1);
  const error = await t.throwsAsync(openLogtail({ to: `unix:${path}` }), { code: 'BKR_ERR_LOG_COLLECTOR' });
  t.is((error?.cause as NodeJS.ErrnoException | undefined)?.code, 'EPROTOTYPE');
});
