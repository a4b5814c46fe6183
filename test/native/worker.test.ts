// Worker threads: each has an environment of its own, and leaves no descriptor behind, however it ends.
import { once } from 'node:events';
import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { assertSameDescriptors, guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import type { WorkerData } from './children/worker.js';
import { pair, Sender } from './listener-fixture.js';

const native = loadNative();

guardDescriptors(test);

interface Started {
  worker: Worker;
  path: string;
  messages: unknown[];
  /** What the worker stored for the parent to see. */
  flag(): number;
}

async function startWorker(
  t: ExecutionContext,
  role: WorkerData['role'],
  fds: number[] = [],
): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-worker-'));
  const shared = new SharedArrayBuffer(4);
  const path = join(folder, 'socket');
  const workerData: WorkerData = { role, path, fds, shared };
  const worker = new Worker(new URL('children/worker.js', import.meta.url), { workerData });
  const messages: unknown[] = [];
  worker.on('message', (message) => messages.push(message));
  t.teardown(async () => {
    await worker.terminate();
    await rm(folder, { recursive: true });
  });
  await until('the worker is ready', () => messages.length > 0);
  return { worker, path, messages, flag: () => Atomics.load(new Int32Array(shared), 0) };
}

function connect(t: ExecutionContext, path: string): Sender {
  const sender = new Sender(path);
  t.teardown(() => sender.close());
  return sender;
}

test.serial('a worker receives on its own loop, and ends when its listener is closed', async (t) => {
  const [passed] = pair(t);
  const { worker, path, messages } = await startWorker(t, 'serve');
  const exited = once(worker, 'exit');
  const senders = ['a', 'b', 'c'].map((text) => {
    const sender = connect(t, path);
    sender.send(text, passed);
    return sender;
  });
  await exited;
  t.is(messages.slice(1).join(''), 'abc');
  t.deepEqual(
    senders.map((sender) => sender.reply()),
    [6, 6, 6],
  );
});

test.serial(
  'terminated in the middle of a batch: received descriptors and connections are closed',
  async (t) => {
    const [passed] = pair(t);
    const before = openDescriptors();
    const { worker, path, flag } = await startWorker(t, 'hang-in-batch');
    const sender = connect(t, path);
    sender.send('x', passed, passed);
    await until('the worker hangs', () => flag() === 2);
    t.is(await worker.terminate(), 1);
    t.is(sender.reply(), undefined);
    sender.close();
    await assertSameDescriptors(t, before);
  },
);

test.serial('terminated with connections that wait for their message: they are closed', async (t) => {
  const before = openDescriptors();
  const { worker, path, flag } = await startWorker(t, 'wait');
  const senders = Array.from({ length: 20 }, () => connect(t, path));
  await until('all are accepted', () => flag() === 20);
  await worker.terminate();
  t.true(senders.every((sender) => sender.reply() === undefined));
  for (const sender of senders) sender.close();
  await assertSameDescriptors(t, before);
});

test.serial('terminated while it holds what it never took: closed', async (t) => {
  const [passed] = pair(t);
  const before = openDescriptors();
  const { worker, path, flag } = await startWorker(t, 'hold');
  const senders = Array.from({ length: 5 }, () => connect(t, path));
  for (const sender of senders) sender.send('x', passed);
  await until('it holds five of each', () => flag() === 10);
  t.is(native.registeredFdCount(), 0, 'another environment has a registry of its own');
  await worker.terminate();
  for (const sender of senders) sender.close();
  await assertSameDescriptors(t, before);
});

test.serial('terminated with channels and messages on them: all of it is closed', async (t) => {
  const [passed] = pair(t);
  const before = openDescriptors();
  const { worker, path, flag } = await startWorker(t, 'keep');
  const senders = Array.from({ length: 5 }, () => connect(t, path));
  for (const sender of senders) sender.send('x', passed);
  await until('all are channels', () => flag() === 5);
  for (const sender of senders) for (let nth = 0; nth < 3; nth++) sender.send('y', passed);
  await until('more has come on them', () => flag() === 20);
  await worker.terminate();
  t.true(senders.every((sender) => sender.reply() === undefined));
  for (const sender of senders) sender.close();
  await assertSameDescriptors(t, before);
});

test.serial(
  'terminated while sendfile runs: its duplicates are closed, the borrowed ones are not',
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'fdpass-worker-'));
    const inFd = openSync(join(folder, 'sparse'), 'w+');
    ftruncateSync(inFd, 2 ** 30);
    const [left, right] = native.socketpair();
    const before = openDescriptors();
    const { worker, flag } = await startWorker(t, 'sendfile', [left, inFd]);
    const sink = Buffer.alloc(1 << 20);
    await until('it has sent some', () => {
      native.read(right, sink);
      return flag() > 20;
    });
    await worker.terminate();
    await assertSameDescriptors(t, before);
    t.true(native.inspectSocket(left) !== 0);
    native.closeFd(left);
    native.closeFd(right);
    closeSync(inFd);
    await rm(folder, { recursive: true });
  },
);

test.serial('terminated while it polls: the duplicate is closed, the borrowed one is not', async (t) => {
  const [left] = pair(t);
  const before = openDescriptors();
  const { worker, flag } = await startWorker(t, 'poll', [left]);
  await until('both pollers were called', () => flag() > 10);
  await worker.terminate();
  await assertSameDescriptors(t, before);
  t.true(native.inspectSocket(left) !== 0);
});

test.serial('an exception in the callback ends the worker with that error, and nothing leaks', async (t) => {
  const [passed] = pair(t);
  const before = openDescriptors();
  const { worker, path } = await startWorker(t, 'throw');
  const failed = once(worker, 'error') as Promise<[Error]>;
  const sender = connect(t, path);
  sender.send('x', passed);
  t.is((await failed)[0].message, 'in the batch');
  sender.close();
  await assertSameDescriptors(t, before);
});

test.serial('many workers, one after the other and at once, load and unload the addon', async (t) => {
  const before = openDescriptors();
  for (let round = 0; round < 3; round++) {
    const started = await Promise.all(Array.from({ length: 3 }, async () => await startWorker(t, 'wait')));
    const senders = started.map(({ path }) => connect(t, path));
    await until('each accepted one', () => started.every(({ flag }) => flag() === 1));
    await Promise.all(started.map(({ worker }) => worker.terminate()));
    for (const sender of senders) sender.close();
  }
  await assertSameDescriptors(t, before);
});
