// Listeners to a server's events that throw: an uncaught exception each, as with net.Server, and every client is still served
// or answered.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';

test("listeners to 'connection', 'drop' and 'handoverError' that throw cost no client its answer", async (t) => {
  const script = fileURLToPath(new URL('../helpers/throwing-server-listeners.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: 30_000 });
  const { answers, errors, uncaught } = JSON.parse(stdout);
  // For each kind: one that is served, one that a middleware forgets, one that is dropped.
  t.deepEqual(answers, Array(3).fill(['200', '503', '503']).flat());
  t.deepEqual(errors, Array(3).fill(['BKR_ERR_MIDDLEWARE_TIMEOUT', 'BKR_ERR_TOO_MANY_CONNECTIONS']).flat());
  const thrown = ['about a connection', 'about an error', 'about a drop', 'about an error'];
  t.deepEqual(uncaught, Array(3).fill(thrown).flat());
});
