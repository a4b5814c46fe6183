// Listeners that share a port: joining, the program that chooses among them, and the reset of clients nobody wants.
import { once } from 'node:events';
import { connect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';

const native = loadNative();
const { SOL_SOCKET, SO_REUSEPORT } = native.constants;

guardDescriptors(test);

/** BPF_RET: the same answer for every client. */
const always = (index: number): Uint8Array =>
  new Uint8Array(Uint32Array.of(new Uint16Array(Uint8Array.of(6, 0).buffer)[0] as number, index).buffer);

/** Owned by the test. */
function listening(t: ExecutionContext, port: number, reusePort: boolean): number {
  const fd = native.bindTcp('127.0.0.1', port, reusePort);
  t.teardown(() => native.closeFd(fd));
  native.listen(fd, 64);
  return fd;
}

/** How many of `count` new clients each listener gets. */
async function clientsOf(
  t: ExecutionContext,
  listeners: readonly number[],
  port: number,
  count: number,
): Promise<number[]> {
  for (let made = 0; made < count; made++) {
    const client = connect({ host: '127.0.0.1', port });
    const closed = once(client, 'close');
    await once(client, 'connect');
    t.teardown(async () => {
      client.destroy();
      await closed;
    });
  }
  return listeners.map((listener) => {
    for (let accepted = 0; ; accepted++) {
      const fd = native.accept(listener);
      if (fd === -1) return accepted;
      native.closeFd(fd);
    }
  });
}

test.serial('a program chooses by the order of listen(), and can be replaced', async (t) => {
  const first = listening(t, 0, true);
  const { port } = native.localAddress(first);
  const listeners = [first, listening(t, port, true), listening(t, port, true)];
  for (const index of [0, 1, 2]) {
    native.attachReuseportFilter(listeners[2 - index] as number, always(index));
    const expected = [0, 0, 0].with(index, 4);
    t.deepEqual(await clientsOf(t, listeners, port, 4), expected);
  }
  native.attachReuseportFilter(first, always(0xffff_ffff));
  const [one = 0, two = 0, three = 0] = await clientsOf(t, listeners, port, 40);
  t.is(one + two + three, 40, 'a number past the last one: by hash');
  t.true(one < 40 && two < 40 && three < 40);
});

test.serial('a socket that listens alone on a port is joined once it allows that', async (t) => {
  const first = listening(t, 0, false);
  const { port } = native.localAddress(first);
  t.throws(() => native.bindTcp('127.0.0.1', port, true), { code: 'EADDRINUSE' });
  native.setOption(first, SOL_SOCKET, SO_REUSEPORT, 1);
  const second = listening(t, port, true);
  native.attachReuseportFilter(first, always(1));
  t.deepEqual(await clientsOf(t, [first, second], port, 4), [0, 4]);
  t.throws(() => native.bindTcp('127.0.0.1', port), { code: 'EADDRINUSE' }, 'nobody joins by accident');
});

test.serial('a program the kernel does not take is an error, and the one before stays', async (t) => {
  const first = listening(t, 0, true);
  const { port } = native.localAddress(first);
  const second = listening(t, port, true);
  native.attachReuseportFilter(first, always(1));
  const nothing = always(0).fill(0);
  const long = new Uint8Array(4097 * 8);
  for (const [what, program] of Object.entries({
    'no instruction': new Uint8Array(0),
    'half an instruction': always(0).subarray(4),
    'no return': nothing,
    'more than 4096 instructions': long.fill(0).map((_, at) => always(0)[at % 8] as number),
    'more than a number of 16 bits counts': new Uint8Array(65_537 * 8),
  })) {
    t.like(
      t.throws(() => native.attachReuseportFilter(first, program), undefined, what),
      { code: 'EINVAL', syscall: 'setsockopt' },
      what,
    );
  }
  t.deepEqual(await clientsOf(t, [first, second], port, 2), [0, 2]);
  const alone = listening(t, 0, false);
  t.throws(() => native.attachReuseportFilter(alone, always(0)), { code: 'EINVAL' });
  const [left, right] = native.socketpair();
  t.throws(() => native.attachReuseportFilter(left, always(0)));
  native.closeFd(left);
  native.closeFd(right);
});

test.serial('a program need not be aligned in its memory', (t) => {
  const bytes = new Uint8Array(9);
  bytes.set(always(0), 1);
  t.notThrows(() => native.attachReuseportFilter(listening(t, 0, true), bytes.subarray(1)));
});

test.serial('a client is reset', async (t) => {
  const listener = listening(t, 0, false);
  const client = connect({ host: '127.0.0.1', port: native.localAddress(listener).port });
  await once(client, 'connect');
  const failed = once(client, 'error');
  native.resetTcp(native.accept(listener));
  const [error] = await failed;
  t.like(error, { code: 'ECONNRESET' });
  await until('it is closed', () => client.closed);
});

test.serial('what is no TCP socket is closed all the same, registered or not', async (t) => {
  const [left, right] = native.socketpair();
  native.registerFd(left);
  native.resetTcp(left);
  t.is(native.registeredFdCount(), 0);
  await until('its peer knows', () => native.read(right, new Uint8Array(1)) === 0);
  native.resetTcp(right);
  t.throws(() => native.resetTcp(right), { code: 'EBADF' });
});
