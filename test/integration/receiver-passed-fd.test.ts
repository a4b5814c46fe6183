// The owner of a passed descriptor: exactly one way out of it, and none that loses or closes twice.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PassedFd } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors, isOpen } from '../helpers/descriptors.js';

const native = loadNative();
guardDescriptors(test);

// Serial: a number that was closed must not be somebody else's a moment later.
const open = (): number => openSync('/dev/null', 'r');

test.serial('close() closes once; then the number is nobody’s', (t) => {
  const owner = new PassedFd(open());
  const { fd } = owner;
  t.false(owner.closed);
  owner.close();
  t.false(isOpen(fd));
  t.true(owner.closed);
  const next = open();
  t.is(next, fd);
  owner.close();
  owner[Symbol.dispose]();
  t.true(isOpen(next));
  closeSync(next);
  t.throws(() => owner.fd, { code: 'FDPASS_ERR_FD_TAKEN' });
  t.throws(() => owner.take(), { code: 'FDPASS_ERR_FD_TAKEN' });
  t.throws(() => owner.dup(), { code: 'FDPASS_ERR_FD_TAKEN' });
});

test.serial('take() gives the descriptor away: close() then does nothing', (t) => {
  const owner = new PassedFd(open());
  const fd = owner.take();
  t.true(owner.closed);
  owner.close();
  t.true(isOpen(fd));
  t.throws(() => owner.take(), { code: 'FDPASS_ERR_FD_TAKEN' });
  closeSync(fd);
});

test.serial('dup() makes a second owner of the same file, which outlives the first', (t) => {
  const owner = new PassedFd(open());
  const second = owner.dup();
  t.not(second.fd, owner.fd);
  owner.close();
  t.true(isOpen(second.fd));
  second.close();
  t.false(isOpen(second.closed ? -1 : second.fd));
});

test.serial('using closes at the end of the block, however it ends', (t) => {
  let fd = -1;
  t.throws(() => {
    using owner = new PassedFd(open());
    fd = owner.fd;
    throw new Error('on the way');
  });
  t.false(isOpen(fd));
  let taken = -1;
  {
    using owner = new PassedFd(open());
    taken = owner.take();
  }
  t.true(isOpen(taken));
  closeSync(taken);
});

test.serial('a number that is not open has no owner', (t) => {
  const before = native.registeredFdCount();
  t.throws(() => new PassedFd(1_000_000), { code: 'EBADF' });
  t.is(native.registeredFdCount(), before);
});

test('one that was forgotten is closed when it is garbage collected, with a warning; others are left alone', async (t) => {
  const script = fileURLToPath(new URL('../helpers/forgetful.js', import.meta.url));
  const child = fork(script, { execArgv: ['--expose-gc'], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const [report] = await once(child, 'message');
  await once(child, 'exit');
  t.deepEqual(report, {
    codes: ['FDPASS_WARN_FD_LEAK'],
    isNamed: true,
    forgotten: false,
    taken: true,
    closedAndReused: true,
    kept: true,
  });
});

test('what a listener to handovers forgot is closed in the same way; what it took, kept or closed is left alone', async (t) => {
  const script = fileURLToPath(new URL('../helpers/forgetful-listener.js', import.meta.url));
  const child = fork(script, { execArgv: ['--expose-gc'], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const [report] = await once(child, 'message');
  await once(child, 'exit');
  t.deepEqual(report, {
    answers: true,
    codes: ['FDPASS_WARN_FD_LEAK', 'FDPASS_WARN_FD_LEAK'],
    open: [false, true, true, false, false],
    registered: 1,
  });
});
