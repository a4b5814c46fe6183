// A file to a socket, in the thread pool.
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { Child } from './children/run.js';
import { pair } from './listener-fixture.js';
import { tcpPair } from './tcp-pair.js';

const native = loadNative();

guardDescriptors(test);

interface Outcome {
  error: NodeJS.ErrnoException | null;
  bytes: number;
  wouldBlock: boolean;
}

const sendfile = (outFd: number, inFd: number, offset: number, length: number): Promise<Outcome> =>
  new Promise((resolve) => {
    native.sendfile(outFd, inFd, offset, length, (error, bytes, wouldBlock) => {
      resolve({ error, bytes, wouldBlock });
    });
  });

/** Bytes that tell their position. */
const pattern = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, index) => (index * 7) % 253));

async function file(t: ExecutionContext, content: Buffer): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-sendfile-'));
  writeFileSync(join(folder, 'file'), content);
  const fd = openSync(join(folder, 'file'), 'r');
  t.teardown(async () => {
    closeSync(fd);
    await rm(folder, { recursive: true });
  });
  return fd;
}

function readAll(fd: number): Buffer {
  const chunks: Buffer[] = [];
  for (;;) {
    const chunk = Buffer.alloc(65_536);
    const count = native.read(fd, chunk);
    if (count <= 0) return Buffer.concat(chunks);
    chunks.push(chunk.subarray(0, count));
  }
}

const small = pattern(1000);
for (const [title, offset, length, expected] of [
  ['the whole file', 0, 1000, small],
  ['a piece from an offset', 100, 300, small.subarray(100, 400)],
  ['up to the end of the file, when that comes first', 900, 5000, small.subarray(900)],
  ['nothing past the end', 1000, 10, Buffer.alloc(0)],
  ['nothing for a length of 0', 10, 0, Buffer.alloc(0)],
] as const) {
  test.serial(`sends ${title}`, async (t) => {
    const [left, right] = pair(t);
    const inFd = await file(t, small);
    t.deepEqual(await sendfile(left, inFd, offset, length), {
      error: null,
      bytes: expected.length,
      wouldBlock: false,
    });
    t.deepEqual(readAll(right), Buffer.from(expected));
  });
}

test.serial('stops at a full socket, says how far it came, and goes on from there', async (t) => {
  const { accepted, client } = await tcpPair(t);
  const content = pattern(5_000_000);
  const inFd = await file(t, content);
  client.pause();
  let sent = 0;
  let stops = 0;
  const received: Buffer[] = [];
  for (;;) {
    const outcome = await sendfile(accepted, inFd, sent, content.length - sent);
    t.is(outcome.error, null);
    sent += outcome.bytes;
    if (sent === content.length) break;
    t.true(outcome.wouldBlock);
    stops++;
    if (stops === 1) {
      t.true(sent > 0);
      client.on('data', (chunk) => received.push(chunk));
      client.resume();
    }
    await new Promise<void>((resolve) => {
      const poller = new native.FdPoller(accepted, () => {
        poller.close();
        resolve();
      });
      poller.start(native.constants.WRITABLE);
    });
  }
  native.shutdown(accepted, 1);
  await once(client, 'end');
  t.true(stops > 0);
  t.true(Buffer.concat(received).equals(content));
});

test.serial('a job gives way after 4 MiB while others want a thread of the pool', async (t) => {
  const turn = 4 * 1024 * 1024;
  const inFd = await file(t, Buffer.alloc(4 * turn));
  // Nothing fills up /dev/null, and sendfile(2) writes to it as to a socket. There are more jobs than threads.
  const sinks = Array.from({ length: 8 }, () => openSync('/dev/null', 'w'));
  t.teardown(() => {
    for (const fd of sinks) closeSync(fd);
  });
  const outcomes = await Promise.all(sinks.map((sink) => sendfile(sink, inFd, 0, 4 * turn)));
  t.true(outcomes.every(({ error, bytes, wouldBlock }) => error === null && bytes > 0 && !wouldBlock));
  // The last ones may have been alone at their end.
  t.true(outcomes.filter(({ bytes }) => bytes <= turn).length >= 4, `${outcomes.map(({ bytes }) => bytes)}`);
});

test.serial('a blocking socket is made nonblocking: no thread waits for a client', async (t) => {
  const inFd = await file(t, pattern(5_000_000));
  // A socket from another program may block; python3 makes one.
  const [left] = pair(t);
  const { status } = spawnSync('python3', ['-c', 'import os; os.set_blocking(3, True)'], {
    stdio: ['ignore', 'inherit', 'inherit', left],
  });
  t.is(status, 0);
  const outcome = await sendfile(left, inFd, 0, 5_000_000);
  t.true(outcome.wouldBlock);
});

test.serial('a peer that is gone is an error, with what was sent before', async (t) => {
  const [left, right] = native.socketpair();
  const inFd = await file(t, small);
  t.is((await sendfile(left, inFd, 0, 10)).bytes, 10);
  native.closeFd(right);
  const { error, bytes, wouldBlock } = await sendfile(left, inFd, 0, 1000);
  t.like(error, { code: 'EPIPE', syscall: 'sendfile', errno: -32 });
  t.true(error instanceof Error);
  t.deepEqual([bytes, wouldBlock], [0, false]);
  native.closeFd(left);
});

test.serial('a peer that is gone does not kill a process that listened to SIGPIPE once', async (t) => {
  const { code, signal, lines } = await new Child('sigpipe.js').ended;
  t.deepEqual(lines, ['main EPIPE', 'worker EPIPE', 'end']);
  t.deepEqual([code, signal], [0, null]);
});

test.serial('descriptors that are closed too early do no harm: the job has its own', async (t) => {
  const [left, right] = native.socketpair();
  const content = pattern(50_000);
  const inFd = await file(t, content);
  const copy = native.dupFd(inFd);
  const before = openDescriptors().size;
  const job = sendfile(left, copy, 0, content.length);
  native.closeFd(copy);
  native.closeFd(left);
  t.deepEqual(await job, { error: null, bytes: content.length, wouldBlock: false });
  t.deepEqual(readAll(right), content);
  t.is(native.read(right, Buffer.alloc(1)), 0, 'the job closed its duplicate');
  t.is(openDescriptors().size, before - 2);
  native.closeFd(right);
});

test.serial('many jobs at once each answer', async (t) => {
  const inFd = await file(t, small);
  const ends = Array.from({ length: 20 }, () => pair(t));
  const outcomes = await Promise.all(ends.map(([left], index) => sendfile(left, inFd, index, 100)));
  t.true(outcomes.every(({ error, bytes }) => error === null && bytes === 100));
  ends.forEach(([, right], index) => {
    t.deepEqual(readAll(right), Buffer.from(small.subarray(index, index + 100)));
  });
});

test.serial('what cannot be sent throws or answers with an error', async (t) => {
  const [left] = pair(t);
  const inFd = await file(t, small);
  const never = (): void => t.fail('called back');
  t.throws(() => native.sendfile(100_000, inFd, 0, 1, never), { code: 'EBADF' });
  t.throws(() => native.sendfile(left, 100_000, 0, 1, never), { code: 'EBADF' });
  t.throws(() => native.sendfile(left, inFd, -1, 1, never), { instanceOf: RangeError });
  t.throws(() => native.sendfile(left, inFd, 0, 0.5, never), { instanceOf: RangeError });
  t.throws(() => native.sendfile(left, inFd, 0, 2 ** 60, never), { instanceOf: RangeError });
  const { error } = await sendfile(left, left, 0, 1);
  t.true(error instanceof Error);
});
