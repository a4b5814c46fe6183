// `fdpass front`: the front door alone, in front of receivers in this process.
import { once } from 'node:events';
import { chmodSync, existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createServer as createHandoverServer, type HandoverServer } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { assertOneSentence, BIN, FdpassCommand, temporaryFolder } from '../helpers/fdpass-command.js';
import { needs, privilege, program } from '../helpers/requirements.js';

guardDescriptors(test);

async function backend(t: ExecutionContext, path: string): Promise<HandoverServer> {
  const server = createHandoverServer((_request, response) => void response.end(path));
  server.listen({ path });
  await once(server, 'listening');
  t.teardown(async () => {
    if (!server.listening) return;
    server.close();
    await once(server, 'close');
  });
  return server;
}

/** Starts it and waits for a line for each of `count` pairs. @returns their ports */
async function front(
  t: ExecutionContext,
  count: number,
  args: readonly string[],
  cwd?: string,
): Promise<{ command: FdpassCommand; ports: number[] }> {
  const command = FdpassCommand.start(t, ['front', ...args], cwd === undefined ? {} : { cwd });
  await command.printed(new RegExp(`(?:^http://.* -> .*\\n){${count}}`, 'm'));
  const ports = [...command.stdout.matchAll(/^http:\/\/[^\s]+:(\d+)\/ /gm)].map(([, port]) => Number(port));
  return { command, ports };
}

const get = async (port: number | undefined, host = '127.0.0.1'): Promise<string> =>
  (await fetch(`http://${host}:${port}/`)).text();

test.serial('hands clients over, each address to its own backend, and ends with exit code 0', async (t) => {
  const cwd = temporaryFolder(t);
  const [one, two] = [join(cwd, 'one.sock'), join(cwd, 'two.sock')];
  await Promise.all([backend(t, one), backend(t, two)]);
  const { command, ports } = await front(t, 2, [
    ...['--listen', '127.0.0.1:0', '--to', `unix:${one}`],
    ...['--listen', '127.0.0.1:0', '--to', two],
  ]);
  t.is(await get(ports[0]), one);
  t.is(await get(ports[1]), two);
  t.is(
    command.stdout,
    `http://127.0.0.1:${ports[0]}/ -> unix:${one}\nhttp://127.0.0.1:${ports[1]}/ -> unix:${two}\n`,
  );
  command.kill('SIGTERM');
  t.is((await command.ended).code, 0);
  await t.throwsAsync(get(ports[0]));
  t.true(existsSync(one), 'the backends are not its to end');
});

test.serial('several backends of one address are tried in order', async (t) => {
  const cwd = temporaryFolder(t);
  const [one, two] = [join(cwd, 'one.sock'), join(cwd, 'two.sock')];
  const [first] = await Promise.all([backend(t, one), backend(t, two)]);
  const { command, ports } = await front(t, 1, ['--listen', '127.0.0.1:0', '--to', one, '--to', two]);
  t.is(await get(ports[0]), one);
  first.close();
  await once(first, 'close');
  t.is(await get(ports[0]), two);
  await command.printed('FDPASS_ERR_BACKEND_DOWN');
  command.kill('SIGINT');
  t.is((await command.ended).code, 0);
});

test.serial('several may share a port, each with prefixes or an interface', async (t) => {
  const cwd = temporaryFolder(t);
  const [one, two, rest] = [join(cwd, 'one.sock'), join(cwd, 'two.sock'), join(cwd, 'rest.sock')];
  await Promise.all([backend(t, one), backend(t, two), backend(t, rest)]);
  const { command, ports } = await front(t, 3, [
    ...['--listen', '[::]:0', '--prefix', '127.0.1.0/24', '--prefix', '127.0.3.0/24', '--to', one],
    ...['--listen', '[::]:0', '--prefix', '127.0.1.128/25', '--ingress', 'lo', '--to', two],
    ...['--listen', '[::]:0', '--to', rest],
  ]);
  const [port] = ports;
  t.deepEqual(new Set(ports), new Set([port]));
  t.is(await get(port, '127.0.1.1'), one);
  t.is(await get(port, '127.0.3.1'), one);
  t.is(await get(port, '127.0.1.200'), two);
  t.is(await get(port, '127.0.2.1'), rest);
  t.is(
    command.stdout,
    `http://localhost:${port}/ (127.0.1.0/24 127.0.3.0/24) -> unix:${one}\n` +
      `http://localhost:${port}/ (127.0.1.128/25 by lo) -> unix:${two}\nhttp://localhost:${port}/ -> unix:${rest}\n`,
  );
  command.kill('SIGTERM');
  t.is((await command.ended).code, 0);
});

test.serial('a prefix that is none is one sentence, which names its place', async (t) => {
  const listen = ['--listen', '[::]:0', '--prefix', '127.0.1.1/24', '--to', 'unix:/run/app.sock'];
  assertOneSentence(t, await FdpassCommand.run(t, ['front', ...listen]), /listeners\[0\]\.prefixes\[0\]/);
});

needs(
  test.serial,
  privilege('sysAdmin'),
  program('setpriv', 'util-linux'),
)('sockets of another user, as systemd passes them, are split as well', async (t) => {
  const cwd = temporaryFolder(t);
  chmodSync(cwd, 0o755);
  const paths = ['one', 'two', 'rest'].map((name) => join(cwd, `${name}.sock`));
  await Promise.all(paths.map((path) => backend(t, path)));
  for (const path of paths) chmodSync(path, 0o666);
  const native = loadNative();
  const first = native.bindTcp('::', 0, true);
  const { port } = native.localAddress(first);
  const descriptors = [first, native.bindTcp('::', port, true), native.bindTcp('::', port, true)];
  for (const fd of descriptors) native.listen(fd, 64);
  const [one = '', two = '', rest = ''] = paths;
  const command = FdpassCommand.start(
    t,
    [
      ...['front', '--listen', 'fd:3', '--prefix', '127.0.1.0/24', '--to', one],
      ...['--listen', 'fd:4', '--prefix', '127.0.2.0/24', '--to', two, '--listen', 'fd:5', '--to', rest],
    ],
    {
      descriptors,
      command: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, BIN],
    },
  );
  for (const fd of descriptors) native.closeFd(fd);
  await command.printed(/(?:^http:.*\n){3}/m);
  t.is(await get(port, '127.0.1.1'), one);
  t.is(await get(port, '127.0.2.1'), two);
  t.is(await get(port, '127.0.3.1'), rest);
  t.is(command.stderr, '');
  command.kill('SIGTERM');
  t.is((await command.ended).code, 0);
});

test.serial('a path is relative to where the command was typed', async (t) => {
  const cwd = temporaryFolder(t);
  const path = join(cwd, 'app.sock');
  await backend(t, path);
  const { ports } = await front(t, 1, ['--listen', 'localhost:0', '--to', 'unix:app.sock'], cwd);
  t.is(await get(ports[0], 'localhost'), path);
});

test.serial('an address in use is one sentence, and none of the others is bound', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  const pair = (each: number): string[] => ['--listen', `127.0.0.1:${each}`, '--to', 'unix:/run/app.sock'];
  const ended = await FdpassCommand.run(t, ['front', ...pair(0), ...pair(port)]);
  await new Promise((resolve) => taken.close(resolve));
  assertOneSentence(t, ended, new RegExp(`Cannot listen on 127\\.0\\.0\\.1:${port} \\(EADDRINUSE`));
  t.is(ended.stdout, '');
});

test.serial('a host that is none is one sentence', async (t) => {
  const ended = await FdpassCommand.run(t, ['front', '--listen', 'no..host:0', '--to', 'unix:/run/app.sock']);
  assertOneSentence(t, ended, /Cannot listen on no\.\.host:0 \(getaddrinfo /);
});
