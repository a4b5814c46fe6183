// An answer in one call: which bytes the client gets, and how much of it a socket has not taken.
import { once } from 'node:events';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { Child } from './children/run.js';
import { pair } from './listener-fixture.js';
import { tcpPair } from './tcp-pair.js';

const native = loadNative();
const { SOL_SOCKET, SO_SNDBUF } = native.constants;

guardDescriptors(test);

/** Everything that has arrived. */
function arrived(fd: number): Buffer {
  const parts: Buffer[] = [];
  for (;;) {
    const target = Buffer.alloc(1 << 20);
    const count = native.read(fd, target);
    if (count <= 0) return Buffer.concat(parts);
    parts.push(target.subarray(0, count));
  }
}

const heads: Record<string, string> = {
  ascii: 'HTTP/1.1 200 OK\r\n\r\n',
  nothing: '',
  'a NUL and other controls': 'a\0b\x01\x7f',
  'two bytes a character': 'café Füße',
  'three bytes a character': '日本語',
  'four bytes a character': '🦊🦊',
  'a lone surrogate, as Buffer.from() replaces it': 'a\ud83eb',
  'as long as the buffer for it': 'x'.repeat(64 * 1024),
  'one shorter': 'x'.repeat(64 * 1024 - 1),
  'one longer': 'x'.repeat(64 * 1024 + 1),
  'longer by a character at the end': `${'x'.repeat(64 * 1024 - 2)}🦊`,
  'longer by characters of two bytes': 'é'.repeat(40 * 1024),
  'longer by characters of four bytes': '🦊'.repeat(40 * 1024),
};

for (const [what, head] of Object.entries(heads)) {
  test.serial(`as a head: ${what}`, (t) => {
    const [server, client] = pair(t);
    native.setOption(server, SOL_SOCKET, SO_SNDBUF, 1 << 20);
    for (const body of [undefined, Buffer.alloc(0), Buffer.from([0, 255, 128, 10])]) {
      t.is(native.sendAnswer(server, false, head, body), 0);
      t.true(arrived(client).equals(Buffer.concat([Buffer.from(head), body ?? Buffer.alloc(0)])));
    }
  });
}

test.serial('heads of every length around the buffer for them are whole', (t) => {
  const [server, client] = pair(t);
  native.setOption(server, SOL_SOCKET, SO_SNDBUF, 1 << 20);
  for (let length = 64 * 1024 - 8; length < 64 * 1024 + 8; length++) {
    for (const last of ['x', 'é', '語', '🦊']) {
      const head = 'x'.repeat(length) + last;
      t.is(native.sendAnswer(server, false, head), 0);
      t.true(arrived(client).equals(Buffer.from(head)), `${length} and ${last}`);
    }
  }
});

test.serial('a short head after a long one is as short as it is', (t) => {
  const [server, client] = pair(t);
  native.setOption(server, SOL_SOCKET, SO_SNDBUF, 1 << 20);
  t.is(native.sendAnswer(server, false, 'x'.repeat(200_000)), 0);
  t.is(arrived(client).length, 200_000);
  t.is(native.sendAnswer(server, false, 'short'), 0);
  t.is(arrived(client).toString(), 'short');
});

test.serial('a body is its window of a larger buffer', (t) => {
  const [server, client] = pair(t);
  t.is(native.sendAnswer(server, false, 'head ', Buffer.from('__body__').subarray(2, 6)), 0);
  t.is(arrived(client).toString(), 'head body');
});

test.serial('what a full socket does not take is said, and is the end of the answer', async (t) => {
  const { accepted, client } = await tcpPair(t);
  client.pause();
  native.setOption(accepted, SOL_SOCKET, SO_SNDBUF, 16 * 1024);
  const head = 'HTTP/1.1 200 OK\r\n\r\n';
  const body = Buffer.alloc(16 << 20, 'abcdefg');
  const left = native.sendAnswer(accepted, false, head, body);
  t.true(left > 0 && left < body.length, `${left} left`);
  const received: Buffer[] = [];
  client.on('data', (chunk: Buffer) => received.push(chunk));
  client.resume();
  const whole = Buffer.concat([Buffer.from(head), body]);
  const taken = whole.length - left;
  await until('it has what was taken', () => Buffer.concat(received).length >= taken);
  t.true(Buffer.concat(received).equals(whole.subarray(0, taken)));
});

test.serial('a socket that is full takes nothing', (t) => {
  const [server, client] = pair(t);
  while (native.write(server, Buffer.alloc(1024)) !== -1);
  const before = native.readQueueBytes(client);
  t.is(native.sendAnswer(server, false, 'head', Buffer.from('body')), 8);
  t.is(native.sendAnswer(server, true, 'head'), 4);
  t.is(native.readQueueBytes(client), before);
});

test.serial('an end that follows is the end for the client, whoever else has the descriptor', async (t) => {
  const { accepted, client } = await tcpPair(t);
  const copy = native.dupFd(accepted);
  t.is(native.sendAnswer(accepted, true, 'head ', Buffer.from('body')), 0);
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(client, 'end');
  t.is(Buffer.concat(chunks).toString(), 'head body');
  native.closeFd(copy);
});

test.serial('an answer that is not taken as a whole is not the end', async (t) => {
  const { accepted, client } = await tcpPair(t);
  native.setOption(accepted, SOL_SOCKET, SO_SNDBUF, 4608);
  const body = Buffer.alloc(16 << 20, 'x');
  const left = native.sendAnswer(accepted, true, '', body);
  t.true(left > 0);
  let received = 0;
  client.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  await until('it has what was taken', () => received === body.length - left);
  t.is(native.sendAnswer(accepted, true, 'rest'), 0);
  await once(client, 'end');
  t.is(received, body.length - left + 4);
});

test.serial('a socket that is full in the middle of the head says so, too', (t) => {
  const [server] = pair(t);
  native.setOption(server, SOL_SOCKET, SO_SNDBUF, 4608);
  const head = 'x'.repeat(1 << 20);
  const left = native.sendAnswer(server, false, head, Buffer.alloc(5));
  t.true(left > 5 && left <= head.length + 5);
});

test.serial(
  'a peer that has reset: nothing is taken, without a signal, and the error is there to be read',
  async (t) => {
    const { accepted, client } = await tcpPair(t);
    client.resetAndDestroy();
    await once(client, 'close');
    t.is(native.sendAnswer(accepted, false, 'head', Buffer.from('body')), 8);
    t.throws(() => native.write(accepted, Buffer.from('x')), { code: 'EPIPE' });
  },
);

test.serial('a peer that is gone: nothing is taken', (t) => {
  const [server, client] = native.socketpair();
  native.closeFd(client);
  t.is(native.sendAnswer(server, false, 'head'), 4);
  native.closeFd(server);
});

test.serial('to descriptor 0', async (t) => {
  const { code, lines } = await new Child('send-answer-zero.js', [], 'exec "$@" <&-').ended;
  t.deepEqual(lines, ['server 0', 'left 0', 'client has head body']);
  t.is(code, 0);
});
