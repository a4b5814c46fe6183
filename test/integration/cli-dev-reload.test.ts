import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { answering, answers, dev, get, save } from '../helpers/dev-command.js';
import { childrenOf } from '../helpers/fdpass-command.js';
import { RawClient } from '../helpers/raw-client.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

test.serial('edits under a loop of requests: none fails, and the last edit is what is served', async (t) => {
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

test.serial('edits come while it still starts: they wait, and the last one is what is served', async (t) => {
  const { command, port, cwd } = await dev(t, { 'app.mjs': answering('v0') });
  save(
    cwd,
    'app.mjs',
    `console.log('v1 begins');\nawait new Promise((done) => setTimeout(done, 800));\n${answering('v1')}`,
  );
  await command.printed('v1 begins');
  for (let version = 2; version <= 9; version++) {
    save(cwd, 'app.mjs', answering(`v${version}`));
    await delay(20);
  }
  await answers(port, 'v9');
  await command.printed(/reloaded.*reloaded/s);
  await until('one process is left', () => childrenOf(command.pid).length === 1);
  t.is(await get(port), 'v9');
});

test.serial(
  'clients that wait for a busy process while the next one takes over are all answered',
  async (t) => {
    // Busy until the next one listens, and a moment longer: the signal to drain waits as the clients do.
    const busy = `import { existsSync } from 'node:fs';
const spin = (over) => { while (!over()); };
export default async (app) => {
  app.get('/', () => 'old');
  app.get('/busy', () => {
    console.log('busy');
    spin(() => existsSync('taken'));
    const until = Date.now() + 300;
    spin(() => Date.now() > until);
    return 'done';
  });
};`;
    const next = `import { writeFileSync } from 'node:fs';
export default async (app) => {
  app.get('/', () => 'new');
  app.addHook('onListen', () => writeFileSync('taken', ''));
};`;
    const { command, port, cwd } = await dev(t, { 'app.mjs': busy });
    const done = get(port, '/busy');
    await command.printed(/^busy$/m);
    const waiting = Promise.all(Array.from({ length: 200 }, () => get(port)));
    save(cwd, 'app.mjs', next);
    t.is(await done, 'done');
    for (const text of await waiting) t.regex(text, /^(old|new)$/);
  },
);

test.serial('an answer begun before an edit is finished by the process that began it', async (t) => {
  const slow = (version: string): string =>
    `export default async (app) => { app.get('/', () => '${version}'); app.get('/slow', (request, reply) => { reply.hijack(); reply.raw.write('${version} begun,'); console.log('begun'); setTimeout(() => reply.raw.end('${version} ended'), 1000); }); };\n`;
  const { command, port, cwd } = await dev(t, { 'app.mjs': slow('old') });
  const answer = get(port, '/slow');
  await command.printed('begun');
  save(cwd, 'app.mjs', slow('new'));
  await answers(port, 'new');
  t.is(await answer, 'old begun,old ended');
});

test.serial(
  'a kept connection is told at its next answer, or closed when idle: the next one reaches the new version',
  async (t) => {
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
  },
);

test.serial(
  'a broken edit leaves the old version serving and is one line; repaired, it is served',
  async (t) => {
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
  },
);

test.serial('a TypeScript application is reloaded when a module it imports changes', async (t) => {
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

test.serial('files the application writes are no change', async (t) => {
  const writing = (text: string): string =>
    `import { writeFileSync } from 'node:fs';\nwriteFileSync('data.db', String(process.pid));\n${answering(text)}`;
  const { command, port, cwd } = await dev(t, { 'app.mjs': writing('old') });
  const beganMs = performance.now();
  save(cwd, 'app.mjs', writing('new'));
  await answers(port, 'new');
  // If they were, each reload would lead to the next: time for two.
  await delay(2 * (performance.now() - beganMs));
  t.is([...command.stdout.matchAll(/reloaded/g)].length, 1);
});

test.serial('with --no-watch it is never reloaded', async (t) => {
  const beganMs = performance.now();
  const { command, port, cwd } = await dev(t, { 'app.mjs': answering('old') }, 'app.mjs', ['--no-watch']);
  save(cwd, 'app.mjs', answering('new'));
  // What sufficed for the first start suffices for a reload.
  await delay(performance.now() - beganMs);
  t.is(await get(port), 'old');
  t.notRegex(command.stdout, /reloaded/);
});
