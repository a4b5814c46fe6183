// What a callback throws is neither lost nor fatal to the addon.
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { Child } from './children/run.js';

guardDescriptors(test);

test('exceptions in callbacks become uncaughtException, and everything goes on', async (t) => {
  const { code, lines } = await new Child('throwing.js').ended;
  t.deepEqual(lines, [
    'uncaught: in the batch',
    'tick after first',
    'tick after second',
    'pending 0',
    'uncaught: in the drain',
    'uncaught: in the poller',
    'uncaught: in sendfile',
    'caught: under the lock',
    'locked again: yes',
  ]);
  t.is(code, 0);
});
