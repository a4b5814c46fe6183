// Descriptor 0 is a descriptor like any other, in every role.
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { Child } from './children/run.js';

guardDescriptors(test);

test('0 listens, connects, is passed, taken, polled, detached and closed', async (t) => {
  const child = new Child('fd-zero.js', [], 'exec "$@" <&-');
  const { code, lines } = await child.ended;
  t.deepEqual(lines, [
    'listening 0',
    'socketpair 0 true',
    'write 5 peek 5',
    'facts true 5 unix',
    'polled 1 0',
    'read 5',
    'placeholder 0',
    'passed 0 1 1',
    'taken 0 0',
    'detached 0 1',
    'listener true',
    'closed EBADF',
  ]);
  t.is(code, 0);
});
