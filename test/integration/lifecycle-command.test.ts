// `fdpass serve` as a supervisor sees it: started on a path or on an inherited socket, ended by a signal.
import { existsSync, lstatSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { Command, type CommandOptions } from '../helpers/command.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

const native = loadNative();
guardDescriptors(test);

const APP = `
export default async function app(fastify) {
  fastify.get('/', async () => 'served by ' + process.pid);
  fastify.get('/slow', async (request) => {
    request.log.info('slow has begun');
    await new Promise((resolve) => setTimeout(resolve, 1200));
    return 'slow is done';
  });
  fastify.get('/never', (request) => request.log.info('never has begun'));
}
`;

interface Fixture {
  command: Command;
  path: string;
}

async function start(
  t: ExecutionContext,
  args: readonly string[] = [],
  options: CommandOptions | ((path: string) => CommandOptions) = {},
): Promise<Fixture> {
  const folder = await temporaryFolder(t);
  const app = join(folder, 'app.mjs');
  const path = join(folder, 'socket');
  writeFileSync(app, APP);
  const withFd = typeof options === 'function' ? options(path) : options;
  const socket = withFd.fd3 === undefined ? ['--socket', path] : [];
  const command = new Command(t, ['serve', app, ...socket, ...args], withFd);
  return { command, path };
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal}: what is under way is answered, then it exits with 0 and the path is gone`, async (t) => {
    const { command, path } = await start(t, ['--keep-alive-scope', '/']);
    await until('it listens', () => existsSync(path));
    await command.says('Server listening');
    const idle = await handOver(path);
    await idle.readUntil('served by');
    const slow = await handOver(path, { target: '/slow' });
    await command.says('slow has begun');
    command.child.kill(signal);
    t.regex(
      await slow.readToEnd(),
      /^HTTP\/1\.1 200 OK\r\n(?:.+\r\n)*connection: close\r\n(?:.+\r\n)*\r\nslow is done$/i,
    );
    await idle.readToEnd();
    t.is(await command.end(), 0);
    t.false(existsSync(path));
  });
}

test('a second signal ends it at once', async (t) => {
  const { command, path } = await start(t);
  await command.says('Server listening');
  const client = await handOver(path, { target: '/never' });
  await command.says('never has begun');
  command.child.kill('SIGTERM');
  await until('it drains', () => !existsSync(path));
  // Sooner it would count as the same keystroke.
  await new Promise((resolve) => setTimeout(resolve, 600));
  command.child.kill('SIGTERM');
  t.is(await command.end(), 1);
  t.is(await client.readToEnd(), '');
});

test('--mode and --owner reach the socket', async (t) => {
  const uid = process.getuid?.() ?? 0;
  const { command, path } = await start(t, ['--mode', '604', '--owner', String(uid)]);
  await command.says('Server listening');
  t.is(lstatSync(path).mode & 0o777, 0o604);
  t.is(lstatSync(path).uid, uid);
});

test('a path somebody listens on: one sentence, and exit code 1; with --takeover it is replaced', async (t) => {
  const first = await start(t);
  await first.command.says('Server listening');
  const folder = await temporaryFolder(t);
  writeFileSync(join(folder, 'app.mjs'), APP);
  const serve = ['serve', join(folder, 'app.mjs'), '--socket', first.path];
  const refused = new Command(t, serve);
  t.is(await refused.end(), 1);
  t.regex(refused.output, /^fdpass: .*EADDRINUSE.*takeover.*$/m);
  const second = new Command(t, [...serve, '--takeover']);
  await second.says('Server listening');
  t.regex(await (await handOver(first.path)).readToEnd(), new RegExp(`served by ${second.child.pid}$`));
  first.command.child.kill('SIGTERM');
  t.is(await first.command.end(), 0);
  t.regex(await (await handOver(first.path)).readToEnd(), new RegExp(`served by ${second.child.pid}$`));
});

/** A socket a supervisor would have bound. */
function activated(
  t: ExecutionContext,
  env: Readonly<Record<string, string>>,
): (path: string) => CommandOptions {
  return (path) => {
    const fd3 = native.bindUnix(path, 0o600);
    native.listen(fd3, 16);
    t.teardown(() => native.closeFd(fd3));
    return { fd3, env };
  };
}

/** For a command to start, on a machine that is busy. */
const PATIENCE_MS = 50_000;

test('socket activation: the inherited socket is served, its path stays, and who comes between two processes waits', async (t) => {
  let fd3 = -1;
  const make = activated(t, { LISTEN_FDS: '1', LISTEN_PID: '$$' });
  const { command, path } = await start(t, [], (at) => {
    const options = make(at);
    fd3 = options.fd3 ?? -1;
    return options;
  });
  // It came before anybody served.
  const early = handOver(path, { timeoutMs: PATIENCE_MS });
  t.regex(await (await early).readToEnd(), new RegExp(`served by ${command.child.pid}$`));
  const slow = await handOver(path, { target: '/slow' });
  await command.says('slow has begun');
  command.child.kill('SIGTERM');
  t.regex(await slow.readToEnd(), /slow is done$/);
  t.is(await command.end(), 0);
  t.true(existsSync(path));
  const between = handOver(path, { timeoutMs: PATIENCE_MS });
  const folder = await temporaryFolder(t);
  writeFileSync(join(folder, 'app.mjs'), APP);
  const next = new Command(t, ['serve', join(folder, 'app.mjs')], {
    fd3,
    env: { LISTEN_FDS: '1', LISTEN_PID: '$$' },
  });
  t.regex(await (await between).readToEnd(), new RegExp(`served by ${next.child.pid}$`));
});

for (const [title, env] of [
  ['a LISTEN_PID of somebody else', { LISTEN_FDS: '1', LISTEN_PID: '1' }],
  ['no LISTEN_FDS', {}],
] as const) {
  test(`${title}: the descriptor is not meant for us`, async (t) => {
    const { command } = await start(t, [], activated(t, env));
    t.is(await command.end(), 1);
    t.regex(command.output, /^fdpass: Nothing to listen on: give --socket PATH/m);
  });
}

test('an inherited descriptor that is no socket: one sentence, and exit code 1', async (t) => {
  const { command } = await start(t, [], { fd3: 1, env: { LISTEN_FDS: '1', LISTEN_PID: '$$' } });
  t.is(await command.end(), 1);
  t.regex(command.output, /^fdpass: .*descriptor 3.*$/m);
});
