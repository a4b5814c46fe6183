// Where a server listens: mode and owner of the path, stale, live and foreign paths, abstract names.
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { connect, createServer as createNetServer } from 'node:net';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Receiver } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { condition, needs } from '../helpers/requirements.js';
import { closed, makeServer, type Served, serve, temporaryFolder } from '../helpers/serve.js';

const native = loadNative();
guardDescriptors(test);

const asRoot = needs(test, condition(process.getuid?.() === 0, 'root: run the tests as root'));
const asRootSerially = needs(test.serial, condition(process.getuid?.() === 0, 'root: run the tests as root'));

/** The code of the error that listening ends in. */
async function listenError({ server, path }: Served, options: object = {}): Promise<NodeJS.ErrnoException> {
  const [error] = (await once(server.listen({ path, ...options }), 'error')) as [NodeJS.ErrnoException];
  return error;
}

/** Proof that the server at this path serves. */
async function assertServes(t: ExecutionContext, path: string): Promise<void> {
  const client = await handOver(path);
  t.regex(await client.readToEnd(), /^HTTP\/1\.1 200 OK\r\n.*served$/s);
}

const permissions = (path: string): number => lstatSync(path).mode & 0o7777;

test.serial('the path has exactly the mode asked for, whatever the umask', async (t) => {
  const before = process.umask();
  t.teardown(() => process.umask(before));
  for (const umask of [0, 0o022, 0o077, 0o777]) {
    for (const mode of [undefined, 0o600, 0o660, 0o666, 0o777]) {
      process.umask(umask);
      const { server, path } = await makeServer(t);
      // The folder of the test is made under the same umask.
      chmodSync(dirname(path), 0o700);
      server.listen({ path, ...(mode === undefined ? {} : { mode }) });
      await once(server, 'listening');
      t.is(permissions(path), mode ?? 0o660, `umask ${umask.toString(8)}`);
      await closed(server);
    }
  }
});

test.serial('the path is at no moment more open than its mode', async (t) => {
  const before = process.umask(0);
  t.teardown(() => process.umask(before));
  const path = join(await temporaryFolder(t), 'socket');
  const worker = new Worker(new URL('../helpers/mode-watcher.js', import.meta.url), { workerData: path });
  // From now on: a worker's last message and its exit may come in one turn.
  const exited = once(worker, 'exit');
  await once(worker, 'message');
  for (let nth = 0; nth < 300; nth++) {
    const receiver = new Receiver();
    receiver.listen({ path, mode: 0o600 });
    await once(receiver, 'listening');
    receiver.destroy();
    await once(receiver, 'close');
  }
  worker.postMessage('report');
  const [modes] = (await once(worker, 'message')) as [number[]];
  await exited;
  t.true(modes.length > 0);
  t.deepEqual(
    modes.filter((mode) => (mode & ~0o600) !== 0),
    [],
  );
});

asRoot('owner and group: by number, by name, one of them', async (t) => {
  const nobody = native.userId('nobody');
  const nogroup = native.groupId('nogroup');
  for (const [options, uid, gid] of [
    [{ owner: 4711, group: 4712 }, 4711, 4712],
    [{ owner: 'nobody', group: 'nogroup' }, nobody, nogroup],
    [{ owner: 'nobody' }, nobody, 0],
    [{ group: 'nogroup' }, 0, nogroup],
    [{ owner: 0, group: 0 }, 0, 0],
  ] as const) {
    const { server, path } = await serve(t, {}, undefined, { ...options, mode: 0o640 });
    const stats = lstatSync(path);
    t.deepEqual([stats.uid, stats.gid, stats.mode & 0o7777], [uid, gid, 0o640]);
    await assertServes(t, path);
    await closed(server);
  }
});

test('a user who does not exist: ENOENT, and nothing is left', async (t) => {
  const served = await makeServer(t);
  for (const options of [{ owner: 'no-such-user' }, { group: 'no-such-group' }]) {
    const { code, message } = await listenError(served, options);
    t.is(code, 'ENOENT');
    t.regex(message, /no-such-/);
    t.deepEqual(readdirSync(dirname(served.path)), []);
  }
  served.server.listen({ path: served.path });
  await once(served.server, 'listening');
  await assertServes(t, served.path);
});

test('an abstract name leaves nothing in the file system', async (t) => {
  const path = `\0fdpass-listen-${process.pid}`;
  const { server } = await serve(t, {}, undefined, { path });
  t.is(server.address(), path);
  await assertServes(t, path);
  const second = await makeServer(t);
  t.is((await listenError({ ...second, path })).code, 'EADDRINUSE');
  await closed(server);
  second.server.listen({ path });
  await once(second.server, 'listening');
  await assertServes(t, path);
});

test('the path is removed when the server closes, and when it is destroyed', async (t) => {
  for (const end of ['close', 'destroy'] as const) {
    const { server, path } = await serve(t);
    t.true(server.listening);
    const closing = once(server, 'close');
    server[end]();
    t.false(existsSync(path));
    await closing;
    t.is(server.address(), null);
    t.deepEqual(readdirSync(dirname(path)), []);
  }
});

test('a path that somebody else put there meanwhile is left alone', async (t) => {
  const { server, path } = await serve(t);
  unlinkSync(path);
  writeFileSync(path, 'mine');
  await closed(server);
  t.is(readFileSync(path, 'utf8'), 'mine');
});

test('closing goes on when the path cannot be removed', async (t) => {
  const { server, path } = await serve(t);
  const folder = dirname(path);
  unlinkSync(path);
  // Neither folder nor lock any more.
  const moved = `${folder}-moved`;
  renameSync(folder, moved);
  await closed(server);
  t.false(server.listening);
  renameSync(moved, folder);
});

test('a stale socket file is replaced', async (t) => {
  const { server, path } = await makeServer(t);
  native.closeFd(native.bindUnix(path, 0o777));
  const { ino } = lstatSync(path);
  server.listen({ path, mode: 0o600 });
  await once(server, 'listening');
  t.not(lstatSync(path).ino, ino);
  t.is(permissions(path), 0o600);
  t.deepEqual(readdirSync(dirname(path)), ['socket']);
  await assertServes(t, path);
});

test('a stale socket file is replaced also where the path is as long as a path may be', async (t) => {
  const { server } = await makeServer(t);
  const folder = await temporaryFolder(t);
  const long = join(folder, 'x'.repeat(107 - folder.length - '//sock'.length));
  mkdirSync(long);
  const path = join(long, 'sock');
  t.is(path.length, 107);
  native.closeFd(native.bindUnix(path, 0o600));
  server.listen({ path });
  await once(server, 'listening');
  await assertServes(t, path);
  await closed(server);
  t.deepEqual(readdirSync(long), []);
});

test('what a process that died while replacing left behind is no obstacle', async (t) => {
  const { server, path } = await makeServer(t);
  native.closeFd(native.bindUnix(path, 0o600));
  native.closeFd(native.bindUnix(join(dirname(path), '.fdp'), 0o600));
  server.listen({ path });
  await once(server, 'listening');
  t.deepEqual(readdirSync(dirname(path)), ['socket']);
  await assertServes(t, path);
});

test('a live one is refused: EADDRINUSE, and it goes on', async (t) => {
  const first = await serve(t);
  const second = await makeServer(t);
  const error = await listenError({ ...second, path: first.path });
  t.like(error, { code: 'EADDRINUSE', syscall: 'listen' });
  t.regex(error.message, /takeover/);
  t.false(second.server.listening);
  await assertServes(t, first.path);
  t.deepEqual(readdirSync(dirname(first.path)), ['socket']);
  // Asking whether it lives is a connection without a message.
  t.deepEqual(first.errors, ['FDPASS_ERR_EMPTY']);
});

test('a live one with a full backlog is alive', async (t) => {
  const served = await makeServer(t);
  const fd = native.bindUnix(served.path, 0o600);
  native.listen(fd, 0);
  const waiting = native.connectUnix(served.path);
  t.is((await listenError(served)).code, 'EADDRINUSE');
  native.closeFd(waiting);
  native.closeFd(fd);
});

asRootSerially('a live one that we may not connect to is alive', async (t) => {
  const served = await serve(t, {}, undefined, { mode: 0o600 });
  chmodSync(dirname(served.path), 0o777);
  const second = await makeServer(t);
  process.seteuid?.(65_534);
  try {
    t.is((await listenError({ ...second, path: served.path })).code, 'EADDRINUSE');
  } finally {
    process.seteuid?.(0);
  }
  await assertServes(t, served.path);
});

const foreign: Record<string, (path: string) => void> = {
  'a regular file': (path) => writeFileSync(path, 'precious'),
  'a folder': (path) => mkdirSync(path),
  'a link to a socket': (path) => symlinkSync(`${path}.elsewhere`, path),
};

for (const [title, put] of Object.entries(foreign)) {
  test(`${title} is refused and left alone, with takeover as well`, async (t) => {
    const served = await makeServer(t);
    put(served.path);
    const before = lstatSync(served.path);
    for (const takeover of [false, true]) {
      const error = await listenError(served, { takeover });
      t.is(error.code, 'EADDRINUSE');
      t.regex(error.message, /not a socket/);
    }
    t.deepEqual(lstatSync(served.path), before);
    t.deepEqual(readdirSync(dirname(served.path)), ['socket']);
  });
}

test('a folder that does not exist, a path that is too long', async (t) => {
  const served = await makeServer(t);
  t.is((await listenError({ ...served, path: join(dirname(served.path), 'no', 'socket') })).code, 'ENOENT');
  t.is(
    (await listenError({ ...served, path: join(dirname(served.path), 'x'.repeat(108)) })).code,
    'ENAMETOOLONG',
  );
  t.deepEqual(readdirSync(dirname(served.path)), []);
});

test('a hard link to the socket keeps it reachable, and is not ours to remove', async (t) => {
  const { server, path } = await serve(t);
  linkSync(path, `${path}.link`);
  await assertServes(t, `${path}.link`);
  await closed(server);
  t.deepEqual(readdirSync(dirname(path)), ['socket.link']);
});

test('a server can listen again after it closed, at the same path and at another', async (t) => {
  const { server, path } = await serve(t);
  for (const next of [path, `${path}2`, path]) {
    await closed(server);
    server.listen({ path: next });
    await once(server, 'listening');
    await assertServes(t, next);
  }
});

test('a path on which another program listens is live as well', async (t) => {
  const served = await makeServer(t);
  const other = createNetServer((socket) => socket.destroy());
  await once(other.listen(served.path), 'listening');
  t.is((await listenError(served)).code, 'EADDRINUSE');
  const closing = once(other, 'close');
  other.close();
  await closing;
});

test('a client that speaks HTTP to the socket is turned away', async (t) => {
  const { path, errors } = await serve(t);
  const socket = connect(path, () => socket.end('GET / HTTP/1.1\r\n\r\n'));
  socket.resume();
  await once(socket, 'close');
  t.deepEqual(errors, ['SCGI_ERR_NETSTRING_LENGTH']);
});

test.serial('what is loaded by a symbolic link once it listens is loaded from where it is', async (t) => {
  const folder = await temporaryFolder(t);
  mkdirSync(join(folder, 'store', 'linked'), { recursive: true });
  mkdirSync(join(folder, 'node_modules'));
  writeFileSync(join(folder, 'store', 'linked', 'index.js'), '');
  writeFileSync(join(folder, 'first.js'), '');
  symlinkSync('../store/linked', join(folder, 'node_modules', 'linked'));
  const load = createRequire(join(folder, 'application.js'));
  // Node.js knows the folders on the way from now on, and follows no link that it thinks a socket is before.
  load('./first.js');
  const { server } = await serve(t);
  t.is(load.resolve('linked'), join(folder, 'store', 'linked', 'index.js'));
  await closed(server);
});
