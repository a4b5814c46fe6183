// The form of the runtime's errors. That the documents list them is test/docs/errors.test.ts.
import test from 'ava';
import { ERRORS, RuntimeError, type RuntimeErrorCode } from '#runtime/errors.js';

test('an error carries code, scope and a message with the limit in it', (t) => {
  const error = new RuntimeError('BKR_ERR_MIDDLEWARE_TIMEOUT', 250);
  t.true(error instanceof Error);
  t.is(error.code, 'BKR_ERR_MIDDLEWARE_TIMEOUT');
  t.is(error.scope, 'connection');
  t.is(error.name, 'RuntimeError');
  t.true(error.message.includes('250 ms (middlewareTimeoutMs)'));
  t.false('cause' in error);
  t.true(error.stack?.startsWith('RuntimeError: '));
});

test('the options are told from the arguments of the message', (t) => {
  const cause = new Error('accept');
  t.is(new RuntimeError('BKR_ERR_ADOPT', { cause }).cause, cause);
  t.is(new RuntimeError('BKR_ERR_APP', 'app.js', 'does not load', { cause }).cause, cause);
  t.is(new RuntimeError('BKR_ERR_APP', 'app.js', 'does not load').cause, undefined);
});

test('every message is one line without a full stop at its end and without a hole', (t) => {
  for (const code of Object.keys(ERRORS) as RuntimeErrorCode[]) {
    const build = ERRORS[code].message as (...args: (string | number)[]) => string;
    const message = build(...[104, 'bytes', 106, 'more'].slice(0, build.length));
    t.notRegex(message, /undefined|NaN|\.$|\n/, code);
    t.regex(message, /^\S.{10,}\S$/, code);
  }
});
