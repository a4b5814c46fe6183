// `fdpass dev`: an application behind a front door of its own, and what is left when it ends. Reloading has a file of its own.
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { answering, type Dev, dev, get, save } from '../helpers/dev-command.js';
import { assertOneSentence, FdpassCommand, isRunning, temporaryFolder } from '../helpers/fdpass-command.js';
import { RawClient } from '../helpers/raw-client.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

/** The path it listens on, from its first log line. */
const socketOf = ({ command }: Dev): string => /Server listening at (\S+)/.exec(command.stdout)?.[1] ?? '';

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test.serial(`${signal} ends it with exit code 0, its child with it, and its folder is gone`, async (t) => {
    const running = await dev(t, { 'app.mjs': answering('it') });
    t.is(await get(running.port), 'it');
    const pid = Number(await get(running.port, '/pid'));
    t.true(isRunning(pid));
    running.command.kill(signal);
    const { code, stderr } = await running.command.ended;
    t.is(code, 0);
    t.is(stderr, '');
    t.false(isRunning(pid));
    t.false(existsSync(join(socketOf(running), '..')));
  });
}

test.serial('Ctrl-C while the application still starts is no failure', async (t) => {
  const cwd = temporaryFolder(t, {
    'app.mjs': "console.log('begins');\nawait new Promise(() => setInterval(() => {}, 1000));\n",
  });
  const env = { TMPDIR: temporaryFolder(t) };
  const command = FdpassCommand.start(t, ['dev', 'app.mjs', '--port', '0'], { cwd, env });
  await command.printed('begins');
  command.kill('SIGINT');
  const { code, stderr } = await command.ended;
  t.is(code, 0);
  t.is(stderr, '');
});

test.serial('log lines are for people: one line each', async (t) => {
  const { command, port } = await dev(t, { 'app.mjs': answering('it') });
  await get(port);
  await command.printed('request completed');
  for (const line of command.stdout.trim().split('\n').slice(1)) {
    t.regex(line, /^(\[\d\d:\d\d:\d\d\.\d{3}\] (INFO|WARN|ERROR): |app\.mjs is served on http:)/);
  }
});

test.serial('an application that ends by itself is named, and the next edit starts it again', async (t) => {
  const crashing =
    "export default async (app) => { app.get('/', () => 'old'); app.get('/crash', () => process.exit(3)); };\n";
  const { command, port, cwd } = await dev(t, { 'app.mjs': crashing });
  await t.throwsAsync(get(port, '/crash'));
  await command.printed('ERROR: The application ended (exit code 3); a change starts it again');
  await t.throwsAsync(get(port), { message: /^status 50[23]/ });
  save(cwd, 'app.mjs', answering('new'));
  await command.printed('reloaded');
  t.is(await get(port), 'new');
});

test.serial('killed by SIGKILL it leaves no child behind', async (t) => {
  const { command, port } = await dev(t, { 'app.mjs': answering('it') });
  const pid = Number(await get(port, '/pid'));
  // A client that would keep a child busy that drains politely.
  const client = await RawClient.connect(port);
  await client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.readUntil('it');
  command.kill('SIGKILL');
  t.is((await command.ended).signal, 'SIGKILL');
  await until('the child has ended', () => !isRunning(pid), 5000);
  await client.close();
  t.pass();
});

test.serial('Ctrl-C does not wait for an answer that never ends', async (t) => {
  const endless =
    "export default async (app) => { app.get('/', (request, reply) => { reply.hijack(); reply.raw.write('data: 1\\n\\n'); }); app.get('/pid', () => String(process.pid)); };\n";
  const { command, port } = await dev(t, { 'app.mjs': endless });
  const pid = Number(await get(port, '/pid'));
  const client = await RawClient.connect(port);
  await client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.readUntil('data: 1');
  const began = performance.now();
  command.kill('SIGINT');
  t.is((await command.ended).code, 0);
  t.true(performance.now() - began < 8000);
  t.false(isRunning(pid));
  await client.close();
});

test.serial('a port in use is one sentence, before the application is started', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  const cwd = temporaryFolder(t, { 'app.mjs': "console.log('started');\n" });
  const ended = await FdpassCommand.run(t, ['dev', 'app.mjs', '--port', String(port)], { cwd });
  await new Promise((resolve) => taken.close(resolve));
  assertOneSentence(t, ended, new RegExp(`Cannot listen on 127\\.0\\.0\\.1:${port} \\(EADDRINUSE`));
  t.is(ended.stdout, '');
});

test.serial('an application that does not load is one sentence', async (t) => {
  const cwd = temporaryFolder(t, { 'app.mjs': '\nthrow new TypeError("no");\n' });
  const env = { TMPDIR: temporaryFolder(t) };
  const ended = await FdpassCommand.run(t, ['dev', 'app.mjs', '--port', '0'], { cwd, env });
  assertOneSentence(t, ended, /The application app\.mjs does not load \(TypeError: no, at \S+\/app\.mjs:2\)/);
});
