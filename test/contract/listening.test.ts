// What net.Server does before its connections, on UNIX paths: listening, its errors, addresses, signals and references.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { RequestListener, Server } from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { exchange } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import type { RawClient } from '../helpers/raw-client.js';
import { serverSubjects, stop, temporaryPath } from './subjects.js';

guardDescriptors(test);

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const served: RequestListener = (_request, response) => response.end('served');

const listening = async (server: Server, path: string): Promise<Server> => {
  const event = once(server, 'listening');
  server.listen({ path });
  await event;
  return server;
};

const errorOf = async (
  server: Server,
  path: string,
): Promise<NodeJS.ErrnoException & { address?: string }> => {
  const event = once(server, 'error');
  server.listen({ path });
  return (await event)[0];
};

/** Runs `action` as somebody whom file permissions hold for. */
function unprivileged<T>(action: () => T): T {
  if (process.geteuid?.() !== 0) return action();
  process.seteuid?.(65_534);
  try {
    return action();
  } finally {
    process.seteuid?.(0);
  }
}

/** What a client that is not served sees: a closed connection, or an answer of the web server's. */
async function isServed(connect: () => Promise<RawClient>): Promise<boolean> {
  try {
    const client = await connect();
    try {
      return (await exchange(client, GET)).body === 'served';
    } finally {
      await client.close();
    }
  } catch {
    return false;
  }
}

for (const subject of serverSubjects) {
  const { name } = subject;

  test(`${name}: listen(), then 'listening', then connections`, async (t) => {
    const path = temporaryPath(t);
    const { connect } = await subject.reach(t, path);
    const events: string[] = [];
    const server = subject.create({}, (_request, response) => {
      events.push('request');
      response.end();
    });
    t.teardown(() => stop(server));
    server.on('listening', () => events.push('listening'));
    server.on('connection', () => events.push('connection'));
    t.false(server.listening);
    t.is(server.address(), null);
    t.true(server.listen({ path }, () => events.push('callback')) === server);
    t.true(server.listening);
    t.is(server.address(), path);
    t.deepEqual(events, []);
    const client = await connect();
    await exchange(client, GET);
    await client.close();
    t.deepEqual(events, ['listening', 'callback', 'connection', 'request']);
  });

  for (const [how, listen] of Object.entries({
    'listen(path)': (server: Server, path: string) => server.listen(path),
    'listen(path, backlog)': (server: Server, path: string) => server.listen(path, 16),
    'listen({ path, backlog })': (server: Server, path: string) => server.listen({ path, backlog: 16 }),
  })) {
    test(`${name}: ${how}`, async (t) => {
      const path = temporaryPath(t);
      const server = subject.create({}, served);
      t.teardown(() => stop(server));
      const event = once(server, 'listening');
      listen(server, path);
      await event;
      t.true(await isServed((await subject.reach(t, path)).connect));
    });

    test(`${name}: ${how} with a callback`, async (t) => {
      const server = subject.create({}, served);
      t.teardown(() => stop(server));
      const path = temporaryPath(t);
      await new Promise<void>((resolve) => {
        if (how === 'listen(path)') server.listen(path, resolve);
        else if (how === 'listen(path, backlog)') server.listen(path, 16, resolve);
        else server.listen({ path, backlog: 16 }, resolve);
      });
      t.is(server.address(), path);
    });
  }

  test(`${name}: the path is there while it listens, and only then`, async (t) => {
    const path = temporaryPath(t);
    const server = await listening(subject.create({}), path);
    t.true(existsSync(path));
    await new Promise((resolve) => server.close(resolve));
    t.false(existsSync(path));
    t.false(server.listening);
  });

  test(`${name}: listen() twice throws ERR_SERVER_ALREADY_LISTEN`, async (t) => {
    const path = temporaryPath(t);
    const server = subject.create({}, served);
    t.teardown(() => stop(server));
    server.listen({ path });
    t.throws(() => server.listen({ path }), { code: 'ERR_SERVER_ALREADY_LISTEN' });
    await once(server, 'listening');
    t.throws(() => server.listen({ path: `${path}.other` }), { code: 'ERR_SERVER_ALREADY_LISTEN' });
    t.true(await isServed((await subject.reach(t, path)).connect));
  });

  test(`${name}: a path somebody listens on is EADDRINUSE, and both servers go on`, async (t) => {
    const path = temporaryPath(t);
    const first = await listening(subject.create({}, served), path);
    t.teardown(() => stop(first));
    const second = subject.create({}, served);
    t.teardown(() => stop(second));
    t.like(await errorOf(second, path), { code: 'EADDRINUSE', syscall: 'listen', address: path, errno: -98 });
    t.false(second.listening);
    t.true(await isServed((await subject.reach(t, path)).connect));
    await listening(second, `${path}.other`);
    t.true(await isServed((await subject.reach(t, `${path}.other`)).connect));
  });

  test(`${name}: a file in the way is EADDRINUSE, and stays`, async (t) => {
    const path = temporaryPath(t);
    writeFileSync(path, 'precious');
    t.is((await errorOf(subject.create({}), path)).code, 'EADDRINUSE');
    t.is(readFileSync(path, 'utf8'), 'precious');
  });

  test(`${name}: a folder that does not exist, or may not be written to, is an 'error'`, async (t) => {
    const folder = dirname(temporaryPath(t));
    const missing = await errorOf(subject.create({}), join(folder, 'missing', 'server.sock'));
    // libuv says EACCES for ENOENT here, for the sake of Windows.
    t.true(missing.code === 'ENOENT' || (subject.kind === 'node' && missing.code === 'EACCES'));
    const closed = join(folder, 'closed');
    mkdirSync(closed);
    chmodSync(folder, 0o755);
    chmodSync(closed, 0o555);
    const server = subject.create({});
    t.like(await unprivileged(() => errorOf(server, join(closed, 'server.sock'))), { code: 'EACCES' });
    t.false(server.listening);
  });

  for (const when of ['before', 'at once', 'later']) {
    test(`${name}: listen({ signal }) aborted ${when} closes the server`, async (t) => {
      const controller = new AbortController();
      const server = subject.create({}, served);
      const events: string[] = [];
      server.on('listening', () => events.push('listening'));
      const closed = once(server, 'close');
      if (when === 'before') controller.abort();
      server.listen({ path: temporaryPath(t), signal: controller.signal });
      if (when === 'at once') controller.abort();
      if (when === 'later') {
        await once(server, 'listening');
        controller.abort();
      }
      await closed;
      t.false(server.listening);
      t.deepEqual(events, when === 'later' ? ['listening'] : []);
    });
  }

  test(`${name}: the signal of an earlier listen() does not matter any more`, async (t) => {
    const path = temporaryPath(t);
    const controller = new AbortController();
    const server = subject.create({}, served);
    t.teardown(() => stop(server));
    server.listen({ path, signal: controller.signal });
    await once(server, 'listening');
    await new Promise((resolve) => server.close(resolve));
    await listening(server, path);
    controller.abort();
    t.true(server.listening);
    t.true(await isServed((await subject.reach(t, path)).connect));
  });

  test(`${name}: listen(), close() at once: 'close' and no 'listening'`, async (t) => {
    const server = subject.create({});
    const events: string[] = [];
    server.on('listening', () => events.push('listening'));
    server.on('close', () => events.push('close'));
    server.listen({ path: temporaryPath(t) });
    await new Promise((resolve) => server.close(resolve));
    t.deepEqual(events, ['close']);
  });

  for (const [when, ends] of [
    ['before listen()', true],
    ['after listen()', true],
    ["after 'listening'", true],
    ['and ref() again', false],
    ['never', false],
  ] as const) {
    test(`${name}: unref() ${when}: ${ends ? 'the process ends' : 'the process stays'}`, async (t) => {
      const child: ChildProcess = spawn(
        process.execPath,
        [fileURLToPath(new URL('children/unref.js', import.meta.url)), name, when, temporaryPath(t)],
        { stdio: ['pipe', 'pipe', 'inherit'] },
      );
      const exit = once(child, 'exit');
      await once(child.stdout as NodeJS.ReadableStream, 'data');
      // 42 says that it had to be told.
      if (!ends) child.stdin?.write('end');
      t.is((await exit)[0], ends ? 0 : 42);
    });
  }
}
