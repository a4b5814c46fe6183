// What arrives on a listener: bytes and descriptors, in whole messages and in every kind of pieces.
import { spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { constants } from 'node:os';
import test from 'ava';
import { loadNative, SOCKET_FACT } from '#native/index.js';
import { guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { openListener, pair, type Sender, targetOf, turnLoop } from './listener-fixture.js';

const native = loadNative();
const { AF_UNIX, SOCK_STREAM } = native.constants;

guardDescriptors(test);

// The message of one handover, as the public module sends it.
const message = '32:CONTENT_LENGTH\x000\x00SCGI\x001+fd_pass\x00,';

test.serial('a message and its descriptor arrive in one part', async (t) => {
  const listening = await openListener(t);
  const [passed] = pair(t);
  listening.listener.start();
  listening.connect().send(message, passed);
  await until('a part came', () => listening.parts.length === 1);
  const [part] = listening.parts;
  t.like(part, {
    bytes: message,
    flags: [],
    errno: 0,
    targets: [targetOf(passed)],
    facts: AF_UNIX | (SOCK_STREAM << SOCKET_FACT.TYPE_SHIFT) | SOCKET_FACT.CONNECTED,
    pid: process.pid,
    uid: process.getuid?.() ?? -1,
    gid: process.getgid?.() ?? -1,
  });
  t.is(native.registeredFdCount(), 0);
  t.like(listening.listener.stats(), { accepted: 1, pending: 1 });
});

test.serial('a connection that is there before start() is accepted by it', async (t) => {
  const listening = await openListener(t);
  const [passed] = pair(t);
  listening.connect().send(message, passed);
  await turnLoop(10);
  t.is(listening.parts.length, 0);
  listening.listener.start();
  await until('a part came', () => listening.parts.length === 1);
  t.is(listening.parts[0]?.bytes, message);
});

for (let cut = 1; cut < message.length; cut++) {
  test.serial(
    `a message cut after ${cut} bytes arrives whole, its descriptor with the first part`,
    async (t) => {
      const listening = await openListener(t);
      const [passed] = pair(t);
      listening.listener.start();
      const sender = listening.connect();
      sender.send(message.slice(0, cut), passed);
      await until('the first part came', () => listening.parts.length === 1);
      sender.send(message.slice(cut));
      await until('the second part came', () => listening.parts.length === 2);
      const [first, second] = listening.parts;
      t.like(first, { bytes: message.slice(0, cut), targets: [targetOf(passed)], flags: [] });
      t.like(second, { bytes: message.slice(cut), fds: [], flags: [], connection: first?.connection });
    },
  );
}

test.serial(
  'a message in single bytes, all sent at once, keeps its descriptor with the first byte',
  async (t) => {
    const listening = await openListener(t);
    const [passed] = pair(t);
    const sender = listening.connect();
    sender.send(message.slice(0, 1), passed);
    for (const byte of message.slice(1)) sender.send(byte);
    listening.listener.start();
    await until('all of it came', () => listening.parts.map(({ bytes }) => bytes).join('') === message);
    t.deepEqual(
      listening.parts.map(({ fds }) => fds.length),
      listening.parts.map((_part, index) => (index === 0 ? 1 : 0)),
    );
  },
);

test.serial('a descriptor that comes with a later part is reported with that part', async (t) => {
  const listening = await openListener(t);
  const [passed] = pair(t);
  listening.listener.start();
  const sender = listening.connect();
  sender.send('first');
  await until('the first part came', () => listening.parts.length === 1);
  sender.send('second', passed);
  await until('the second part came', () => listening.parts.length === 2);
  t.deepEqual(
    listening.parts.map(({ bytes, targets }) => ({ bytes, targets })),
    [
      { bytes: 'first', targets: [] },
      { bytes: 'second', targets: [targetOf(passed)] },
    ],
  );
});

test.serial('two descriptors arrive in their order', async (t) => {
  const listening = await openListener(t);
  const [first, second] = pair(t);
  listening.listener.start();
  listening.connect().send(message, first, second);
  await until('a part came', () => listening.parts.length === 1);
  t.like(listening.parts[0], { flags: [], targets: [targetOf(first), targetOf(second)] });
});

/** Sends a number of copies of one descriptor, which sendFds itself refuses to: another sender may not. */
function sendMany(sender: Sender, fd: number, count: number): void {
  const script = `
import array, socket, sys
connection = socket.socket(fileno=int(sys.argv[1]))
connection.sendmsg([b'many'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [int(sys.argv[2])] * int(sys.argv[3])))])
`;
  const inherited = ['ignore', 'inherit', 'inherit', sender.fd, fd] as const;
  const { status } = spawnSync('python3', ['-c', script, '3', '4', String(count)], { stdio: [...inherited] });
  if (status !== 0) throw new Error('python3 could not send');
}

for (const [count, flags] of [
  [3, ['TOO_MANY_FDS']],
  [4, ['TOO_MANY_FDS']],
  [5, ['CONTROL_TRUNCATED', 'TOO_MANY_FDS']],
  [200, ['CONTROL_TRUNCATED', 'TOO_MANY_FDS']],
] as const) {
  test.serial(`of ${count} descriptors two arrive, the others are closed: ${flags.join(', ')}`, async (t) => {
    const listening = await openListener(t);
    const [passed] = pair(t);
    listening.listener.start();
    const sender = listening.connect();
    sendMany(sender, passed, count);
    await until('a part came', () => listening.parts.length === 1);
    t.like(listening.parts[0], { bytes: 'many', flags, targets: [targetOf(passed), targetOf(passed)] });
  });
}

test.serial('a message without a descriptor has none, and no facts', async (t) => {
  const listening = await openListener(t);
  listening.listener.start();
  listening.connect().send(message);
  await until('a part came', () => listening.parts.length === 1);
  t.like(listening.parts[0], { bytes: message, fds: [], facts: 0 });
});

test.serial('a pipe and a file arrive too; their facts say that they are no sockets', async (t) => {
  const listening = await openListener(t);
  const file = openSync('/dev/null', 'r');
  t.teardown(() => native.closeFd(file));
  listening.listener.start();
  listening.connect().send(message, file);
  await until('a part came', () => listening.parts.length === 1);
  t.like(listening.parts[0], { targets: ['/dev/null'], facts: 0 });
});

test.serial('the facts of a listening socket say so', async (t) => {
  const listening = await openListener(t);
  const tcp = native.bindTcp('127.0.0.1', 0);
  t.teardown(() => native.closeFd(tcp));
  native.listen(tcp, 1);
  listening.listener.start();
  listening.connect().send(message, tcp);
  await until('a part came', () => listening.parts.length === 1);
  const { AF_INET } = native.constants;
  const expected = AF_INET | (SOCK_STREAM << SOCKET_FACT.TYPE_SHIFT) | SOCKET_FACT.LISTENING;
  t.is(listening.parts[0]?.facts, expected);
});

test.serial('a sender that closes without a word is reported once, and nothing spins', async (t) => {
  const listening = await openListener(t);
  listening.listener.start();
  listening.connect().close();
  await until('a part came', () => listening.parts.length === 1);
  await turnLoop(50);
  t.is(listening.parts.length, 1);
  t.like(listening.parts[0], { bytes: '', flags: ['EOF'], fds: [] });
  t.is(listening.listener.stats().pending, 1);
  t.is(listening.listener.closeConnection(listening.parts[0]!.connection), 0);
  t.is(listening.listener.stats().pending, 0);
});

test.serial('the end after a message comes in a part of its own', async (t) => {
  const listening = await openListener(t);
  const [passed] = pair(t);
  listening.listener.start();
  const sender = listening.connect();
  sender.send(message, passed);
  sender.close();
  await until('both parts came', () => listening.parts.length === 2);
  await turnLoop(50);
  t.deepEqual(
    listening.parts.map(({ bytes, flags, fds }) => ({ bytes, flags, fds: fds.length })),
    [
      { bytes: message, flags: [], fds: 1 },
      { bytes: '', flags: ['EOF'], fds: 0 },
    ],
  );
});

test.serial(
  'a connection that is closed in the callback, its sender gone already, has no second part',
  async (t) => {
    const listening = await openListener(t, {}, (parts, listener) => {
      for (const part of parts) listener.closeConnection(part.connection);
    });
    const [passed] = pair(t);
    const sender = listening.connect();
    sender.send(message, passed);
    sender.close();
    listening.listener.start();
    await until('a part came', () => listening.parts.length === 1);
    await turnLoop(20);
    t.is(listening.parts.length, 1);
    t.is(listening.listener.stats().pending, 0);
  },
);

test.serial('a long message comes in parts of at most 64 KiB', async (t) => {
  const listening = await openListener(t);
  const long = 'x'.repeat(150_000);
  listening.listener.start();
  const sender = listening.connect();
  sender.send(long);
  await until('all of it came', () => listening.parts.map(({ bytes }) => bytes).join('') === long);
  t.true(listening.parts.every(({ bytes }) => bytes.length <= 65_536));
});

test.serial('parts of several connections share one batch, each with its own bytes', async (t) => {
  const listening = await openListener(t);
  const [first, second] = pair(t);
  listening.connect().send('one', first);
  listening.connect().send('second', second);
  listening.connect().send('the third');
  listening.listener.start();
  await until('all parts came', () => listening.parts.length === 3);
  t.is(listening.batches.length, 1);
  t.deepEqual(
    listening.parts.map(({ bytes, targets }) => ({ bytes, targets })),
    [
      { bytes: 'one', targets: [targetOf(first)] },
      { bytes: 'second', targets: [targetOf(second)] },
      { bytes: 'the third', targets: [] },
    ],
  );
  t.is(new Set(listening.parts.map(({ connection }) => connection)).size, 3);
});

test.serial('a connection that was reset is reported once, with its errno', async (t) => {
  const listening = await openListener(t);
  listening.listener.start();
  const sender = listening.connect();
  const before = openDescriptors();
  await until('it was accepted', () => listening.listener.stats().accepted === 1);
  const [accepted] = [...openDescriptors().keys()].filter((fd) => !before.has(fd));
  // A close with bytes unread resets the other side (unix(7)).
  native.write(accepted!, Buffer.from('unread'));
  sender.close();
  await until('a part came', () => listening.parts.length === 1);
  await turnLoop(50);
  t.is(listening.parts.length, 1);
  t.like(listening.parts[0], { bytes: '', flags: ['ERROR'], errno: constants.errno.ECONNRESET });
});
