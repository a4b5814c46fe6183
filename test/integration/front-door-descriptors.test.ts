// The front door in a process that runs out of descriptors: clients wait, none is lost, nothing spins.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import type { FrontDoorStats } from '#runtime/front-door/index.js';
import { CollectingBackend } from '../helpers/collecting-backend.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { RawClient } from '../helpers/raw-client.js';

guardDescriptors(test);

const SCRIPT = fileURLToPath(new URL('../helpers/front-door-process.js', import.meta.url));
const GET = 'GET /a HTTP/1.1\r\nHost: h\r\n\r\n';

interface Fixture {
  backend: CollectingBackend;
  port: number;
  command(name: 'exhaust' | 'release'): Promise<unknown>;
  stats(): Promise<FrontDoorStats>;
  child: ChildProcess;
}

async function start(t: ExecutionContext, descriptors: number, headTimeoutMs: number): Promise<Fixture> {
  const backend = await CollectingBackend.listen();
  const command = `ulimit -n ${descriptors}; exec "$0" "$@"`;
  const child = spawn(
    '/bin/sh',
    ['-c', command, process.execPath, SCRIPT, backend.path, String(headTimeoutMs)],
    {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    },
  );
  const ask = async (name: string): Promise<unknown> => {
    const answer = once(child, 'message');
    child.send(name);
    return (await answer)[0];
  };
  t.teardown(async () => {
    const exit = once(child, 'exit');
    child.send('close');
    await exit;
    await backend.close();
  });
  const [port] = (await once(child, 'message')) as [number];
  return { backend, port, child, command: ask, stats: () => ask('stats') as Promise<FrontDoorStats> };
}

async function untilStats(
  set: Fixture,
  what: string,
  holds: (stats: FrontDoorStats) => boolean,
): Promise<FrontDoorStats> {
  for (let round = 0; round < 1000; round++) {
    const stats = await set.stats();
    if (holds(stats)) return stats;
    await delay(5);
  }
  throw new Error(`waited in vain until ${what}`);
}

test('a client that comes when there is no descriptor left waits in the backlog', async (t) => {
  const set = await start(t, 64, 10_000);
  t.is(await set.command('exhaust'), 'EMFILE');
  const client = await RawClient.connect(set.port);
  await client.send(GET);
  await untilStats(set, 'accepting pauses', ({ shortagePauses }) => shortagePauses > 0);
  // While it lasts, the readable listener shall not be polled.
  await delay(300);
  t.is((await set.stats()).accepted, 0);
  t.is((await set.stats()).shortagePauses, 1);
  await set.command('release');
  const { headers, passedFd } = await set.backend.next();
  t.is(headers.get('REQUEST_URI'), '/a');
  passedFd.close();
  t.is(await client.readToEnd(), '');
});

test('a client whose handover lacks a descriptor is handed over when there is one', async (t) => {
  const set = await start(t, 64, 10_000);
  const client = await RawClient.connect(set.port);
  await client.send(GET.slice(0, 10));
  await untilStats(set, 'it waits', ({ waiting }) => waiting === 1);
  t.is(await set.command('exhaust'), 'EMFILE');
  await client.send(GET.slice(10));
  await untilStats(
    set,
    'it is offered',
    ({ handingOver, shortagePauses }) => handingOver === 1 && shortagePauses > 0,
  );
  await delay(200);
  await set.command('release');
  const { headers, passedFd } = await set.backend.next();
  t.is(headers.get('REQUEST_URI'), '/a');
  passedFd.close();
  t.is(await client.readToEnd(), '');
  t.deepEqual((await set.stats()).refused, {});
});

test('more slow clients than descriptors: the others are served all the same, one after the other', async (t) => {
  const set = await start(t, 64, 300);
  const slow = await Promise.all(Array.from({ length: 80 }, () => RawClient.connect(set.port)));
  const slowAnswers = slow.map(async (client) => {
    await client.send('GET / HTTP/1.1\r\n');
    return client.readToEnd();
  });
  const fast = await Promise.all(Array.from({ length: 40 }, () => RawClient.connect(set.port)));
  const fastAnswers = fast.map(async (client) => {
    await client.send(GET);
    return client.readToEnd();
  });
  for (let n = 0; n < fast.length; n++) {
    const { socket } = await set.backend.nextSocket();
    socket.on('error', () => {});
    socket.end('served');
    socket.resume();
  }
  t.deepEqual(new Set(await Promise.all(fastAnswers)), new Set(['served']));
  for (const answer of await Promise.all(slowAnswers)) t.regex(answer, /^HTTP\/1\.1 408 /);
  const stats = await set.stats();
  t.is(stats.handedOver, 40);
  t.deepEqual(stats.answered, { 408: 80 });
  t.deepEqual(stats.refused, {});
  t.true(stats.shortagePauses > 0);
});
