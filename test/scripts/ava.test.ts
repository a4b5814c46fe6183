import test from 'ava';
import { runAva } from './run-ava.js';

const withoutEnd = `
import test from 'ava';
test('ends', (t) => t.pass());
test('hangs', () => new Promise(() => { setInterval(() => {}, 1000); }));
`;

const withoutStack = `
import test from 'ava';
test('fails without a stack', () => { throw Object.assign(new Error('read ECONNRESET'), { stack: 'Error: read ECONNRESET' }); });
test('passes', (t) => t.pass());
`;

const outcomes = (tap: string) =>
  [...tap.matchAll(/^(?:not )?ok \d+ - .*|^1\.\.\d+$/gm)].map(([line]) => line);

test('a test that hangs is named, and the report is complete', (t) => {
  const { stdout, stderr, status } = runAva(withoutEnd, ['--tap', '--timeout=2s']);
  t.deepEqual(outcomes(stdout), ['ok 1 - ends', 'not ok 2 - hangs', '1..2'], stderr);
  t.regex(stdout, /no test has ended for 2000 ms/);
  t.is(status, 1);
});

test('an error without a stack is reported like any other', (t) => {
  const { stdout, stderr, status } = runAva(withoutStack, ['--tap']);
  t.deepEqual(outcomes(stdout), ['not ok 1 - fails without a stack', 'ok 2 - passes', '1..2'], stderr);
  t.regex(stdout, /read ECONNRESET/);
  t.is(status, 1);
});
