// Making sockets: paths, modes, abstract names, errors that name the place; the directory lock.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { condition, needs, program } from '../helpers/requirements.js';

const native = loadNative();

guardDescriptors(test);

async function folder(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'fdpass-unix-'));
  t.teardown(() => rm(path, { recursive: true }));
  return path;
}

/** Owns the descriptor for the test. */
function own(t: ExecutionContext, fd: number): number {
  t.teardown(() => native.closeFd(fd));
  return fd;
}

for (const [mode, umask, expected] of [
  [0o660, 0o000, 0o660],
  [0o660, 0o022, 0o640],
  [0o660, 0o077, 0o600],
  [0o777, 0o000, 0o777],
  [0o600, 0o000, 0o600],
  [0o000, 0o000, 0o000],
] as const) {
  test.serial(
    `mode ${mode.toString(8)} under umask ${umask.toString(8)} is ${expected.toString(8)}`,
    async (t) => {
      const path = join(await folder(t), 'socket');
      const before = process.umask(umask);
      try {
        own(t, native.bindUnix(path, mode));
      } finally {
        process.umask(before);
      }
      t.true(statSync(path).isSocket());
      t.is(statSync(path).mode & 0o777, expected);
    },
  );
}

test.serial('a bound socket refuses connections until it listens', async (t) => {
  const path = join(await folder(t), 'socket');
  const fd = own(t, native.bindUnix(path, 0o600));
  t.throws(() => native.connectUnix(path), { code: 'ECONNREFUSED' });
  native.listen(fd, 1);
  own(t, native.connectUnix(path));
  const accepted = own(t, native.accept(fd));
  t.is(native.accept(fd), -1, 'the queue is empty');
  t.is(native.localAddress(accepted).address, path);
});

test.serial('a full backlog is EAGAIN at once', async (t) => {
  const path = join(await folder(t), 'socket');
  native.listen(own(t, native.bindUnix(path, 0o600)), 1);
  const error = t.throws(() => {
    for (let i = 0; i < 10; i++) own(t, native.connectUnix(path));
  });
  t.like(error, { code: 'EAGAIN', syscall: 'connect', path, errno: -11 });
});

test.serial('an abstract name needs no file and is gone with its socket', (t) => {
  const path = `\0fdpass-test-${process.pid}`;
  const fd = native.bindUnix(path, 0o600);
  native.listen(fd, 1);
  native.closeFd(native.connectUnix(path));
  t.like(
    t.throws(() => native.bindUnix(path, 0o600)),
    { code: 'EADDRINUSE', path: `@${path.slice(1)}` },
  );
  native.closeFd(fd);
  t.like(
    t.throws(() => native.connectUnix(path)),
    { code: 'ECONNREFUSED', syscall: 'connect' },
  );
});

test.serial('an abstract name may have NULs inside, a path may not', async (t) => {
  const path = `\0fdpass\0test\0${process.pid}`;
  const fd = native.bindUnix(path, 0o600);
  t.is(native.localAddress(fd).address, path);
  native.closeFd(fd);
  const inside = join(await folder(t), 'a\0b');
  t.throws(() => native.bindUnix(inside, 0o600), { code: 'EINVAL' });
  t.throws(() => native.connectUnix(inside), { code: 'EINVAL' });
});

test.serial('paths that are empty, too long or taken are errors that name them', async (t) => {
  const place = await folder(t);
  const longest = join(place, 'x'.repeat(107 - place.length - 1));
  own(t, native.bindUnix(longest, 0o600));
  t.true(existsSync(longest));
  t.like(
    t.throws(() => native.bindUnix(`${longest}x`, 0o600)),
    { code: 'ENAMETOOLONG', path: `${longest}x` },
  );
  t.like(
    t.throws(() => native.bindUnix(longest, 0o600)),
    {
      code: 'EADDRINUSE',
      syscall: 'bind',
      path: longest,
      message: `EADDRINUSE: address already in use, bind '${longest}'`,
    },
  );
  t.throws(() => native.bindUnix('', 0o600), { code: 'EINVAL' });
  t.throws(() => native.connectUnix(''), { code: 'EINVAL' });
  t.throws(() => native.connectUnix(join(place, 'nothing')), { code: 'ENOENT' });
});

test.serial('a directory is locked while the function runs, also against this process', async (t) => {
  const directory = await folder(t);
  const answer = native.withDirectoryLock(directory, 1000, () => {
    t.throws(() => native.withDirectoryLock(directory, 0, () => 'inner'), { code: 'EWOULDBLOCK' });
    return 'outer';
  });
  t.is(answer, 'outer');
  t.is(
    native.withDirectoryLock(directory, 0, () => 'again'),
    'again',
  );
  t.throws(
    () =>
      native.withDirectoryLock(directory, 0, () => {
        throw new Error('inside');
      }),
    { message: 'inside' },
  );
  t.is(
    native.withDirectoryLock(directory, 0, () => undefined),
    undefined,
  );
});

needs(test.serial, program('flock', 'util-linux'))(
  'another process holds the lock: it is waited for, up to the timeout',
  async (t) => {
    const directory = await folder(t);
    const hold = async (command: string): Promise<ChildProcessByStdio<Writable, Readable, null>> => {
      const holder = spawn('flock', ['--exclusive', directory, 'sh', '-c', `echo locked; ${command}`], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      await once(holder.stdout, 'data');
      return holder;
    };
    const first = await hold('cat');
    const started = performance.now();
    const error = t.throws(() => native.withDirectoryLock(directory, 30, () => t.fail()));
    t.like(error, { code: 'EWOULDBLOCK', syscall: 'flock', path: directory });
    t.true(performance.now() - started >= 30);
    first.stdin.end();
    await once(first, 'close');
    const second = await hold('sleep 0.1');
    t.is(
      native.withDirectoryLock(directory, 10_000, () => 'mine'),
      'mine',
    );
    await once(second, 'close');
  },
);

test.serial('what is no directory cannot be locked', async (t) => {
  const directory = await folder(t);
  t.like(
    t.throws(() => native.withDirectoryLock(join(directory, 'no'), 0, () => {})),
    { code: 'ENOENT', syscall: 'open' },
  );
  t.throws(() => native.withDirectoryLock('/dev/null', 0, () => {}), { code: 'ENOTDIR' });
});

test.serial('TCP addresses: literals only, errors name them', (t) => {
  const fd = native.bindTcp('127.0.0.1', 0);
  const { port } = native.localAddress(fd);
  t.true(port > 0);
  native.listen(fd, 1);
  t.is(native.accept(fd), -1);
  t.like(
    t.throws(() => native.bindTcp('127.0.0.1', port)),
    {
      code: 'EADDRINUSE',
      syscall: 'bind',
      address: '127.0.0.1',
      port,
      message: `EADDRINUSE: address already in use, bind 127.0.0.1:${port}`,
    },
  );
  native.closeFd(fd);
  for (const address of ['localhost', '', '1.2.3', '::1%', '::1%no-such-zone', '[::1]', '127.0.0.1 ']) {
    t.throws(() => native.bindTcp(address, 0), { code: 'EINVAL' }, address);
  }
  t.throws(() => native.bindTcp('192.0.2.1', 0), { code: 'EADDRNOTAVAIL' });
});

needs(test.serial, condition(existsSync('/proc/net/if_inet6'), 'IPv6 in the kernel'))(
  ':: serves IPv4 and IPv6',
  async (t) => {
    const fd = own(t, native.bindTcp('::', 0));
    native.listen(fd, 4);
    const { port } = native.localAddress(fd);
    const { connect } = await import('node:net');
    const client = connect({ host: '127.0.0.1', port });
    await once(client, 'connect');
    const accepted = native.accept(fd);
    t.is(native.peerAddress(accepted).address, '::ffff:127.0.0.1');
    native.closeFd(accepted);
    client.destroy();
    await once(client, 'close');
  },
);

test.serial('accept on what does not listen is an error', (t) => {
  const [left, right] = native.socketpair();
  t.throws(() => native.accept(left), { code: 'EINVAL' });
  t.throws(() => native.accept(100_000), { code: 'EBADF' });
  t.throws(() => native.listen(left, 1), { code: 'EINVAL' });
  native.closeFd(left);
  native.closeFd(right);
});

for (const kind of ['a path', 'an abstract name']) {
  test.serial(
    `datagrams to ${kind}: whole, to whoever has it now, and -1 when there is no room`,
    async (t) => {
      const { SOCK_DGRAM } = native.constants;
      const path = kind === 'a path' ? join(await folder(t), 'socket') : `\0fdpass-datagrams-${process.pid}`;
      let receiver = native.bindUnix(path, 0o600, SOCK_DGRAM);
      const sender = own(t, native.connectUnix(path, SOCK_DGRAM));
      t.is(native.write(sender, Buffer.from('first')), 5);
      t.is(native.write(sender, Buffer.from('second')), 6);
      const target = Buffer.alloc(100);
      t.is(target.toString('latin1', 0, native.read(receiver, target)), 'first');
      t.is(target.toString('latin1', 0, native.read(receiver, target)), 'second');
      t.is(native.read(receiver, target), -1);
      while (native.write(sender, target) !== -1);
      native.closeFd(receiver);
      t.throws(() => native.write(sender, target), { code: 'ECONNREFUSED' });
      if (kind === 'a path') await rm(path);
      receiver = own(t, native.bindUnix(path, 0o600, SOCK_DGRAM));
      t.throws(() => native.write(sender, target), undefined, 'it stays connected to the one that left');
      t.is(native.write(own(t, native.connectUnix(path, SOCK_DGRAM)), target), 100);
      const code = kind === 'a path' ? 'EPROTOTYPE' : 'ECONNREFUSED';
      t.throws(() => native.connectUnix(path), { code });
    },
  );
}
