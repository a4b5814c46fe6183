// When a listener accepts and when it waits: batches, bounds, deadlines, pause and drain, answers, and callbacks that misbehave.
import { AsyncLocalStorage } from 'node:async_hooks';
import { constants } from 'node:os';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { openListener, type Part, pair, roomyOptions, targetOf, turnLoop } from './listener-fixture.js';

const native = loadNative();
const TAKEN = 0x06;
const REFUSED = 0x15;

guardDescriptors(test);

test.serial('200 waiting connections come in batches of at most 64, each with its descriptor', async (t) => {
  const listening = await openListener(t, {}, (parts, listener) => {
    for (const { connection } of parts) listener.closeConnection(connection, TAKEN);
  });
  const [passed] = pair(t);
  const senders = Array.from({ length: 200 }, () => listening.connect());
  senders.forEach((sender, index) => {
    sender.send(`message ${index}`, passed);
  });
  listening.listener.start();
  await until('all came', () => listening.parts.length === 200);
  t.true(listening.batches.every((batch) => batch.length <= 64));
  t.is(listening.batches.length, 4);
  t.deepEqual(
    new Set(listening.parts.map(({ bytes }) => bytes)),
    new Set(senders.map((_, i) => `message ${i}`)),
  );
  t.true(listening.parts.every(({ targets }) => targets[0] === targetOf(passed)));
  t.true(senders.every((sender) => sender.reply() === TAKEN));
  t.deepEqual(listening.listener.stats(), {
    accepted: 200,
    pending: 0,
    channels: 0,
    descriptorPauses: 0,
    pendingPauses: 0,
  });
});

test.serial('connections that wait do not keep others from being accepted in the same turns', async (t) => {
  const listening = await openListener(t, { maxBatch: 2 });
  const talkative = Array.from({ length: 6 }, () => listening.connect());
  for (const sender of talkative) sender.send('a');
  listening.listener.start();
  await until('all are accepted', () => listening.listener.stats().accepted === 6);
  for (const sender of talkative) sender.send('b');
  listening.connect().send('new');
  await until('all of it came', () => listening.parts.map(({ bytes }) => bytes).join('').length === 15);
  t.true(listening.batches.every((batch) => batch.length <= 2));
  t.true(listening.parts.some(({ bytes }) => bytes === 'new'));
});

test.serial('accepting pauses at maxPendingConnections and resumes when one is closed', async (t) => {
  const listening = await openListener(t, { maxPendingConnections: 3 });
  listening.listener.start();
  const senders = Array.from({ length: 5 }, () => listening.connect());
  await until('three are accepted', () => listening.listener.stats().accepted === 3);
  await turnLoop(50);
  t.like(listening.listener.stats(), { accepted: 3, pending: 3, pendingPauses: 1 });
  senders[0]!.send('first');
  await until('its part came', () => listening.parts.length === 1);
  t.is(listening.listener.closeConnection(listening.parts[0]!.connection), 0);
  await until('the fourth is accepted', () => listening.listener.stats().accepted === 4);
  await turnLoop(50);
  t.like(listening.listener.stats(), { accepted: 4, pending: 3, pendingPauses: 2 });
  senders[4]!.send('still in the backlog');
  senders[1]!.send('second');
  await until('its part came', () => listening.parts.length === 2);
  const descriptor = listening.listener.detachConnection(listening.parts[1]!.connection);
  await until('the fifth came', () => listening.parts.some(({ bytes }) => bytes === 'still in the backlog'));
  native.closeFd(descriptor);
  t.is(listening.listener.stats().accepted, 5);
});

test.serial('a pause leaves new connections in the backlog and lets accepted ones go on', async (t) => {
  const listening = await openListener(t);
  listening.listener.start();
  const early = listening.connect();
  await until('it was accepted', () => listening.listener.stats().accepted === 1);
  listening.listener.pause();
  listening.listener.pause();
  listening.connect().send('later');
  early.send('now');
  await until('the accepted one came', () => listening.parts.length === 1);
  await turnLoop(20);
  t.deepEqual(
    listening.parts.map(({ bytes }) => bytes),
    ['now'],
  );
  listening.listener.start();
  listening.listener.start();
  await until('the other came', () => listening.parts.length === 2);
  t.is(listening.parts[1]?.bytes, 'later');
});

test.serial(
  'late connections are reported in order, once each, and stay until they are closed',
  async (t) => {
    const listening = await openListener(t, { messageTimeoutMs: 40 });
    listening.listener.start();
    const senders = [listening.connect(), listening.connect()];
    senders[0]!.send('half a mess');
    const started = performance.now();
    await until(
      'both are late',
      () => listening.parts.filter(({ flags }) => flags.includes('TIMEOUT')).length === 2,
    );
    // Timers count in whole milliseconds.
    t.true(performance.now() - started >= 38);
    await turnLoop(20);
    const late = listening.parts.filter(({ flags }) => flags.includes('TIMEOUT'));
    t.deepEqual(
      late.map(({ bytes, fds, errno }) => ({ bytes, fds, errno })),
      [
        { bytes: '', fds: [], errno: 0 },
        { bytes: '', fds: [], errno: 0 },
      ],
    );
    t.is(late[0]?.connection, listening.parts[0]?.connection);
    t.is(listening.listener.stats().pending, 2);
    for (const { connection } of late) t.is(listening.listener.closeConnection(connection, REFUSED), 0);
    t.deepEqual(
      senders.map((sender) => sender.reply()),
      [REFUSED, REFUSED],
    );
    t.deepEqual(
      senders.map((sender) => sender.reply()),
      [undefined, undefined],
    );
  },
);

test.serial('many late connections come in bounded batches', async (t) => {
  const listening = await openListener(t, { messageTimeoutMs: 1, maxBatch: 4 });
  listening.listener.start();
  for (let i = 0; i < 10; i++) listening.connect();
  await until('all are late', () => listening.parts.length === 10);
  t.true(listening.batches.every((batch) => batch.length <= 4));
  t.true(listening.parts.every(({ flags }) => flags.includes('TIMEOUT')));
});

test.serial('what came in time counts, also if the event loop was busy past the deadline', async (t) => {
  const listening = await openListener(t, { messageTimeoutMs: 1000 }, (parts, listener) => {
    for (const { connection } of parts) listener.closeConnection(connection);
  });
  const [passed] = pair(t);
  listening.listener.start();
  const sender = listening.connect();
  await until('it was accepted', () => listening.listener.stats().accepted === 1);
  sender.send('in time', passed);
  const busyUntil = performance.now() + 1100;
  while (performance.now() < busyUntil);
  await until('it came', () => listening.parts.length === 1);
  await turnLoop(20);
  t.deepEqual(
    listening.parts.map(({ bytes, flags }) => ({ bytes, flags })),
    [{ bytes: 'in time', flags: [] }],
  );
});

test.serial('a sender whose next byte is always there already is late all the same', async (t) => {
  const listening = await openListener(t, { messageTimeoutMs: 30 }, () => {
    sender.send('.');
  });
  listening.listener.start();
  const sender = listening.connect();
  sender.send('.');
  await until('it is late', () => listening.parts.some(({ flags }) => flags.includes('TIMEOUT')));
  t.true(listening.parts.length > 1);
});

test.serial('a sender that trickles bytes past its deadline is late all the same', async (t) => {
  const listening = await openListener(t, { messageTimeoutMs: 30 });
  listening.listener.start();
  const sender = listening.connect();
  await until('it is late', () => {
    sender.send('.');
    return listening.parts.some(({ flags }) => flags.includes('TIMEOUT'));
  });
  t.true(listening.parts.length > 1);
});

test.serial(
  'a detached connection has no deadline, belongs to the caller, and carries the reply first',
  async (t) => {
    let fd = -1;
    const listening = await openListener(t, { messageTimeoutMs: 30 }, ([part], listener) => {
      if (part?.bytes === 'partial') fd = listener.detachConnection(part.connection, TAKEN);
    });
    listening.listener.start();
    const sender = listening.connect();
    sender.send('partial');
    await until('it came', () => listening.parts.length === 1);
    t.true(fd >= 0);
    t.is(native.registeredFdCount(), 1);
    t.is(native.takeFd(fd), fd);
    t.is(native.registeredFdCount(), 0);
    t.is(sender.reply(), TAKEN);
    sender.send('relayed');
    const target = Buffer.alloc(16);
    t.is(native.read(fd, target), 7);
    listening.connect();
    await until('another one is late', () => listening.parts.some(({ flags }) => flags.includes('TIMEOUT')));
    t.is(listening.parts.length, 2);
    native.closeFd(fd);
    t.is(sender.reply(), undefined);
  },
);

test.serial('an id that is unknown, used up or of another listener is EBADF and harmless', async (t) => {
  const listening = await openListener(t);
  listening.listener.start();
  listening.connect().send('x');
  await until('it came', () => listening.parts.length === 1);
  const [part] = listening.parts;
  t.is(listening.listener.closeConnection(part!.connection), 0);
  for (const id of [part!.connection, 0, -1, 77, 2 ** 31 - 1, -(2 ** 31)]) {
    t.is(listening.listener.closeConnection(id, TAKEN), constants.errno.EBADF);
    t.is(listening.listener.detachConnection(id, TAKEN), -constants.errno.EBADF);
  }
});

test.serial(
  'a reply to a sender that is gone is answered with the errno, and the connection is closed',
  async (t) => {
    const listening = await openListener(t);
    listening.listener.start();
    for (const act of ['closeConnection', 'detachConnection'] as const) {
      const sender = listening.connect();
      sender.send('message');
      const count = listening.parts.length;
      await until('it came', () => listening.parts.length > count);
      sender.close();
      const answer = listening.listener[act](listening.parts[count]!.connection, TAKEN);
      t.is(Math.abs(answer), constants.errno.EPIPE);
      t.is(answer < 0, act === 'detachConnection');
      t.is(listening.listener.stats().pending, 0);
    }
  },
);

test.serial('drain takes what is in the accept queue, then closes the listening socket', async (t) => {
  const listening = await openListener(t, { maxBatch: 8 });
  const senders = Array.from({ length: 20 }, () => listening.connect());
  senders.forEach((sender, index) => {
    sender.send(`${index}`);
  });
  const accepted = await new Promise<number>((resolve) => {
    listening.listener.drain(() => resolve(listening.listener.stats().accepted));
    t.is(listening.listener.stats().accepted, 0, 'drain itself accepts nothing');
  });
  t.is(accepted, 20);
  t.throws(() => listening.connect(), { code: 'ECONNREFUSED' });
  await until('all messages came', () => listening.parts.length === 20);
  // Pending connections go on.
  senders[7]!.send('more');
  await until('it came', () => listening.parts.at(-1)?.bytes === 'more');
  let again = false;
  listening.listener.drain(() => {
    again = true;
  });
  await until('a second drain answers too', () => again);
});

test.serial('a drain waits for room among the pending connections', async (t) => {
  const listening = await openListener(t, { maxPendingConnections: 2 });
  listening.listener.start();
  for (let i = 0; i < 3; i++) listening.connect().send(`${i}`);
  await until('two are accepted', () => listening.parts.length === 2);
  let drained = false;
  listening.listener.drain(() => {
    drained = true;
  });
  await turnLoop(50);
  t.false(drained);
  for (const { connection } of listening.parts) listening.listener.closeConnection(connection);
  await until('it drained', () => drained);
  t.is(listening.listener.stats().accepted, 3);
});

test.serial('a drain of an empty queue ends too', async (t) => {
  const listening = await openListener(t);
  await t.notThrowsAsync(new Promise<void>((resolve) => listening.listener.drain(resolve)));
});

test.serial(
  "close in the middle of a batch ends everything at once; the rest of the batch is the caller's",
  async (t) => {
    const seen: Part[] = [];
    const listening = await openListener(t, {}, (parts, listener) => {
      seen.push(...parts);
      listener.close();
      t.is(listener.closeConnection(parts[0]!.connection), constants.errno.EBADF);
      t.throws(() => listener.drain(() => {}), { code: 'EBADF' });
      listener.start();
      listener.pause();
      listener.ref();
      listener.unref();
      listener.close();
    });
    const [passed] = pair(t);
    const senders = [listening.connect(), listening.connect()];
    for (const sender of senders) sender.send('x', passed);
    listening.listener.start();
    await until('the batch came', () => seen.length === 2);
    await turnLoop(20);
    t.is(seen.length, 2);
    t.deepEqual(listening.listener.stats(), {
      accepted: 2,
      pending: 0,
      channels: 0,
      descriptorPauses: 0,
      pendingPauses: 0,
    });
    t.deepEqual(
      senders.map((sender) => sender.reply()),
      [undefined, undefined],
    );
  },
);

test.serial('drain and pause may be called from the callback', async (t) => {
  let drained = 0;
  const listening = await openListener(t, { maxBatch: 1 }, (parts, listener) => {
    listener.pause();
    listener.drain(() => drained++);
    for (const { connection } of parts) listener.closeConnection(connection);
  });
  for (let i = 0; i < 3; i++) listening.connect().send(`${i}`);
  listening.listener.start();
  await until('all drains ended', () => drained === 3);
  t.deepEqual(
    listening.parts.map(({ bytes }) => bytes),
    ['0', '1', '2'],
  );
});

test.serial(
  'close from the callback of a drain is safe, and a close before it drops the callback',
  async (t) => {
    const first = await openListener(t);
    await new Promise<void>((resolve) => {
      first.listener.drain(() => {
        first.listener.close();
        resolve();
      });
    });
    const second = await openListener(t);
    let called = false;
    second.listener.drain(() => {
      called = true;
    });
    second.listener.close();
    await turnLoop(20);
    t.false(called);
  },
);

test.serial('ticks and microtasks of the callback run before anything else of the loop', async (t) => {
  const order: string[] = [];
  const listening = await openListener(t, { maxBatch: 1 }, (parts, listener) => {
    for (const { connection, bytes } of parts) {
      order.push(`batch ${bytes}`);
      process.nextTick(() => order.push(`tick ${bytes}`));
      void Promise.resolve().then(() => order.push(`microtask ${bytes}`));
      listener.closeConnection(connection);
    }
  });
  for (const bytes of ['1', '2']) listening.connect().send(bytes);
  listening.listener.start();
  await until('both came', () => order.length === 6);
  t.deepEqual(order, ['batch 1', 'tick 1', 'microtask 1', 'batch 2', 'tick 2', 'microtask 2']);
});

test.serial('the callback runs in the async context of its listener', async (t) => {
  const storage = new AsyncLocalStorage<string>();
  let seen: string | undefined;
  const listening = await storage.run('of the listener', () =>
    openListener(t, {}, () => {
      seen = storage.getStore();
    }),
  );
  listening.connect().send('x');
  listening.listener.start();
  await until('it came', () => listening.parts.length === 1);
  t.is(seen, 'of the listener');
});

test.serial("what is no listening UNIX stream socket is refused and stays the caller's", (t) => {
  const listen = (fd: number) => () => new native.FdListener(fd, roomyOptions, () => {});
  const [end] = pair(t);
  const tcp = native.bindTcp('127.0.0.1', 0);
  native.listen(tcp, 1);
  t.throws(listen(end), { code: 'EINVAL' });
  t.throws(listen(tcp), { code: 'EINVAL' });
  t.throws(listen(-1), { code: 'EBADF' });
  t.throws(listen(100_000), { code: 'EBADF' });
  t.notThrows(() => native.closeFd(tcp));
});
