// One process after the other on the same path: no sender finds nobody there, and no client is lost.
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createFrontDoor } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { CommandedProcess } from '../helpers/commanded-process.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { RawClient } from '../helpers/raw-client.js';
import { closed, makeServer, serve, temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

const native = loadNative();
guardDescriptors(test);

const SWAPS = 5;

/** Five processes, each taking the path over from the one before, which then drains. */
async function swap(t: ExecutionContext, path: string, betweenSwaps: () => Promise<void>): Promise<number[]> {
  const processes = await Promise.all(
    Array.from({ length: SWAPS + 1 }, () =>
      CommandedProcess.start(t, 'serving-process.js', [path, 'takeover']),
    ),
  );
  let current: CommandedProcess | undefined;
  for (const next of processes) {
    t.is(await next.ask('listen'), 'listening');
    const draining = current?.ask('close');
    await betweenSwaps();
    await draining;
    current = next;
  }
  return processes.map(({ pid }) => pid);
}

const servers = (answers: readonly string[]): Set<number> =>
  new Set(answers.map((answer) => Number(/served by (\d+)$/.exec(answer)?.[1])));

for (const version of [0, 1] as const) {
  test(`senders of version ${version} under load: no error, nothing lost`, async (t) => {
    const path = join(await temporaryFolder(t), 'socket');
    const answers: string[] = [];
    let isSwapping = true;
    const load = async (): Promise<void> => {
      while (isSwapping) {
        try {
          const client = await handOver(path, { version });
          answers.push(await client.readToEnd());
        } catch (error) {
          // What a draining process refuses goes to the next backend: the same path, where the next process listens.
          t.is((error as NodeJS.ErrnoException).code, 'FDPASS_ERR_REFUSED');
        }
      }
    };
    let loads: Promise<void>[] | undefined;
    const pids = await swap(t, path, async () => {
      loads ??= Array.from({ length: 8 }, load);
      const wanted = answers.length + 100;
      while (answers.length < wanted) await new Promise((resolve) => setImmediate(resolve));
    });
    isSwapping = false;
    await Promise.all(loads ?? []);
    t.true(answers.length >= 100 * SWAPS);
    t.true(answers.every((answer) => /^HTTP\/1\.1 200 .*served by \d+$/s.test(answer)));
    t.deepEqual(servers(answers), new Set(pids));
    t.deepEqual(readdirSync(dirname(path)), ['socket']);
  });
}

test('clients of a front door under load: each gets its answer', async (t) => {
  const path = join(await temporaryFolder(t), 'socket');
  const frontDoor = createFrontDoor({
    listeners: [{ port: 0, to: path }],
    logger: { warn: (...line) => t.log(line) },
  });
  await frontDoor.listen();
  t.teardown(() => frontDoor.destroy());
  const port = frontDoor.addresses()[0]?.port ?? 0;
  const answers: string[] = [];
  let isSwapping = true;
  const load = async (): Promise<void> => {
    while (isSwapping) {
      const client = await RawClient.connect(port);
      await client.send('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
      answers.push(await client.readToEnd());
    }
  };
  let loads: Promise<void>[] | undefined;
  const pids = await swap(t, path, async () => {
    loads ??= Array.from({ length: 8 }, load);
    const wanted = answers.length + 100;
    while (answers.length < wanted) await new Promise((resolve) => setImmediate(resolve));
  });
  isSwapping = false;
  await Promise.all(loads ?? []);
  t.deepEqual(
    answers.filter((answer) => !answer.startsWith('HTTP/1.1 200 ')),
    [],
  );
  t.deepEqual(servers(answers), new Set(pids));
});

test('clients that wait in the accept queue of the one that is replaced get their answer from the next', async (t) => {
  const path = join(await temporaryFolder(t), 'socket');
  const old = await CommandedProcess.start(t, 'serving-process.js', [path]);
  const next = await CommandedProcess.start(t, 'serving-process.js', [path, 'takeover']);
  await old.ask('listen');
  const frontDoor = createFrontDoor({ listeners: [{ port: 0, to: path }] });
  await frontDoor.listen();
  t.teardown(() => frontDoor.destroy());
  t.is(await old.ask('stall'), 'stalling');
  await delay(100);
  const clients = await Promise.all(
    Array.from({ length: 5 }, () => RawClient.connect(frontDoor.addresses()[0]?.port ?? 0)),
  );
  for (const client of clients) await client.send('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
  await until('they are offered to the old one', () => frontDoor.stats().handingOver === 5);
  t.is(await next.ask('listen'), 'listening');
  for (const client of clients) {
    t.regex(await client.readToEnd(), new RegExp(`^HTTP/1\\.1 200 .*served by ${next.pid}$`, 's'));
  }
});

test('the one that was replaced neither removes the path nor counts an error', async (t) => {
  const old = await serve(t);
  const next = await makeServer(t, {}, (_request, response) => response.end('next'));
  const inFlight = await handOver(old.path);
  next.server.listen({ path: old.path, takeover: true, mode: 0o600 });
  await new Promise((resolve) => next.server.once('listening', resolve));
  // Not closed yet: it serves what it has.
  t.regex(await inFlight.readToEnd(), /served$/);
  await closed(old.server);
  t.true(existsSync(old.path));
  t.deepEqual(old.errors, []);
  t.regex(await (await handOver(old.path)).readToEnd(), /next$/);
  await closed(next.server);
  t.false(existsSync(old.path));
});

test('a path that nobody listens on can be taken over as well, and one that is not there', async (t) => {
  for (const isStale of [true, false]) {
    const { server, path } = await makeServer(t);
    if (isStale) native.closeFd(native.bindUnix(path, 0o600));
    server.listen({ path, takeover: true });
    await new Promise((resolve) => server.once('listening', resolve));
    t.regex(await (await handOver(path)).readToEnd(), /served$/);
  }
});

test('three processes race for the same stale path: exactly one wins, every time', async (t) => {
  const path = join(await temporaryFolder(t), 'socket');
  const racers = await Promise.all(
    Array.from({ length: 3 }, () => CommandedProcess.start(t, 'serving-process.js', [path])),
  );
  for (let round = 0; round < 25; round++) {
    native.closeFd(native.bindUnix(path, 0o600));
    const results = await Promise.all(racers.map((racer) => racer.ask<string>('listen')));
    t.deepEqual([...results].sort(), ['EADDRINUSE', 'EADDRINUSE', 'listening'], `round ${round}`);
    const winner = racers[results.indexOf('listening')] as CommandedProcess;
    t.regex(await (await handOver(path)).readToEnd(), new RegExp(`served by ${winner.pid}$`));
    await winner.ask('close');
    t.deepEqual(readdirSync(dirname(path)), []);
  }
});

test('processes that take over from each other at the same moment leave one live socket', async (t) => {
  const path = join(await temporaryFolder(t), 'socket');
  const racers = await Promise.all(
    Array.from({ length: 3 }, () => CommandedProcess.start(t, 'serving-process.js', [path, 'takeover'])),
  );
  for (let round = 0; round < 10; round++) {
    const results = await Promise.all(racers.map((racer) => racer.ask('listen')));
    t.deepEqual(results, ['listening', 'listening', 'listening']);
    const answer = await (await handOver(path)).readToEnd();
    const pid = [...servers([answer])][0];
    const losers = racers.filter((racer) => racer.pid !== pid);
    t.is(losers.length, 2);
    for (const loser of losers) await loser.ask('close');
    t.regex(await (await handOver(path)).readToEnd(), new RegExp(`served by ${pid}$`));
    await racers.find((racer) => racer.pid === pid)?.ask('close');
    t.deepEqual(readdirSync(dirname(path)), []);
  }
});
