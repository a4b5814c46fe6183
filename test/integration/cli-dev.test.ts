// `fdpass dev`: an application behind a front door of its own, reloaded when its files change, and what is left when it ends.

import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import {
  assertOneSentence,
  childrenOf,
  FdpassCommand,
  isRunning,
  temporaryFolder,
} from '../helpers/fdpass-command.js';
import { RawClient } from '../helpers/raw-client.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

interface Dev {
  command: FdpassCommand;
  port: number;
  /** Where the application is. */
  cwd: string;
}

async function dev(
  t: ExecutionContext,
  files: Record<string, string>,
  app = 'app.mjs',
  more: string[] = [],
): Promise<Dev> {
  const cwd = temporaryFolder(t, files);
  // Its own folder of temporary files: what is left there is its doing.
  const env = { TMPDIR: temporaryFolder(t) };
  const command = FdpassCommand.start(t, ['dev', app, '--port', '0', ...more], { cwd, env });
  const url = /http:\/\/127\.0\.0\.1:(\d+)\//;
  await command.printed(url);
  return { command, port: Number(url.exec(command.stdout)?.[1]), cwd };
}

/** One request on a connection of its own; rejects unless it is answered whole, with 200. */
function get(port: number, path = '/'): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ port, path, host: '127.0.0.1', agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200 && response.complete) resolve(body);
        else reject(new Error(`status ${response.statusCode}: ${body}`));
      });
    });
    sent.on('error', reject);
    sent.end();
  });
}

const answering = (text: string): string =>
  `export default async (app) => { app.get('/', () => '${text}'); app.get('/pid', () => String(process.pid)); };\n`;

/** As editors do: a new file in the place of the old one. */
function save(cwd: string, name: string, text: string): void {
  writeFileSync(join(cwd, `${name}.new`), text);
  renameSync(join(cwd, `${name}.new`), join(cwd, name));
}

async function answers(port: number, text: string): Promise<void> {
  let last = '';
  while (last !== text) {
    last = await get(port);
    await delay(5);
  }
}

/** The path it listens on, from its first log line. */
const socketOf = ({ command }: Dev): string => /Server listening at (\S+)/.exec(command.stdout)?.[1] ?? '';

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`${signal} ends it with exit code 0, its child with it, and its folder is gone`, async (t) => {
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

test('log lines are for people: one line each', async (t) => {
  const { command, port } = await dev(t, { 'app.mjs': answering('it') });
  await get(port);
  await command.printed('request completed');
  for (const line of command.stdout.trim().split('\n').slice(1)) {
    t.regex(line, /^(\[\d\d:\d\d:\d\d\.\d{3}\] (INFO|WARN|ERROR): |app\.mjs is served on http:)/);
  }
});

test('edits under a loop of requests: none fails, and the last edit is what is served', async (t) => {
  const { port, cwd } = await dev(t, { 'app.mjs': answering('v0') }, 'app.mjs', ['--log-level', 'error']);
  const seen = new Set<string>();
  const failed: string[] = [];
  let isOver = false;
  const loop = async (): Promise<void> => {
    while (!isOver) {
      await get(port).then(
        (text) => seen.add(text),
        (error: Error) => failed.push(error.message),
      );
    }
  };
  const loops = [loop(), loop(), loop()];
  for (const version of ['v1', 'v2', 'v3']) {
    save(cwd, 'app.mjs', answering(version));
    await answers(port, version);
  }
  isOver = true;
  await Promise.all(loops);
  t.deepEqual(failed, []);
  t.deepEqual([...seen].sort(), ['v0', 'v1', 'v2', 'v3']);
});

test('edits faster than it starts: the last one is what is served in the end, and one process is left', async (t) => {
  const { command, port, cwd } = await dev(t, { 'app.mjs': answering('v0') });
  for (let version = 1; version <= 12; version++) {
    save(cwd, 'app.mjs', answering(`v${version}`));
    await delay(70);
  }
  await answers(port, 'v12');
  const reloads = [...command.stdout.matchAll(/reloaded/g)].length;
  t.true(reloads >= 1 && reloads < 12, `${reloads} reloads`);
  await until('one process is left', () => childrenOf(command.pid).length === 1);
  t.is(await get(port), 'v12');
});

test('an answer begun before an edit is finished by the process that began it', async (t) => {
  const slow = (version: string): string =>
    `export default async (app) => { app.get('/', () => '${version}'); app.get('/slow', (request, reply) => { reply.hijack(); reply.raw.write('${version} begun,'); console.log('begun'); setTimeout(() => reply.raw.end('${version} ended'), 1000); }); };\n`;
  const { command, port, cwd } = await dev(t, { 'app.mjs': slow('old') });
  const answer = get(port, '/slow');
  await command.printed('begun');
  save(cwd, 'app.mjs', slow('new'));
  await answers(port, 'new');
  t.is(await answer, 'old begun,old ended');
});

test('a kept connection is told at its next answer, or closed when idle: the next one reaches the new version', async (t) => {
  const { command, port, cwd } = await dev(t, { 'app.mjs': answering('old') });
  const client = await RawClient.connect(port);
  await client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.readUntil('old');
  t.regex(client.received, /Connection: keep-alive/);
  save(cwd, 'app.mjs', answering('new'));
  await command.printed('reloaded');
  t.notRegex(await client.readToEnd(), /new/);
  t.is(client.error, undefined);
  t.is(await get(port), 'new');
});

test('a broken edit leaves the old version serving and is one line; repaired, it is served', async (t) => {
  const { command, port, cwd } = await dev(t, { 'app.mjs': answering('old') });
  save(cwd, 'app.mjs', `${answering('broken')}\noops oops\n`);
  await command.printed('ERROR');
  t.is(await get(port), 'old');
  const lines = `${command.stdout}${command.stderr}`
    .split('\n')
    .filter((line) => /ERROR|Error|fdpass:/.test(line));
  t.is(lines.length, 1);
  t.regex(
    lines[0] ?? '',
    /ERROR: The application app\.mjs does not load \(SyntaxError: .*, at \S+\/app\.mjs:3\); the application as it was goes on$/,
  );
  save(cwd, 'app.mjs', answering('repaired'));
  await answers(port, 'repaired');
  t.pass();
});

test('a TypeScript application is reloaded when a module it imports changes', async (t) => {
  const app =
    "import { word } from './word.js';\nexport default async (app: any): Promise<void> => { app.get('/', () => word); };\n";
  const { port, cwd } = await dev(
    t,
    { 'app.ts': app, 'word.ts': "export const word: string = 'one';\n" },
    'app.ts',
  );
  t.is(await get(port), 'one');
  save(cwd, 'word.ts', "export const word: string = 'two';\n");
  await answers(port, 'two');
  t.pass();
});

test('files the application writes are no change, and with --no-watch nothing is', async (t) => {
  const writing = `import { writeFileSync } from 'node:fs';\nwriteFileSync('data.db', String(process.pid));\n${answering('it')}`;
  const [watching, blind] = await Promise.all([
    dev(t, { 'app.mjs': writing }),
    dev(t, { 'app.mjs': answering('it') }, 'app.mjs', ['--no-watch']),
  ]);
  writeFileSync(join(watching.cwd, 'data.db'), 'changed');
  save(blind.cwd, 'app.mjs', answering('changed'));
  await delay(600);
  t.notRegex(watching.command.stdout, /reloaded/);
  t.is(await get(blind.port), 'it');
});

test('an application that ends by itself is named, and the next edit starts it again', async (t) => {
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

test('killed by SIGKILL it leaves no child behind', async (t) => {
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

test('Ctrl-C does not wait for an answer that never ends', async (t) => {
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

test('a port in use is one sentence, before the application is started', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  const cwd = temporaryFolder(t, { 'app.mjs': "console.log('started');\n" });
  const ended = await FdpassCommand.run(t, ['dev', 'app.mjs', '--port', String(port)], { cwd });
  await new Promise((resolve) => taken.close(resolve));
  assertOneSentence(t, ended, new RegExp(`Cannot listen on 127\\.0\\.0\\.1:${port} \\(EADDRINUSE`));
  t.is(ended.stdout, '');
});

test('an application that does not load is one sentence', async (t) => {
  const cwd = temporaryFolder(t, { 'app.mjs': '\nthrow new TypeError("no");\n' });
  const env = { TMPDIR: temporaryFolder(t) };
  const ended = await FdpassCommand.run(t, ['dev', 'app.mjs', '--port', '0'], { cwd, env });
  assertOneSentence(t, ended, /The application app\.mjs does not load \(TypeError: no, at \S+\/app\.mjs:2\)/);
});
