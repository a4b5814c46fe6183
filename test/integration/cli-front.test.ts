// `fdpass front`: the front door alone, in front of receivers in this process.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createServer as createHandoverServer, type HandoverServer } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { assertOneSentence, FdpassCommand, temporaryFolder } from '../helpers/fdpass-command.js';

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
  await command.printed(new RegExp(`(?:^http://\\S+ -> .*\\n){${count}}`, 'm'));
  const ports = [...command.stdout.matchAll(/^http:\/\/[^\s]+:(\d+)\/ ->/gm)].map(([, port]) => Number(port));
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
