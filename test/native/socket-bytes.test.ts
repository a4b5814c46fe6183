// Bytes and descriptors in and out of bare sockets.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { openListener, pair, targetOf, turnLoop } from './listener-fixture.js';
import { tcpPair } from './tcp-pair.js';

const native = loadNative();
const { SOL_SOCKET, SO_SNDBUF, SO_RCVLOWAT } = native.constants;

guardDescriptors(test);

test.serial('peek leaves the bytes, read takes them; -1 is nothing yet, 0 the end', (t) => {
  const [left, right] = pair(t);
  const target = Buffer.alloc(8, '.');
  t.is(native.peek(left, target), -1);
  t.is(native.read(left, target), -1);
  t.is(native.write(right, Buffer.from('hello')), 5);
  t.is(native.peek(left, target), 5);
  t.is(native.peek(left, target), 5);
  t.is(native.readQueueBytes(left), 5);
  t.is(native.read(left, target.subarray(0, 2)), 2);
  t.is(target.toString(), 'hello...');
  t.is(native.read(left, target.subarray(5)), 3);
  t.is(target.toString(), 'hellollo');
  native.shutdown(right, 1);
  t.is(native.peek(left, target), 0);
  t.is(native.read(left, target), 0);
});

test.serial('a Uint8Array that is a window of a larger buffer is read and written in its bounds', (t) => {
  const [left, right] = pair(t);
  const whole = new Uint8Array(16);
  t.is(native.write(right, new Uint8Array(0)), 0);
  t.is(native.write(right, Buffer.from('__abcdefgh__').subarray(2, 10)), 8);
  t.is(native.read(left, whole.subarray(4, 8)), 4);
  t.deepEqual([...whole], [0, 0, 0, 0, ...Buffer.from('abcd'), 0, 0, 0, 0, 0, 0, 0, 0]);
});

test.serial('write is short, then -1, when the socket is full', (t) => {
  const [left, right] = pair(t);
  const bytes = Buffer.alloc(1 << 20, 'x');
  let written = 0;
  for (;;) {
    const count = native.write(left, bytes);
    if (count === -1) break;
    written += count;
  }
  t.true(written > 0);
  t.is(native.writeQueueBytes(left) > 0, true);
  let received = 0;
  while (received < written) received += native.read(right, bytes);
  t.is(received, written);
});

test.serial('write to a peer that is gone throws EPIPE, without a signal', (t) => {
  const [left, right] = native.socketpair();
  native.closeFd(right);
  t.throws(() => native.write(left, Buffer.from('x')), { code: 'EPIPE' });
  native.closeFd(left);
});

test.serial('shutdown ends one direction, the other goes on; an unconnected socket is no error', (t) => {
  const [left, right] = pair(t);
  native.shutdown(left, 1);
  t.throws(() => native.write(left, Buffer.from('x')), { code: 'EPIPE' });
  t.is(native.write(right, Buffer.from('x')), 1);
  t.is(native.read(left, Buffer.alloc(1)), 1);
  const tcp = native.bindTcp('127.0.0.1', 0);
  t.notThrows(() => native.shutdown(tcp, 2));
  native.closeFd(tcp);
});

test.serial('bytes of something that is no socket are ENOTSOCK', (t) => {
  const file = openSync('/dev/null', 'r+');
  t.throws(() => native.peek(file, Buffer.alloc(1)), { code: 'ENOTSOCK' });
  t.throws(() => native.read(file, Buffer.alloc(1)), { code: 'ENOTSOCK' });
  t.throws(() => native.write(file, Buffer.alloc(1)), { code: 'ENOTSOCK' });
  t.throws(() => native.sendFds(file, Buffer.alloc(1), [file]), { code: 'ENOTSOCK' });
  t.throws(() => native.shutdown(file, 1), { code: 'ENOTSOCK' });
  closeSync(file);
});

test.serial("a descriptor of the sender stays the sender's", async (t) => {
  const listening = await openListener(t);
  const [passed, other] = pair(t);
  listening.listener.start();
  listening.connect().send('x', passed);
  await until('it came', () => listening.parts.length === 1);
  t.is(native.write(passed, Buffer.from('mine')), 4);
  t.is(native.read(other, Buffer.alloc(8)), 4);
});

test.serial(
  'a short send with descriptors is continued without them: they went with the first byte',
  async (t) => {
    const listening = await openListener(t);
    const [passed] = pair(t);
    const { fd } = listening.connect();
    native.setOption(fd, SOL_SOCKET, SO_SNDBUF, 16_384);
    const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251));
    let sent = native.sendFds(fd, bytes, [passed]);
    t.true(sent > 0 && sent < bytes.length, `${sent} of ${bytes.length} bytes at first`);
    t.is(native.sendFds(fd, bytes.subarray(sent), [passed]), -1, 'a full socket takes nothing');
    listening.listener.start();
    while (sent < bytes.length) {
      const count = native.write(fd, bytes.subarray(sent));
      if (count === -1) await until('there is room', () => native.writeQueueBytes(fd) === 0);
      else sent += count;
    }
    await until(
      'all of it came',
      () => listening.parts.reduce((sum, part) => sum + part.bytes.length, 0) === sent,
    );
    t.is(listening.parts.map((part) => part.bytes).join(''), bytes.toString('latin1'));
    t.deepEqual(
      listening.parts.map(({ targets }) => targets),
      listening.parts.map((_part, index) => (index === 0 ? [targetOf(passed)] : [])),
    );
  },
);

test.serial('sendFds says what is wrong with what it is given', async (t) => {
  const [left, right] = pair(t);
  const bytes = Buffer.from('x');
  t.throws(() => native.sendFds(left, bytes, [100_000]), { code: 'EBADF' });
  t.throws(() => native.sendFds(left, bytes, []), { instanceOf: RangeError });
  t.throws(() => native.sendFds(left, bytes, [1, 1, 1]), { instanceOf: RangeError });
  t.throws(() => native.sendFds(left, Buffer.alloc(0), [1]), { instanceOf: RangeError });
  t.is(native.read(right, Buffer.alloc(1)), -1, 'nothing was sent');
  const { accepted } = await tcpPair(t);
  t.throws(() => native.sendFds(accepted, bytes, [1]), { code: 'ENOTSUP' }, 'TCP would drop it silently');
});

test.serial('with SO_RCVLOWAT a poller sleeps until more than what was peeked is there', async (t) => {
  const { accepted, client } = await tcpPair(t);
  client.write('GET / HT');
  const target = Buffer.alloc(64);
  await until('half of the head is there', () => native.peek(accepted, target) === 8);
  native.setOption(accepted, SOL_SOCKET, SO_RCVLOWAT, 9);
  let calls = 0;
  const poller = new native.FdPoller(accepted, () => {
    calls++;
    poller.stop();
  });
  t.teardown(() => poller.close());
  poller.start(native.constants.READABLE);
  await turnLoop(20);
  t.is(calls, 0);
  client.write('TP/1.1');
  await until('it woke', () => calls === 1);
  t.is(native.peek(accepted, target), 14);
});

test.serial('received descriptors are closed on exec', (t) => {
  const [left, right] = pair(t);
  const listed = execFileSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' });
  for (const fd of [left, right]) t.false(listed.includes(targetOf(fd)), 'a child process does not have it');
});
