// Clients that wait for their next request, on one epoll: what is told of them, when, and that none of them is touched otherwise.
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { loadNative, PARKING, PARKING_EVENT, type ParkingLot } from '#native/index.js';
import { assertSameDescriptors, guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { Child } from './children/run.js';
import { pair, turnLoop } from './listener-fixture.js';
import { tcpPair } from './tcp-pair.js';

const native = loadNative();
const { SOL_SOCKET, SO_SNDBUF } = native.constants;

guardDescriptors(test);

/** What one record says. */
interface Told {
  fd: number;
  event: keyof typeof PARKING_EVENT;
  bytes: string;
}

interface Fixture {
  readonly lot: ParkingLot;
  readonly batches: Told[][];
  readonly told: readonly Told[];
}

const nameOf = (event: number): keyof typeof PARKING_EVENT =>
  Object.entries(PARKING_EVENT).find(([, number]) => number === event)![0] as keyof typeof PARKING_EVENT;

function readTold(bytes: Buffer, records: Int32Array): Told[] {
  const told: Told[] = [];
  for (let at = 0; at < records.length; at += PARKING.STRIDE) {
    const offset = records[at + PARKING.OFFSET]!;
    told.push({
      fd: records[at + PARKING.FD]!,
      event: nameOf(records[at + PARKING.EVENT]!),
      bytes: bytes.toString('latin1', offset, offset + records[at + PARKING.LENGTH]!),
    });
  }
  return told;
}

function openLot(t: ExecutionContext, onTold: (told: Told[], lot: ParkingLot) => void = () => {}): Fixture {
  const batches: Told[][] = [];
  const lot = new native.ParkingLot((bytes, records) => {
    const told = readTold(bytes, records);
    batches.push(told);
    onTold(told, lot);
  });
  t.teardown(async () => {
    lot.close();
    // Its own descriptor goes with its last handle.
    await turnLoop(2);
  });
  return {
    lot,
    batches,
    get told() {
      return batches.flat();
    },
  };
}

test.serial('what a client sends is read and told, and it stays', async (t) => {
  const [parked, client] = pair(t);
  const { lot, told, batches } = openLot(t);
  lot.park(parked, 0);
  t.is(lot.size(), 1);
  await turnLoop(10);
  t.deepEqual(told, []);
  for (const text of ['first', 'second', '\0\r\n\xff']) {
    const count = batches.length;
    native.write(client, Buffer.from(text, 'latin1'));
    await until('it is told', () => batches.length > count);
    t.deepEqual(batches.at(-1), [{ fd: parked, event: 'READ', bytes: text }]);
  }
  await turnLoop(10);
  t.is(batches.length, 3);
  t.is(lot.size(), 1);
});

test.serial('what was there before it was parked is told as well', async (t) => {
  const [parked, client] = pair(t);
  native.write(client, Buffer.from('early'));
  const { lot, batches } = openLot(t);
  lot.park(parked, 0);
  await until('it is told', () => batches.length > 0);
  t.deepEqual(batches, [[{ fd: parked, event: 'READ', bytes: 'early' }]]);
});

test.serial('a client that ends has left; its descriptor is open and untouched', async (t) => {
  const [parked, client] = pair(t);
  const { lot, batches } = openLot(t);
  lot.park(parked, 60_000);
  native.shutdown(client, 1);
  await until('it is told', () => batches.length > 0);
  t.deepEqual(batches, [[{ fd: parked, event: 'ENDED', bytes: '' }]]);
  t.is(lot.size(), 0);
  t.false(lot.unpark(parked));
  t.is(native.write(parked, Buffer.from('still')), 5);
  await turnLoop(10);
  t.is(batches.length, 1);
});

test.serial('bytes and the end behind them are told in this order', async (t) => {
  const [parked, client] = pair(t);
  const fixture = openLot(t);
  native.write(client, Buffer.from('last words'));
  native.shutdown(client, 1);
  fixture.lot.park(parked, 60_000);
  await until('the end is told', () => fixture.told.length >= 2);
  t.deepEqual(fixture.told, [
    { fd: parked, event: 'READ', bytes: 'last words' },
    { fd: parked, event: 'ENDED', bytes: '' },
  ]);
});

test.serial('a client that resets has left, too', async (t) => {
  const { accepted, client } = await tcpPair(t);
  const fixture = openLot(t);
  fixture.lot.park(accepted, 0);
  client.resetAndDestroy();
  await until('it is told', () => fixture.told.length > 0);
  t.deepEqual(fixture.told, [{ fd: accepted, event: 'ENDED', bytes: '' }]);
  t.is(fixture.lot.size(), 0);
});

test.serial('one that was parked for as long as it might has left, and not a moment earlier', async (t) => {
  const [late, never] = [pair(t), pair(t)];
  let expiredAtMs = 0;
  const fixture = openLot(t, () => {
    expiredAtMs = performance.now();
  });
  await turnLoop(1);
  const parkedAtMs = performance.now();
  fixture.lot.park(late[0], 50);
  fixture.lot.park(never[0], 0);
  await until('it is told', () => fixture.told.length > 0);
  t.deepEqual(fixture.told, [{ fd: late[0], event: 'EXPIRED', bytes: '' }]);
  // The loop's clock has whole milliseconds, and its time is that of the turn.
  t.true(expiredAtMs - parkedAtMs >= 45, `after ${expiredAtMs - parkedAtMs} ms`);
  t.is(fixture.lot.size(), 1);
  t.is(native.write(late[0], Buffer.from('open')), 4);
});

test.serial('deadlines come in their own order, whatever order they were set in', async (t) => {
  const fixture = openLot(t);
  const waits = [60, 10, 40, 20, 30, 50].map((timeoutMs) => ({ fd: pair(t)[0], timeoutMs }));
  for (const { fd, timeoutMs } of waits) fixture.lot.park(fd, timeoutMs);
  await until('all are told', () => fixture.told.length === waits.length);
  t.deepEqual(
    fixture.told.map(({ fd }) => fd),
    waits.sort((one, other) => one.timeoutMs - other.timeoutMs).map(({ fd }) => fd),
  );
});

test.serial('a deadline is set anew: later, earlier, none', async (t) => {
  const [later, earlier, none] = [pair(t)[0], pair(t)[0], pair(t)[0]];
  const fixture = openLot(t);
  const { lot } = fixture;
  lot.park(later, 20);
  lot.park(earlier, 60_000);
  lot.park(none, 20);
  lot.park(later, 200);
  lot.park(earlier, 60);
  lot.park(none, 0);
  t.is(lot.size(), 3);
  await until('the one is told', () => fixture.told.length > 0);
  t.deepEqual(
    fixture.told.map(({ fd }) => fd),
    [earlier],
  );
  await until('the other is told', () => fixture.told.length > 1);
  t.is(fixture.told[1]?.fd, later);
  t.is(lot.size(), 1);
});

/** Keeps the loop from turning. */
function keepBusy(forMs: number): void {
  const until = performance.now() + forMs;
  while (performance.now() < until);
}

test.serial('a deadline begins when it is set, however long the loop has been busy before', async (t) => {
  const [parked, client] = pair(t);
  const fixture = openLot(t);
  keepBusy(500);
  fixture.lot.park(parked, 400);
  await turnLoop(10);
  t.deepEqual(fixture.told, []);
  native.write(client, Buffer.from('in time'));
  await until('it is told', () => fixture.told.length > 0);
  t.deepEqual(fixture.told, [{ fd: parked, event: 'READ', bytes: 'in time' }]);
});

test.serial('what came in time counts, also when the loop was busy past the deadline', async (t) => {
  const [[reads, writer], [ends, leaver], [expires]] = [pair(t), native.socketpair(), pair(t)];
  const fixture = openLot(t);
  for (const fd of [reads, ends, expires]) fixture.lot.park(fd, 20);
  native.write(writer, Buffer.from('in time'));
  native.closeFd(leaver);
  keepBusy(50);
  await until('all are told', () => fixture.told.length === 3);
  native.closeFd(ends);
  t.deepEqual(
    [...fixture.told].sort((one, other) => one.fd - other.fd).map(({ event }) => event),
    [reads, ends, expires]
      .sort((one, other) => one - other)
      .map((fd) => (fd === reads ? 'READ' : fd === ends ? 'ENDED' : 'EXPIRED')),
  );
  t.is(fixture.lot.size(), 1);
});

test.serial('bytes take the deadline away, and parking again sets one', async (t) => {
  const [parked, client] = pair(t);
  const clock = pair(t)[0];
  const fixture = openLot(t);
  fixture.lot.park(parked, 30);
  native.write(client, Buffer.from('x'));
  await until('it is told', () => fixture.told.length > 0);
  fixture.lot.park(clock, 100);
  await until('the clock is told', () => fixture.told.length > 1);
  t.is(fixture.told[1]?.fd, clock);
  t.is(fixture.lot.size(), 1);
  fixture.lot.park(parked, 10);
  await until('its time is up', () => fixture.told.length > 2);
  t.deepEqual(fixture.told[2], { fd: parked, event: 'EXPIRED', bytes: '' });
});

test.serial('unparked: nothing is heard of it, and another with its number is another', async (t) => {
  const [left, right] = native.socketpair();
  const fixture = openLot(t);
  fixture.lot.park(left, 20);
  native.write(right, Buffer.from('x'));
  t.true(fixture.lot.unpark(left));
  t.false(fixture.lot.unpark(left));
  t.is(fixture.lot.size(), 0);
  native.closeFd(left);
  native.closeFd(right);
  const [successor, client] = pair(t);
  t.is(successor, left);
  fixture.lot.park(successor, 100);
  native.write(client, Buffer.from('mine'));
  await until('it is told', () => fixture.told.length > 0);
  fixture.lot.park(pair(t)[0], 50);
  await until('the time of the first is long past', () => fixture.told.length > 1);
  t.deepEqual(
    fixture.told.map(({ event, bytes }) => [event, bytes]),
    [
      ['READ', 'mine'],
      ['EXPIRED', ''],
    ],
  );
});

test.serial('500 at once come in batches of no more than 64, each of them once', async (t) => {
  const fixture = openLot(t);
  const clients = Array.from({ length: 500 }, () => pair(t));
  for (const [parked] of clients) fixture.lot.park(parked, 60_000);
  t.is(fixture.lot.size(), 500);
  for (const [parked, client] of clients) native.write(client, Buffer.from(`to ${parked}`));
  await until('all are told', () => fixture.told.length >= 500);
  t.true(fixture.batches.length >= 8);
  t.true(fixture.batches.every(({ length }) => length <= 64));
  t.deepEqual(
    fixture.told.map(({ fd, bytes }) => [fd, bytes]).sort(([one], [other]) => Number(one) - Number(other)),
    clients.map(([fd]): [number, string] => [fd, `to ${fd}`]).sort(([one], [other]) => one - other),
  );
  for (const [, client] of clients) native.shutdown(client, 1);
  await until('all have left', () => fixture.lot.size() === 0);
  t.is(fixture.told.filter(({ event }) => event === 'ENDED').length, 500);
  t.true(fixture.batches.every(({ length }) => length <= 64));
});

test.serial('500 deadlines at the same time come in batches of no more than 64', async (t) => {
  const fixture = openLot(t);
  for (let count = 0; count < 500; count++) fixture.lot.park(pair(t)[0], 20);
  await until('all are told', () => fixture.told.length >= 500);
  t.is(new Set(fixture.told.map(({ fd }) => fd)).size, 500);
  t.true(fixture.batches.every(({ length }) => length <= 64));
  t.is(fixture.lot.size(), 0);
});

test.serial(
  'more than 16 KiB comes in pieces, in order, and others have their turn between them',
  async (t) => {
    const [parked, client] = pair(t);
    native.setOption(client, SOL_SOCKET, SO_SNDBUF, 1 << 20);
    const [other, otherClient] = pair(t);
    const fixture = openLot(t);
    const text = Array.from({ length: 10_000 }, (_, at) => `${at} `).join('');
    t.is(native.write(client, Buffer.from(text)), text.length);
    native.write(otherClient, Buffer.from('me too'));
    fixture.lot.park(parked, 0);
    fixture.lot.park(other, 0);
    const ofOne = (fd: number): Told[] => fixture.told.filter((each) => each.fd === fd);
    await until(
      'all of it is told',
      () => ofOne(parked).reduce((sum, { bytes }) => sum + bytes.length, 0) >= text.length,
    );
    t.is(
      ofOne(parked)
        .map(({ bytes }) => bytes)
        .join(''),
      text,
    );
    t.true(ofOne(parked).every(({ bytes }) => bytes.length <= 16 * 1024));
    t.true(fixture.batches[0]?.some(({ fd }) => fd === other));
  },
);

test.serial(
  'every client may be unparked or parked in the callback, those of the same batch included',
  async (t) => {
    const clients = Array.from({ length: 10 }, () => pair(t));
    const fixture = openLot(t, (told, lot) => {
      if (told[0]?.event !== 'READ') return;
      for (const [index, [parked]] of clients.entries()) {
        if (index % 2 === 0) lot.unpark(parked);
        else lot.park(parked, 10);
      }
    });
    for (const [parked] of clients) fixture.lot.park(parked, 0);
    for (const [, client] of clients) native.write(client, Buffer.from('x'));
    await until(
      'five have expired',
      () => fixture.told.filter(({ event }) => event === 'EXPIRED').length === 5,
    );
    t.is(fixture.lot.size(), 0);
    t.deepEqual(
      new Set(fixture.told.filter(({ event }) => event === 'EXPIRED').map(({ fd }) => fd)),
      new Set(clients.filter((_, index) => index % 2 === 1).map(([fd]) => fd)),
    );
  },
);

test.serial('close() in the callback is the last that is heard', async (t) => {
  const clients = Array.from({ length: 100 }, () => pair(t));
  const before = openDescriptors();
  const fixture = openLot(t, (_told, lot) => lot.close());
  for (const [parked] of clients) fixture.lot.park(parked, 5);
  for (const [, client] of clients) native.write(client, Buffer.from('x'));
  await until('one batch is told', () => fixture.batches.length > 0);
  await turnLoop(10);
  t.is(fixture.batches.length, 1);
  t.is(fixture.lot.size(), 0);
  await assertSameDescriptors(t, before);
});

test.serial('close() in the callback of a deadline is, too', async (t) => {
  const before = openDescriptors();
  const clients = Array.from({ length: 100 }, () => native.socketpair());
  const fixture = openLot(t, (_told, lot) => lot.close());
  for (const [parked] of clients) fixture.lot.park(parked, 1);
  await until('one batch is told', () => fixture.batches.length > 0);
  await turnLoop(10);
  t.is(fixture.batches.length, 1);
  for (const fd of clients.flat()) native.closeFd(fd);
  await assertSameDescriptors(t, before);
});

test.serial('a closed lot parks nobody, and knows nobody', async (t) => {
  const [parked] = pair(t);
  const { lot } = openLot(t);
  lot.park(parked, 0);
  lot.close();
  lot.close();
  t.is(lot.size(), 0);
  t.false(lot.unpark(parked));
  t.throws(() => lot.park(parked, 0), { code: 'EBADF' });
});

test.serial('two lots may hold the same client, and one lot may go', async (t) => {
  const [parked, client] = pair(t);
  const [one, other] = [openLot(t), openLot(t)];
  one.lot.park(parked, 0);
  other.lot.park(parked, 0);
  one.lot.close();
  native.write(client, Buffer.from('x'));
  await until('it is told', () => other.told.length > 0);
  t.deepEqual(one.told, []);
});

test.serial('what cannot wait is an error, and not parked', (t) => {
  const file = openSync(fileURLToPath(import.meta.url), 'r');
  const { lot } = openLot(t);
  t.throws(() => lot.park(file, 0), { code: 'EPERM' });
  t.is(lot.size(), 0);
  closeSync(file);
  t.throws(() => lot.park(file, 0), { code: 'EBADF' });
});

for (const [what, before, lines] of [
  ['0 is parked like any other', 'exec "$@" <&-', ['zero', 'parked 0', 'READ 0 x', 'ENDED 0', 'exit']],
  [
    'what a callback throws is an uncaught exception, and the lot goes on',
    undefined,
    ['throwing', 'uncaught: in the lot', 'told 2', 'exit'],
  ],
  ['an empty lot does not keep the process alive', undefined, ['empty', 'exit']],
  ['one that is empty again does not either', undefined, ['emptied', 'exit']],
  ['one that is closed does not either', undefined, ['closed', 'exit']],
  ['one with a client does', undefined, ['waiting', 'still there', 'exit']],
] as const) {
  test.serial(what, async (t) => {
    const child = new Child('parking-lot.js', [lines[0]], before);
    const { code, lines: printed } = await child.ended;
    t.deepEqual(printed, lines);
    t.is(code, 0);
  });
}

for (const role of ['in the middle of a batch', 'while all wait'] as const) {
  test.serial(`a worker that is terminated ${role} leaves nothing behind`, async (t) => {
    const clients = Array.from({ length: 100 }, () => pair(t));
    const before = openDescriptors();
    const shared = new SharedArrayBuffer(4);
    const flag = new Int32Array(shared);
    const worker = new Worker(new URL('children/parking-worker.js', import.meta.url), {
      workerData: { role, fds: clients.map(([parked]) => parked), shared },
    });
    await until('all are parked', () => Atomics.load(flag, 0) === 100);
    const exited = once(worker, 'exit');
    if (role === 'in the middle of a batch') {
      for (const [, client] of clients) native.write(client, Buffer.from('x'));
      await until('it hangs', () => Atomics.load(flag, 0) === -1);
    }
    await worker.terminate();
    await exited;
    await assertSameDescriptors(t, before);
    t.true(clients.every(([parked]) => native.inspectSocket(parked) !== 0));
  });
}
