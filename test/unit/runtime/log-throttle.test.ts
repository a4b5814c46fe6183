import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { LogThrottle } from '#runtime/log-throttle.js';

test('writes the first line of each kind, and how many were left out with the next one', async (t) => {
  const lines: [object, string][] = [];
  const log = new LogThrottle({ warn: (fields, message) => void lines.push([fields, message]) });
  log.warn('a', { n: 1 }, 'first of a');
  for (let n = 0; n < 100; n++) log.warn('a', { n }, 'more of a');
  log.warn('b', {}, 'first of b');
  t.deepEqual(lines, [
    [{ n: 1 }, 'first of a'],
    [{}, 'first of b'],
  ]);
  while (lines.length < 3) {
    await delay(20);
    log.warn('a', { n: 2 }, 'again a');
  }
  const [fields, message] = lines[2] as [{ n: number; suppressed: number }, string];
  t.is(message, 'again a');
  t.true(fields.suppressed >= 100);
});

test('needs no logger', (t) => {
  t.notThrows(() => new LogThrottle(undefined).warn('a', {}, 'a'));
});
