// Senders that go away, stay silent or come in thousands, and listeners that throw: the receiver goes on.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { acceptedFd, ClientSource } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { openReceiver } from '../helpers/open-receiver.js';
import { until } from '../helpers/until.js';
import { GET, versionOne } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

test('a sender that is gone before the acknowledgement keeps its client: ours is dropped, untouched', async (t) => {
  const open = await openReceiver(t);
  const source = new ClientSource();
  const accepted = await source.next();
  source.close();
  for (const message of [versionOne(), versionOne({ headers: [['KTLS_RX', '0'], ...GET] })]) {
    const sender = open.connect();
    await sender.send(message, accepted.fd);
    sender.close();
    t.is((await open.nextError()).code, 'FDPASS_ERR_ACK');
  }
  t.deepEqual(open.receiver.stats().errors, { FDPASS_ERR_ACK: 2 });
  t.is(open.waiting, 0);
  // The client's socket was neither shut down nor read.
  await accepted.client.send('still here');
  await until('its bytes came', () => native.readQueueBytes(accepted.fd) === 10);
  native.write(accepted.fd, Buffer.from('and answered'));
  await accepted.client.readUntil('and answered');
  native.closeFd(accepted.fd);
  await accepted.client.close();
});

test('listeners that throw cost neither the rest of the batch nor its descriptors', async (t) => {
  const script = fileURLToPath(new URL('../helpers/throwing-listeners.js', import.meta.url));
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  let report = '';
  child.stdout.on('data', (chunk: Buffer) => {
    report += chunk.toString();
  });
  const [code] = await once(child, 'close');
  t.is(code, 0);
  t.deepEqual(JSON.parse(report), {
    // Senders 0, 3, 6, ... send garbage, 1, 4, 7, ... what a listener refuses to work with, the others a client.
    uncaught: { 'about an error': 5, 'about a handover': 5 },
    kept: 5,
    answers: [
      '',
      '\x06',
      '\x06',
      '',
      '\x06',
      '\x06',
      '',
      '\x06',
      '\x06',
      '',
      '\x06',
      '\x06',
      '',
      '\x06',
      '\x06',
    ],
    pending: 0,
    descriptorsLeft: [],
  });
});

test('a listener that closes a descriptor behind its owner and throws gets each handover once', async (t) => {
  const script = fileURLToPath(new URL('../helpers/listener-that-closes.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: 30_000 });
  t.deepEqual(JSON.parse(stdout), {
    given: ['0', '1', '2', '3', '4'],
    full: 5,
    uncaught: ['a mistake', 'EBADF'],
  });
});

test('2,000 connections that send nothing: a good sender among them is served before their deadline', async (t) => {
  const messageTimeoutMs = 1500;
  const open = await openReceiver(t, { messageTimeoutMs, maxPendingConnections: 1024 });
  const fd = await acceptedFd(t);
  const silent = Array.from({ length: 1000 }, () => open.connect());
  await until('they are accepted', () => open.receiver.stats().pending === 1000);
  await open.serves(fd, versionOne());
  t.deepEqual(open.receiver.stats().errors, {});
  silent.push(...Array.from({ length: 1000 }, () => open.connect()));
  await until('accepting pauses', () => open.receiver.stats().pendingPauses > 0);
  t.is(open.receiver.stats().pending, 1024);
  // Its place is in the backlog, behind those that send nothing: they lose theirs at their deadline.
  const began = performance.now();
  open.errors.length = 0;
  const sender = open.connect();
  await sender.send(versionOne(), fd);
  await until('the good one is served', () => open.waiting === 1);
  t.true(performance.now() - began < 8000);
  t.is(await sender.nextByte(), 6);
  await until('the silent ones are gone', () => open.receiver.stats().errors.FDPASS_ERR_TIMEOUT === 2000);
  t.deepEqual(open.receiver.stats().errors, { FDPASS_ERR_TIMEOUT: 2000 });
  t.is(open.receiver.stats().pending, 0);
});

test('destroy() closes what waits for its message', async (t) => {
  const open = await openReceiver(t);
  for (let nth = 0; nth < 10; nth++) open.connect();
  await until('they are accepted', () => open.receiver.stats().pending === 10);
  const closed = once(open.receiver, 'close');
  open.receiver.destroy();
  await closed;
  t.is(open.receiver.stats().pending, 0);
});
