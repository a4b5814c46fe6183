// The generated files behind the demo's /download: when one is made, shared, kept and removed.
import { readdirSync, readFileSync } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { GeneratedFiles } from '#demo/generated-files.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const neverAborted = new AbortController().signal;
const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Holds on to a file until told to let go. */
function hold(files: GeneratedFiles, bytes: number, signal = neverAborted) {
  let letGo = (): void => {};
  const released = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let path: string | undefined;
  const done = files.use(bytes, signal, async (file) => {
    path = file.path;
    await released;
    return file;
  });
  return {
    done,
    letGo,
    held: () => until('the file is held', () => path !== undefined).then(() => path ?? ''),
  };
}

const pathOf = (files: GeneratedFiles, bytes: number): Promise<string> =>
  files.use(bytes, neverAborted, async ({ path }) => path);

test('requests for one size at once share one file, readable by its owner alone', async (t) => {
  const files = new GeneratedFiles();
  t.teardown(() => files.close());
  const paths = await Promise.all([1, 2, 3].map(() => pathOf(files, 1_000_000)));
  t.is(new Set(paths).size, 1);
  const path = paths[0] ?? '';
  t.is((await stat(path)).mode & 0o777, 0o600);
  t.is((await stat(dirname(path))).mode & 0o777, 0o700);
  t.deepEqual(readdirSync(dirname(path)).length, 1);
});

test('a smaller file is the beginning of a larger one', async (t) => {
  const files = new GeneratedFiles();
  t.teardown(() => files.close());
  const small = readFileSync(await pathOf(files, 300_000));
  const large = readFileSync(await pathOf(files, 600_000));
  t.deepEqual(large.subarray(0, 300_000), small);
  t.notDeepEqual(large.subarray(300_000), small);
});

test('the least recently used file goes first, but never one in use', async (t) => {
  const files = new GeneratedFiles({ maxFiles: 2 });
  t.teardown(() => files.close());
  const used = hold(files, 10);
  const usedPath = await used.held();
  const second = await pathOf(files, 20);
  const third = await pathOf(files, 30);
  await until('the idle one is gone', () => readdirSync(dirname(usedPath)).length === 2);
  t.deepEqual(await Promise.all([usedPath, second, third].map(exists)), [true, false, true]);
  used.letGo();
  t.is((await used.done).path, usedPath);
  await pathOf(files, 30); // now 10 is the one unused for longest
  const fourth = await pathOf(files, 40);
  await until('one more is gone', () => readdirSync(dirname(usedPath)).length === 2);
  t.deepEqual(await Promise.all([usedPath, third, fourth].map(exists)), [false, true, true]);
});

test('bytes in use count against the bound until they are let go', async (t) => {
  const files = new GeneratedFiles({ maxBytes: 100 });
  t.teardown(() => files.close());
  const used = hold(files, 60);
  const path = await used.held();
  await t.throwsAsync(pathOf(files, 41), { message: /more than 100 bytes/ });
  used.letGo();
  await used.done;
  t.true(await exists(await pathOf(files, 41)));
  await until('the idle one made room', () => readdirSync(dirname(path)).length === 1);
  t.false(await exists(path));
});

test('a file nobody waits for any more is given up, and can be asked for again', async (t) => {
  const files = new GeneratedFiles();
  t.teardown(() => files.close());
  const folder = dirname(await pathOf(files, 1));
  const leaving = new AbortController();
  const abandoned = files.use(2_000_000_000, leaving.signal, async ({ path }) => path);
  await until('it is being made', () => readdirSync(folder).length === 2);
  leaving.abort(new Error('the client left'));
  await t.throwsAsync(abandoned, { message: 'the client left' });
  await until('it is gone', () => readdirSync(folder).length === 1);
  t.true(await exists(await pathOf(files, 2_000)));
});

test('closing gives up what is being made and leaves nothing', async (t) => {
  const files = new GeneratedFiles();
  const folder = dirname(await pathOf(files, 1));
  const unfinished = t.throwsAsync(pathOf(files, 2_000_000_000), { name: 'AbortError' });
  await until('it is being made', () => readdirSync(folder).length === 2);
  await files.close();
  await unfinished;
  t.false(await exists(folder));
});

test('other requests are served while a large file is made', async (t) => {
  const files = new GeneratedFiles();
  t.teardown(() => files.close());
  let turns = 0;
  let made = false;
  const making = pathOf(files, 50_000_000).then(() => {
    made = true;
  });
  while (!made) {
    await turn();
    turns += 1;
  }
  await making;
  t.true(turns > 50, `${turns} turns of the loop`);
});
