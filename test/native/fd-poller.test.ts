// Readiness of descriptors on the loop.
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { type FdPoller, loadNative } from '#native/index.js';
import { assertSameDescriptors, guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { pair, turnLoop } from './listener-fixture.js';
import { tcpPair } from './tcp-pair.js';

const native = loadNative();
const { READABLE, WRITABLE, DISCONNECT } = native.constants;

guardDescriptors(test);

interface Polled {
  readonly poller: FdPoller;
  readonly calls: { events: number; errno: number }[];
}

function poll(t: ExecutionContext, fd: number, onCall: (poller: FdPoller) => void = () => {}): Polled {
  const calls: { events: number; errno: number }[] = [];
  const poller = new native.FdPoller(fd, (events, errno) => {
    calls.push({ events, errno });
    onCall(poller);
  });
  t.teardown(() => poller.close());
  return { poller, calls };
}

test.serial('readable is reported, again and again, until it is read', async (t) => {
  const [left, right] = pair(t);
  const { poller, calls } = poll(t, left);
  poller.start(READABLE);
  await turnLoop(10);
  t.deepEqual(calls, []);
  native.write(right, Buffer.from('x'));
  await until('it is reported three times', () => calls.length >= 3);
  t.true(calls.every(({ events, errno }) => events === READABLE && errno === 0));
  native.read(left, Buffer.alloc(1));
  const count = calls.length;
  await turnLoop(10);
  t.is(calls.length, count);
});

test.serial('start again changes the events; stop ends them', async (t) => {
  const [left, right] = pair(t);
  const { poller, calls } = poll(t, left);
  poller.start(READABLE);
  await turnLoop(5);
  t.is(calls.length, 0);
  poller.start(WRITABLE);
  await until('it is writable', () => calls.length > 0);
  t.is(calls[0]?.events, WRITABLE);
  native.write(right, Buffer.from('x'));
  poller.start(READABLE | WRITABLE);
  await until('it is both', () => calls.some(({ events }) => events === (READABLE | WRITABLE)));
  poller.stop();
  poller.stop();
  const count = calls.length;
  await turnLoop(10);
  t.is(calls.length, count);
  poller.start(READABLE);
  await until('it goes on', () => calls.length > count);
});

test.serial('the end of the peer is a disconnect', async (t) => {
  const [left, right] = pair(t);
  const { poller, calls } = poll(t, left, (self) => self.stop());
  poller.start(DISCONNECT);
  await turnLoop(5);
  native.shutdown(right, 1);
  await until('it is reported', () => calls.length > 0);
  t.deepEqual(calls, [{ events: DISCONNECT, errno: 0 }]);
});

for (const [name, events] of Object.entries({ READABLE, WRITABLE, DISCONNECT })) {
  test.serial(
    `a reset connection is ${name} without an errno, and the next read says ECONNRESET`,
    async (t) => {
      const { accepted, client } = await tcpPair(t);
      const { poller, calls } = poll(t, accepted, (self) => self.stop());
      client.resetAndDestroy();
      await once(client, 'close');
      poller.start(events);
      await until('it is reported', () => calls.length > 0);
      t.is(calls[0]?.errno, 0);
      t.not((calls[0]?.events ?? 0) & events, 0);
      t.throws(() => native.read(accepted, Buffer.alloc(1)), { code: 'ECONNRESET' });
    },
  );
}

test.serial('a reset is reported until somebody asks for the error', async (t) => {
  const { accepted, client } = await tcpPair(t);
  const { poller, calls } = poll(t, accepted);
  poller.start(READABLE);
  client.resetAndDestroy();
  await until('it is reported again', () => calls.length >= 3);
  t.true(calls.every(({ events, errno }) => errno === 0 && (events & READABLE) !== 0));
});

test.serial('a descriptor that a net.Socket reads is polled beside it, by a duplicate', async (t) => {
  const [left, right] = native.socketpair();
  const before = openDescriptors();
  const socket = new Socket({ fd: left, readable: true, writable: true });
  socket.resume();
  const { poller, calls } = poll(t, left);
  t.is(openDescriptors().size, before.size + 1);
  poller.start(WRITABLE);
  await until('it is writable', () => calls.length > 0);
  poller.close();
  t.is(openDescriptors().size, before.size);
  // The socket still works.
  native.write(right, Buffer.from('hello'));
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  t.is(chunk.toString(), 'hello');
  socket.destroy();
  await once(socket, 'close');
  native.closeFd(right);
});

test.serial(
  'after close the descriptor is free at once: another poller or a net.Socket may have it',
  async (t) => {
    const [left, right] = pair(t);
    for (let round = 0; round < 3; round++) {
      const { poller, calls } = poll(t, left, (self) => self.close());
      const before = openDescriptors();
      poller.start(WRITABLE);
      await until('it is writable', () => calls.length === 1);
      await assertSameDescriptors(t, before);
    }
    const first = poll(t, left);
    first.poller.start(READABLE);
    first.poller.close();
    const socket = new Socket({ fd: native.dupFd(left), readable: true, writable: false });
    native.write(right, Buffer.from('x'));
    await once(socket, 'data');
    socket.destroy();
    await once(socket, 'close');
    t.deepEqual(first.calls, []);
  },
);

test.serial('close in the callback of another poller ends both', async (t) => {
  const [left, right] = pair(t);
  const calls: string[] = [];
  const pollers = [left, right].map(
    (fd, index) =>
      new native.FdPoller(fd, () => {
        calls.push(`${index}`);
        for (const poller of pollers) poller.close();
      }),
  );
  for (const poller of pollers) poller.start(WRITABLE);
  await until('one was called', () => calls.length > 0);
  await turnLoop(10);
  t.is(calls.length, 1);
});

test.serial('a closed poller does nothing, and cannot start', (t) => {
  const [left] = pair(t);
  const poller = new native.FdPoller(left, () => t.fail());
  poller.close();
  poller.close();
  poller.stop();
  poller.ref();
  poller.unref();
  t.throws(() => poller.start(READABLE), { code: 'EBADF' });
});

test.serial('what cannot be polled is an error of the constructor', (t) => {
  const file = openSync(fileURLToPath(import.meta.url), 'r');
  t.throws(() => new native.FdPoller(file, () => {}), { code: 'EPERM' });
  closeSync(file);
  t.throws(() => new native.FdPoller(file, () => {}), { code: 'EBADF' });
  t.throws(() => new native.FdPoller(-1, () => {}), { code: 'EBADF' });
});

test.serial(
  'an unreferenced poller or listener does not keep the process alive, a referenced one does',
  (t) => {
    const script = fileURLToPath(new URL('children/unref.js', import.meta.url));
    for (const [mode, output] of [
      ['unref', 'exit\n'],
      ['ref', 'still there\nexit\n'],
    ] as const) {
      const { status, stdout } = spawnSync(process.execPath, [script, mode], { encoding: 'utf8' });
      t.is(stdout, output, mode);
      t.is(status, 0);
    }
  },
);
