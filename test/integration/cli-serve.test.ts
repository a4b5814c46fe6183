// `fdpass serve`: its socket, its signals, its log. Which applications it serves has a file of its own.
import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { assertOneSentence, FdpassCommand, root, temporaryFolder } from '../helpers/fdpass-command.js';
import { RawClient } from '../helpers/raw-client.js';
import { answering, get, openPort, serve } from '../helpers/serve-command.js';

guardDescriptors(test);
const native = loadNative();

const unusable: [title: string, socket: string, message: RegExp][] = [
  ['in a folder that is not there', 'gone/app.sock', /Cannot listen on gone\/app\.sock \(ENOENT/],
  [
    'that is a file',
    'app.mjs',
    /Cannot listen on app\.mjs \(.*EADDRINUSE.*not a socket; it was left alone\)/,
  ],
  ['with too long a name', `${'x'.repeat(120)}.sock`, /Cannot listen on x+\.sock \(ENAMETOOLONG/],
];
for (const [title, socket, message] of unusable) {
  test.serial(`a socket ${title}: one sentence`, async (t) => {
    const cwd = temporaryFolder(t, { 'app.mjs': answering('it') });
    assertOneSentence(
      t,
      await FdpassCommand.run(t, ['serve', 'app.mjs', '--socket', socket], { cwd }),
      message,
    );
  });
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test.serial(`${signal}: the answer under way is finished, the path is removed, exit code 0`, async (t) => {
    const text =
      "export default async (app) => { app.get('/', (request, reply) => { reply.hijack(); reply.raw.write('begun,'); console.log('begun'); process.once('" +
      `${signal}', () => setTimeout(() => reply.raw.end('ended'), 100)); }); };`;
    const cwd = temporaryFolder(t, { 'app.mjs': text });
    const socket = join(cwd, 'app.sock');
    const command = await serve(t, ['app.mjs', '--socket', socket], { cwd });
    const answer = get(t, socket);
    await command.printed('begun');
    command.kill(signal);
    t.is(await answer, 'begun,ended');
    const { code, stderr } = await command.ended;
    t.is(code, 0);
    t.is(stderr, '');
    t.false(existsSync(socket));
  });
}

test.serial(
  'clients that come while plugins close are served, and told that it was the last time',
  async (t) => {
    const text =
      "export default async (app) => { app.get('/', () => 'it'); app.addHook('preClose', () => { console.log('closing'); return new Promise((done) => setTimeout(done, 600)); }); };";
    const cwd = temporaryFolder(t, { 'app.mjs': text });
    const socket = join(cwd, 'app.sock');
    const command = await serve(t, ['app.mjs', '--socket', socket, '--keep-alive-scope', '/'], { cwd });
    const { url } = await openPort(t, socket);
    command.kill('SIGTERM');
    await command.printed('closing');
    const response = await fetch(url);
    t.is(response.status, 200);
    t.is(response.headers.get('connection'), 'close');
    t.is(await response.text(), 'it');
    t.is((await command.ended).code, 0);
  },
);

test.serial('a second signal, later than one keystroke, ends it at once', async (t) => {
  const text =
    "export default async (app) => { app.addHook('preClose', () => new Promise(() => { console.log('stuck'); })); };";
  const cwd = temporaryFolder(t, { 'app.mjs': text });
  const command = await serve(t, ['app.mjs', '--socket', 'app.sock'], { cwd });
  command.kill('SIGINT');
  await command.printed('stuck');
  // The same Ctrl-C, delivered twice.
  command.kill('SIGINT');
  const again = setInterval(() => command.kill('SIGINT'), 100);
  const { code } = await command.ended;
  clearInterval(again);
  t.is(code, 1);
});

test.serial(
  'a live socket is refused, with --takeover it is taken over, and the old process leaves the new one alone',
  async (t) => {
    const cwd = temporaryFolder(t, { 'one.mjs': answering('one'), 'two.mjs': answering('two') });
    const socket = join(cwd, 'app.sock');
    const one = await serve(t, ['one.mjs', '--socket', socket], { cwd });
    const refused = await FdpassCommand.run(t, ['serve', 'two.mjs', '--socket', socket], { cwd });
    assertOneSentence(t, refused, /Cannot listen on \S+ \(.*EADDRINUSE.*another process listens on it/);
    t.is(await get(t, socket), 'one');

    const two = await serve(t, ['two.mjs', '--socket', socket, '--takeover'], { cwd });
    t.is(await get(t, socket), 'two');
    one.kill('SIGTERM');
    t.is((await one.ended).code, 0);
    t.is(await get(t, socket), 'two');
    two.kill('SIGKILL');
    await two.ended;
    t.true(lstatSync(socket).isSocket(), 'a killed process leaves its path behind');

    await serve(t, ['one.mjs', '--socket', socket], { cwd });
    t.is(await get(t, socket), 'one');
  },
);

test.serial('--mode sets the permission bits, 660 without it', async (t) => {
  const cwd = temporaryFolder(t, { 'app.mjs': answering('it') });
  await Promise.all([
    serve(t, ['app.mjs', '--socket', 'default.sock'], { cwd }),
    serve(t, ['app.mjs', '--socket', 'open.sock', '--mode', '0666'], { cwd }),
  ]);
  t.is(statSync(join(cwd, 'default.sock')).mode & 0o777, 0o660);
  t.is(statSync(join(cwd, 'open.sock')).mode & 0o777, 0o666);
});

test.serial('without --socket it serves on the descriptor that systemd passes', async (t) => {
  const cwd = temporaryFolder(t, { 'app.mjs': answering('it') });
  const socket = join(cwd, 'app.sock');
  const fd = native.bindUnix(socket, 0o660);
  native.listen(fd, 16);
  // LISTEN_PID is the process's own: the shell becomes it.
  const command = [
    '/bin/sh',
    '-c',
    'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"',
    process.execPath,
    join(root, 'packages/backend-runtime/bin/fdpass.js'),
  ];
  await serve(t, ['app.mjs'], { cwd, command, descriptors: [fd] });
  native.closeFd(fd);
  t.is(await get(t, socket), 'it');
});

test.serial('--keep-alive-scope keeps connections open below it', async (t) => {
  const cwd = temporaryFolder(t, {
    'app.mjs':
      "export default async (app) => { app.get('/*', (request) => request.connectionInfo.requestNumber); };",
  });
  const socket = join(cwd, 'app.sock');
  await serve(t, ['app.mjs', '--socket', socket, '--keep-alive-scope', '/app/'], { cwd });
  const { port } = await openPort(t, socket);
  const client = await RawClient.connect(port);
  await client.send('GET /app/a HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.readUntil('\r\n\r\n1');
  await client.send('GET /app/b HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.readUntil('\r\n\r\n2');
  await client.send('GET /other HTTP/1.1\r\nHost: a\r\n\r\n');
  t.regex(await client.readToEnd(), /HTTP\/1\.1 421 Misdirected Request/);
});

test.serial(
  'a message that is none is logged once, in one line, and the next client is served',
  async (t) => {
    const cwd = temporaryFolder(t, { 'app.mjs': answering('it') });
    const socket = join(cwd, 'app.sock');
    const command = await serve(t, ['app.mjs', '--socket', socket], { cwd });
    const client = await RawClient.connect(socket);
    await client.send('GET / HTTP/1.1\r\n\r\n');
    await client.readToEnd();
    t.is(await get(t, socket), 'it');
    command.kill('SIGTERM');
    const lines = (await command.ended).stdout.split('\n').filter((line) => line.includes('SCGI_ERR_'));
    t.is(lines.length, 1);
    t.like(JSON.parse(lines[0] ?? ''), {
      code: 'SCGI_ERR_NETSTRING_LENGTH',
      level: 40,
      sender: { pid: process.pid },
    });
  },
);

test.serial('nothing else is left in its folder', async (t) => {
  const cwd = temporaryFolder(t, { 'app.ts': answering('it').replace('(app)', '(app: any)') });
  const command = await serve(t, ['app.ts', '--socket', 'app.sock'], { cwd });
  command.kill('SIGTERM');
  t.is((await command.ended).code, 0);
  t.deepEqual(readdirSync(cwd), ['app.ts']);
});
