// Handlers that throw: an uncaught exception each time, and nobody else's connection is the worse for it. The same without a socket
// and with one.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';

guardDescriptors(test);

const script = fileURLToPath(new URL('../helpers/throwing-handlers.js', import.meta.url));

async function run(
  how: 'lean' | 'ordinary',
): Promise<{ answers: Record<string, string>; uncaught: string[] }> {
  const { stdout } = await promisify(execFile)(process.execPath, [script, how]);
  return JSON.parse(stdout);
}

const MISTAKES = {
  '/before': 'before the answer',
  '/after': 'after the answer',
  '/between': 'between the parts',
  '/finish': "about 'finish'",
  '/prefinish': "about 'prefinish'",
  '/close': "about 'close'",
  '/callback': 'in the callback',
  '/request': "about the request's end",
  '/socket': "about the socket's close",
};

test('what handlers throw is an uncaught exception, and costs nobody else anything', async (t) => {
  const { answers, uncaught } = await run('lean');
  t.deepEqual(
    uncaught,
    Object.values(MISTAKES).flatMap((mistake) => [mistake, mistake]),
  );
  for (const target of Object.keys(MISTAKES).slice(1)) {
    for (const place of ['first', 'second']) {
      t.true(answers[`${place} ${target}`]?.includes(target.slice(1)), `${place} ${target}`);
    }
  }
});

test('clients get what they get where there is a socket', async (t) => {
  t.deepEqual(await run('lean'), await run('ordinary'), '- without a socket, + with one');
});
