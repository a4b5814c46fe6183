// Connections that a listener keeps for many messages: what one wake-up brings of them, their deadlines, their answers and their ends.
import { constants } from 'node:os';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { openListener, type Part, pair, roomyOptions, targetOf, turnLoop } from './listener-fixture.js';

const native = loadNative();
const { EBADF, EPIPE, EAGAIN } = constants.errno;

guardDescriptors(test);

/** Keeps each connection whose first bytes are `keep`. */
const keeping = (parts: readonly Part[], listener: { keepConnection(connection: number): number }): void => {
  for (const part of parts) if (part.bytes === 'keep') listener.keepConnection(part.connection);
};

/** A listener, and a sender whose connection it keeps. */
async function openChannel(t: ExecutionContext) {
  const listening = await openListener(t, {}, keeping);
  listening.listener.start();
  const sender = listening.connect();
  sender.send('keep');
  await until('it is kept', () => listening.listener.stats().channels === 1);
  return { listening, sender };
}

test.serial(
  'what came on a channel is in one batch, in order, each descriptor with its message',
  async (t) => {
    const { listening, sender } = await openChannel(t);
    t.like(listening.listener.stats(), { accepted: 1, pending: 0, channels: 1 });
    const passed = Array.from({ length: 5 }, () => pair(t)[0]);
    for (const [nth, fd] of passed.entries()) sender.send(`message ${nth}`, fd);
    await until('all came', () => listening.parts.length === 6);
    t.is(listening.batches.length, 2);
    t.deepEqual(
      listening.parts.slice(1).map(({ bytes, targets }) => ({ bytes, targets })),
      passed.map((fd, nth) => ({ bytes: `message ${nth}`, targets: [targetOf(fd)] })),
    );
  },
);

test.serial('a part ends with the bytes its descriptor came beside', async (t) => {
  const { listening, sender } = await openChannel(t);
  const [one, two] = [pair(t)[0], pair(t)[0]];
  sender.send('first ', one);
  sender.send('and its rest ');
  sender.send('second ', two);
  sender.send('and its rest');
  await until('all came', () => listening.parts.at(-1)?.bytes.endsWith('rest') === true);
  t.deepEqual(
    listening.parts.slice(1).map(({ bytes, targets }) => ({ bytes, targets })),
    [
      { bytes: 'first ', targets: [targetOf(one)] },
      { bytes: 'and its rest second ', targets: [targetOf(two)] },
      { bytes: 'and its rest', targets: [] },
    ],
  );
});

test.serial('a connection that is not kept has one part in a batch', async (t) => {
  const listening = await openListener(t);
  const sender = listening.connect();
  const [passed] = pair(t);
  for (let nth = 0; nth < 3; nth++) sender.send(`${nth}`, passed);
  listening.listener.start();
  await until('all came', () => listening.parts.length === 3);
  t.deepEqual(
    listening.batches.map((batch) => batch.length),
    [1, 1, 1],
  );
});

test.serial('a busy channel keeps neither another channel nor a new connection waiting', async (t) => {
  const listening = await openListener(t, { maxBatch: 8 }, keeping);
  listening.listener.start();
  const [busy, other] = [listening.connect(), listening.connect()];
  for (const sender of [busy, other]) sender.send('keep');
  await until('both are kept', () => listening.listener.stats().channels === 2);
  const [passed] = pair(t);
  for (let nth = 0; nth < 40; nth++) busy.send('busy', passed);
  other.send('other', passed);
  listening.connect().send('new', passed);
  await until('all came', () => listening.parts.length === 44);
  // The first full one; before it came those that were kept.
  const bytes = listening.batches.find((batch) => batch.length > 2)?.map((part) => part.bytes) ?? [];
  t.true(bytes.includes('other') && bytes.includes('new'), bytes.join());
  t.true(listening.batches.every((batch) => batch.length <= 8));
});

test.serial(
  'a channel has no deadline until a message is expected, and then that of the message',
  async (t) => {
    const listening = await openListener(t, { messageTimeoutMs: 60 }, keeping);
    listening.listener.start();
    const sender = listening.connect();
    sender.send('keep');
    await until('it is kept', () => listening.listener.stats().channels === 1);
    const { connection } = listening.parts[0]!;
    listening.connect();
    await until('another connection is late', () => listening.parts.length === 2);
    t.not(listening.parts[1]!.connection, connection);
    t.is(listening.listener.expectMessage(connection), 0);
    t.is(listening.listener.keepConnection(connection), 0);
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.is(listening.parts.length, 2, 'the message came');
    const since = performance.now();
    t.is(listening.listener.expectMessage(connection), 0);
    await until('it is late', () => listening.parts.length === 3);
    t.true(performance.now() - since >= 55);
    t.like(listening.parts[2], { connection, flags: ['TIMEOUT'] });
    t.like(listening.listener.stats(), { channels: 1 });
    // Reported once; kept again it goes on.
    await turnLoop(20);
    t.is(listening.parts.length, 3);
    t.is(listening.listener.closeConnection(connection), 0);
    t.like(listening.listener.stats(), { channels: 0 });
  },
);

test.serial('what came in time counts on a channel, too', async (t) => {
  const listening = await openListener(t, { messageTimeoutMs: 200 }, (parts, listener) => {
    for (const { connection, bytes } of parts) {
      if (bytes !== '') listener.keepConnection(connection);
      if (bytes === 'half') listener.expectMessage(connection);
    }
  });
  listening.listener.start();
  const sender = listening.connect();
  sender.send('half');
  await until('half of it came', () => listening.parts.length === 1);
  sender.send('other half');
  const busyUntil = performance.now() + 300;
  while (performance.now() < busyUntil);
  await until('the other half came', () => listening.parts.length === 2);
  await turnLoop(20);
  t.deepEqual(
    listening.parts.map(({ flags }) => flags),
    [[], []],
  );
});

test.serial('answers go out together, in order, and the channel stays', async (t) => {
  const { listening, sender } = await openChannel(t);
  const { connection } = listening.parts[0]!;
  t.is(listening.listener.answer(connection, Buffer.from([1, 2, 3, 4]), 3), 0);
  t.deepEqual([sender.reply(), sender.reply(), sender.reply(), sender.reply()], [1, 2, 3, -1]);
  t.is(listening.listener.answer(connection, new Uint8Array(100).fill(9), 64), 0);
  t.is(native.readQueueBytes(sender.fd), 64);
  // Nobody reads: at some time there is no room, for all of them or none.
  let errno = 0;
  let sent = 64;
  for (; errno === 0 && sent < 1e6; sent += 50) {
    errno = listening.listener.answer(connection, new Uint8Array(64), 50);
  }
  t.is(errno, EAGAIN);
  t.is(native.readQueueBytes(sender.fd), sent - 50);
  sender.close();
  t.is(listening.listener.answer(connection, new Uint8Array(1), 1), EPIPE);
});

test.serial(
  'after endReceiving what has come is reported, then the end; the sender cannot send',
  async (t) => {
    const { listening, sender } = await openChannel(t);
    const { connection } = listening.parts[0]!;
    const [passed] = pair(t);
    sender.send('one', passed);
    sender.send('two', passed);
    t.is(listening.listener.endReceiving(connection), 0);
    t.throws(() => sender.send('three', passed), { code: 'EPIPE' });
    await until('the end came', () => listening.parts.at(-1)?.flags.includes('EOF') === true);
    await turnLoop(20);
    t.deepEqual(
      listening.parts.slice(1).map(({ bytes, flags, fds }) => ({ bytes, flags, fds: fds.length })),
      [
        { bytes: 'one', flags: [], fds: 1 },
        { bytes: 'two', flags: [], fds: 1 },
        { bytes: '', flags: ['EOF'], fds: 0 },
      ],
    );
    t.is(listening.listener.answer(connection, Buffer.from([6]), 1), 0);
    t.is(sender.reply(), 6);
    t.is(listening.listener.closeConnection(connection), 0);
    t.is(sender.reply(), undefined);
  },
);

test.serial('kept connections make room among the pending ones, also for a drain', async (t) => {
  const listening = await openListener(t, { maxPendingConnections: 1 }, (parts, listener) => {
    for (const { connection } of parts) listener.keepConnection(connection);
  });
  for (let nth = 0; nth < 5; nth++) listening.connect().send('keep');
  listening.listener.start();
  await until('all are kept', () => listening.listener.stats().channels === 5);
  for (let nth = 0; nth < 5; nth++) listening.connect().send('keep');
  await new Promise<void>((resolve) => listening.listener.drain(resolve));
  await until('these, too', () => listening.listener.stats().channels === 10);
  t.is(listening.listener.stats().pending, 0);
});

test.serial('detaching a channel gives it away', async (t) => {
  const { listening, sender } = await openChannel(t);
  const fd = listening.listener.detachConnection(listening.parts[0]!.connection);
  t.like(listening.listener.stats(), { channels: 0, pending: 0 });
  sender.send('more');
  await turnLoop(10);
  t.is(listening.parts.length, 1);
  native.closeFd(fd);
});

test.serial('close() closes channels; afterwards and for unknown ones everything is EBADF', async (t) => {
  const listening = await openListener(t, {}, keeping);
  listening.listener.start();
  const { listener } = listening;
  const sender = listening.connect();
  sender.send('keep');
  await until('it is kept', () => listener.stats().channels === 1);
  const { connection } = listening.parts[0]!;
  const allAreUnknown = (id: number): void => {
    t.is(listener.keepConnection(id), EBADF);
    t.is(listener.expectMessage(id), EBADF);
    t.is(listener.endReceiving(id), EBADF);
    t.is(listener.answer(id, Buffer.from([6]), 1), EBADF);
  };
  for (const id of [0, -1, connection + 1, 2 ** 31 - 1]) allAreUnknown(id);
  listener.close();
  allAreUnknown(connection);
  t.is(sender.reply(), undefined);
  t.is(listener.stats().channels, 0);
});

test.serial('wrong arguments throw', async (t) => {
  const { listener } = await openListener(t, roomyOptions);
  const wild = listener as unknown as Record<string, (...values: unknown[]) => unknown>;
  for (const method of ['keepConnection', 'expectMessage', 'endReceiving']) {
    t.throws(() => wild[method]?.call(listener), { code: 'ERR_INVALID_ARG_TYPE' });
    t.throws(() => wild[method]?.call(listener, 1.5), { code: 'ERR_OUT_OF_RANGE' });
    t.throws(() => wild[method]?.call({}, 1), { instanceOf: TypeError });
  }
  for (const [values, code] of [
    [[1], 'ERR_INVALID_ARG_TYPE'],
    [[1, 'text', 1], 'ERR_INVALID_ARG_TYPE'],
    [[1, new Uint8Array(0), 0], 'ERR_OUT_OF_RANGE'],
    [[1, new Uint8Array(4), 0], 'ERR_OUT_OF_RANGE'],
    [[1, new Uint8Array(4), 5], 'ERR_OUT_OF_RANGE'],
    [[1, new Uint8Array(100), 65], 'ERR_OUT_OF_RANGE'],
    [[1, new Uint8Array(4), '1'], 'ERR_INVALID_ARG_TYPE'],
  ] as const) {
    t.throws(() => wild.answer?.call(listener, ...values), { code });
  }
});
