// A server that runs out of descriptors loses nobody: clients wait in the backlog until there is room.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createFrontDoor, type HandoverServerStats } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { CommandedProcess } from '../helpers/commanded-process.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandOverOptions, handOver } from '../helpers/hand-over.js';
import { RawClient } from '../helpers/raw-client.js';
import { routeTo } from '../helpers/router.js';
import { temporaryFolder } from '../helpers/serve.js';

guardDescriptors(test);

type Stats = HandoverServerStats & { codes: string[]; endings: string[] };

async function start(
  t: ExecutionContext,
  descriptors: number,
  content = 'x'.repeat(100_000),
): Promise<{ crowded: CommandedProcess; path: string }> {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'socket');
  writeFileSync(join(folder, 'file'), content);
  const crowded = await CommandedProcess.start(t, 'crowded-process.js', [path, join(folder, 'file')], {
    before: `ulimit -n ${descriptors};`,
  });
  return { crowded, path };
}

const status = (answer: string): string => /^(?:HTTP\/1\.1|Status:) (\d+)/.exec(answer)?.[1] ?? '';

const crowds: Record<string, (nth: number) => HandOverOptions> = {
  'version 1, full': () => ({ kind: 'full', version: 1 }),
  'the public module, full': () => ({ kind: 'full', version: 0 }),
  'all kinds and versions': (nth) => ({
    kind: (['full', 'partial', 'relay'] as const)[nth % 3] ?? 'full',
    version: (nth % 2) as 0 | 1,
  }),
};

for (const [title, options] of Object.entries(crowds)) {
  test.serial(`300 clients at once and 100 descriptors: all are answered (${title})`, async (t) => {
    const { crowded, path } = await start(t, 100);
    const answers = await Promise.all(
      Array.from({ length: 300 }, async (_, nth) => (await handOver(path, options(nth))).readToEnd()),
    );
    t.deepEqual(new Set(answers.map(status)), new Set(['200']));
    let stats = await crowded.ask<Stats>('stats');
    while (stats.connections > 0) stats = await crowded.ask<Stats>('stats');
    t.is(stats.full + stats.partial + stats.relay, 300);
    t.true(stats.descriptorPauses > 0);
    t.deepEqual(stats.codes, []);
  });
}

test.serial(
  '300 clients at once that a router passes on, two descriptors for some: all are answered',
  async (t) => {
    const { crowded, path } = await start(t, 100);
    const router = await routeTo(t, path);
    const clients = Array.from({ length: 300 }, async (_, nth) => {
      const kind = (['full', 'partial', 'relay'] as const)[nth % 3] ?? 'full';
      return (await handOver(router.path, { kind, version: (nth % 2) as 0 | 1 })).readToEnd();
    });
    t.deepEqual(new Set((await Promise.all(clients)).map(status)), new Set(['200']));
    let stats = await crowded.ask<Stats>('stats');
    while (stats.connections > 0) stats = await crowded.ask<Stats>('stats');
    t.like(stats, { full: 100, partial: 100, relay: 100, codes: [] });
    t.true(stats.descriptorPauses > 0);
    t.true(router.outcomes.every(({ taken }) => taken));
  },
);

test.serial(
  '200 clients of a front door that each fetch a file: all are answered, none is reset',
  async (t) => {
    const { crowded, path } = await start(t, 110);
    const frontDoor = createFrontDoor({ listeners: [{ port: 0, to: path }], sendTimeoutMs: 30_000 });
    await frontDoor.listen();
    t.teardown(() => frontDoor.destroy());
    const port = frontDoor.addresses()[0]?.port ?? 0;
    const answers = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const client = await RawClient.connect(port);
        await client.send('GET /file HTTP/1.1\r\nHost: h\r\n\r\n');
        const answer = await client.readToEnd();
        t.is(client.error, undefined);
        return answer;
      }),
    );
    // Opening the file may lack a descriptor: that is the handler's to say, and it says so to its client.
    const lengths = answers.map(
      (answer) => `${status(answer)}: ${answer.split('\r\n\r\n')[1]?.length} bytes`,
    );
    t.deepEqual(
      lengths.filter((each) => each !== '200: 100000 bytes' && each !== '503: 6 bytes'),
      [],
    );
    t.deepEqual((await crowded.ask<Stats>('stats')).codes, []);
  },
);

/** More than the buffers of both ends take, so that it leaves in many pieces. Each line says where in the file it is. */
const LINES = Array.from({ length: 2_000_000 }, (_, nth) => String(nth).padStart(9)).join('\n');

for (const kind of ['full', 'partial'] as const) {
  test.serial(`${kind}: a file that got the last descriptor waits for no other one`, async (t) => {
    const { crowded, path } = await start(t, 100, LINES);
    const before = await crowded.ask<number>('open');
    const client = await handOver(path, { kind, target: '/last-descriptor' });
    const answer = await client.readToEnd();
    t.is(status(answer), '200');
    t.true(answer.endsWith(`\r\n\r\n${LINES}`));
    await untilClosed(crowded, before);
    t.deepEqual((await crowded.ask<Stats>('stats')).endings, ['done']);
  });

  test.serial(`${kind}: a file that got the last descriptor goes on when there are more`, async (t) => {
    const { crowded, path } = await start(t, 100, LINES);
    const before = await crowded.ask<number>('open');
    const client = await handOver(path, { kind, target: '/last-descriptor' });
    await client.readUntil('\r\n\r\n');
    client.answer.socket.pause();
    await crowded.ask('release');
    client.answer.socket.resume();
    t.true((await client.readToEnd()).endsWith(`\r\n\r\n${LINES}`));
    await untilClosed(crowded, before);
    t.deepEqual((await crowded.ask<Stats>('stats')).endings, ['done']);
  });

  test.serial(`${kind}: a file that got the last descriptor ends with its client`, async (t) => {
    const { crowded, path } = await start(t, 100, LINES);
    const before = await crowded.ask<number>('open');
    const client = await handOver(path, { kind, target: '/last-descriptor' });
    await client.readUntil('\r\n\r\n');
    await client.close();
    await untilClosed(crowded, before);
    t.deepEqual((await crowded.ask<Stats>('stats')).endings, ['done']);
  });
}

/** Resolves when the client and the file are closed, and nothing else is left open. */
async function untilClosed(crowded: CommandedProcess, openBefore: number): Promise<void> {
  let stats = await crowded.ask<Stats>('stats');
  while (stats.connections > 0 || stats.endings.length === 0) stats = await crowded.ask<Stats>('stats');
  await crowded.ask('release');
  while ((await crowded.ask<number>('open')) > openBefore);
}

test.serial('with no descriptor left at all, clients wait until there are some', async (t) => {
  const { crowded, path } = await start(t, 100);
  t.is(await crowded.ask('exhaust'), 'EMFILE');
  const clients = [0, 1, 2, 3, 4, 5].map(async (nth) =>
    handOver(path, { kind: 'full', version: (nth % 2) as 0 | 1 }).then((client) => client.readToEnd()),
  );
  await delay(300);
  t.is((await crowded.ask<Stats>('stats')).full, 0);
  await crowded.ask('release');
  t.deepEqual((await Promise.all(clients)).map(status), Array(6).fill('200'));
  t.deepEqual((await crowded.ask<Stats>('stats')).codes, []);
});

test.serial('listening without a descriptor to poll with fails, and leaves nothing', async (t) => {
  const listening = await CommandedProcess.start(t, 'crowded-listener.js', [], { before: 'ulimit -n 64;' });
  t.deepEqual(await listening.ask('listen'), { code: 'EMFILE', left: 0, again: 'listening' });
});
