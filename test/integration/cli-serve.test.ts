// `fdpass serve` with every kind of application, behind a real handover; and how it lives and ends.
import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { openGateway } from '@fdpass/backend-runtime/testing';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { assertOneSentence, FdpassCommand, root, temporaryFolder } from '../helpers/fdpass-command.js';
import { RawClient } from '../helpers/raw-client.js';

guardDescriptors(test);
const native = loadNative();

const LISTENING = 'Server listening at';

async function serve(t: ExecutionContext, args: readonly string[], options = {}): Promise<FdpassCommand> {
  const command = FdpassCommand.start(t, ['serve', ...args], options);
  await command.printed(LISTENING);
  return command;
}

/** A web server's port in front of a socket. */
async function openPort(t: ExecutionContext, socket: string): Promise<{ url: string; port: number }> {
  const gateway = await openGateway(socket, { kind: 'full' });
  t.teardown(() => gateway.close());
  return gateway;
}

async function get(t: ExecutionContext, socket: string, path = '/'): Promise<string> {
  const { url } = await openPort(t, socket);
  const response = await fetch(`${url}${path}`, { headers: { connection: 'close' } });
  t.is(response.status, 200);
  return response.text();
}

/** `app.get('/', ...)` that answers `text`, as a Fastify plugin. */
const answering = (text: string): string =>
  `export default async (app) => { app.get('/', () => '${text}'); };\n`;

const apps: Record<string, { app: string; files: Record<string, string> }> = {
  'a JavaScript module': { app: 'app.mjs', files: { 'app.mjs': answering('it') } },
  'a TypeScript module that imports another': {
    app: 'app.ts',
    files: {
      'app.ts':
        "import type { FastifyInstance } from 'fastify';\nimport { word } from './word.js';\n" +
        "export default async function app(app: FastifyInstance): Promise<void> { app.get('/', () => word); }\n",
      'word.ts': "export const word: string = 'it';\n",
    },
  },
  'a CommonJS module': {
    app: 'app.cjs',
    files: { 'app.cjs': "module.exports = (app, options, done) => { app.get('/', () => 'it'); done(); };\n" },
  },
  'a CommonJS module compiled from an export default': {
    app: 'app.cjs',
    files: {
      'app.cjs':
        "Object.defineProperty(exports, '__esModule', { value: true });\nexports.default = async (app) => { app.get('/', () => 'it'); };\n",
    },
  },
  'a package folder by its exports': {
    app: '.',
    files: {
      'package.json':
        '{"type":"module","main":"no.js","exports":{".":{"types":"./a.d.ts","import":"./a.js","require":"./no.cjs"}}}',
      'a.js': answering('it'),
    },
  },
  'a package folder by its main': {
    app: '.',
    files: { 'package.json': '{"type":"module","main":"./a.js"}', 'a.js': answering('it') },
  },
  'a package folder with an index.ts': {
    app: '.',
    files: {
      'package.json': '{"type":"module"}',
      'index.ts': answering('it').replace('(app)', '(app: any)'),
    },
  },
};
for (const [title, { app, files }] of Object.entries(apps)) {
  test(`serves ${title}`, async (t) => {
    const cwd = temporaryFolder(t, files);
    await serve(t, [app, '--socket', 'app.sock'], { cwd });
    t.is(await get(t, join(cwd, 'app.sock')), 'it');
  });
}

test('serves the demo from the root of the checkout, by the link npx finds', async (t) => {
  const socket = join(temporaryFolder(t), 'app.sock');
  const command = [join(root, 'node_modules', '.bin', 'fdpass')];
  await serve(t, ['packages/demo-app', '--socket', socket], { command });
  t.is(await get(t, socket, '/hello'), '{"hello":"world"}');
});

test('an application knows its connection and the request id without doing anything for it', async (t) => {
  const text =
    "export default async (app) => { app.get('/', (request) => ({ ...request.connectionInfo, id: request.id })); };";
  const cwd = temporaryFolder(t, { 'app.mjs': text });
  await serve(t, ['app.mjs', '--socket', 'app.sock'], { cwd });
  const gateway = await openGateway(join(cwd, 'app.sock'), {
    kind: 'full',
    variables: { REQUEST_ID: 'id-7' },
  });
  const info = (await (await fetch(gateway.url)).json()) as Record<string, unknown>;
  await gateway.close();
  t.is(info.handover, 'full');
  t.is(info.id, 'id-7');
  t.like(info.client, { address: '127.0.0.1' });
});

const broken: [title: string, file: string, text: string, message: RegExp][] = [
  [
    'a syntax error',
    'app.mjs',
    'export default async () => {\n  oops oops\n};\n',
    /does not load \(SyntaxError: .*, at \S+\/app\.mjs:2\)/,
  ],
  [
    'a syntax error in TypeScript',
    'app.ts',
    'export default async () => {\n  oops oops\n};\n',
    /does not load \(.*app\.ts:2:\d+\)/,
  ],
  [
    'an error while loading',
    'app.mjs',
    "\n\nthrow new RangeError('first\\nsecond');\n",
    /does not load \(RangeError: first second, at \S+\/app\.mjs:3\)/,
  ],
  [
    'an import of nothing',
    'app.mjs',
    "import './gone.js';\n",
    /does not load \(Cannot find module '\S+\/gone\.js' imported from \S+\/app\.mjs\)/,
  ],
  ['no default export', 'app.mjs', 'export const app = 1;\n', /has no Fastify plugin as its default export/],
  [
    'a plugin that fails',
    'app.mjs',
    "export default async () => {\n  throw new Error('no database');\n};\n",
    /does not start \(no database, at \S+\/app\.mjs:2\)/,
  ],
  [
    'a plugin that fails with a timer running',
    'app.mjs',
    "setInterval(() => {}, 1000);\nexport default () => Promise.reject(new Error('x'));\n",
    /does not start \(x, at/,
  ],
  ['a package.json that is none', 'package.json', '{', /has a package\.json that cannot be read/],
  [
    'a folder with nothing to load',
    'package.json',
    '{"main":"./dist/a.js"}',
    /has none of \.\/dist\/a\.js, index\.js, .*\(built yet\?\)/,
  ],
];
for (const [title, file, text, message] of broken) {
  test(`an application with ${title}: one sentence`, async (t) => {
    const cwd = temporaryFolder(t, { [file]: text });
    const ended = await FdpassCommand.run(
      t,
      ['serve', file.startsWith('app') ? file : '.', '--socket', 'app.sock'],
      { cwd },
    );
    assertOneSentence(t, ended, message);
    t.false(existsSync(join(cwd, 'app.sock')));
  });
}

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
  test(`a socket ${title}: one sentence`, async (t) => {
    const cwd = temporaryFolder(t, { 'app.mjs': answering('it') });
    assertOneSentence(
      t,
      await FdpassCommand.run(t, ['serve', 'app.mjs', '--socket', socket], { cwd }),
      message,
    );
  });
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal}: the answer under way is finished, the path is removed, exit code 0`, async (t) => {
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

test('a second signal, later than one keystroke, ends it at once', async (t) => {
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

test('a live socket is refused, with --takeover it is taken over, and the old process leaves the new one alone', async (t) => {
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
});

test('--mode sets the permission bits, 660 without it', async (t) => {
  const cwd = temporaryFolder(t, { 'app.mjs': answering('it') });
  await Promise.all([
    serve(t, ['app.mjs', '--socket', 'default.sock'], { cwd }),
    serve(t, ['app.mjs', '--socket', 'open.sock', '--mode', '0666'], { cwd }),
  ]);
  t.is(statSync(join(cwd, 'default.sock')).mode & 0o777, 0o660);
  t.is(statSync(join(cwd, 'open.sock')).mode & 0o777, 0o666);
});

test('without --socket it serves on the descriptor that systemd passes', async (t) => {
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

test('--keep-alive-scope keeps connections open below it', async (t) => {
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

test('a message that is none is logged once, in one line, and the next client is served', async (t) => {
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
});

test('nothing else is left in its folder', async (t) => {
  const cwd = temporaryFolder(t, { 'app.ts': answering('it').replace('(app)', '(app: any)') });
  const command = await serve(t, ['app.ts', '--socket', 'app.sock'], { cwd });
  command.kill('SIGTERM');
  t.is((await command.ended).code, 0);
  t.deepEqual(readdirSync(cwd), ['app.ts']);
});
