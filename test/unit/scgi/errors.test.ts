import { readFileSync } from 'node:fs';
import test from 'ava';
import { ERRORS, WireError, type WireErrorCode } from '#scgi/errors.js';
import { SINGLETON_NAMES } from '#scgi/scgi-headers.js';

const docs = readFileSync(new URL('../../../../docs/errors.md', import.meta.url), 'utf8');

function section(name: string): string {
  const [, text] = new RegExp(`<!-- ${name} -->(.*)<!-- /${name} -->`, 's').exec(docs) ?? [];
  if (text === undefined) throw new Error(`docs/errors.md has no section ${name}`);
  return text;
}

test('docs/errors.md lists the headers that may occur once', (t) => {
  const documented = [...section('singleton-names').matchAll(/`(\w+)`/g)].map(([, name]) => name);
  t.deepEqual(documented, [...SINGLETON_NAMES]);
});

test('an error carries code, scope and a message with the limit in it', (t) => {
  const error = new WireError('SCGI_ERR_TOO_MANY_HEADERS', 512);
  t.true(error instanceof Error);
  t.is(error.code, 'SCGI_ERR_TOO_MANY_HEADERS');
  t.is(error.scope, 'connection');
  t.is(error.name, 'WireError');
  t.is(error.message, 'The message has more than 512 SCGI headers (maxHeaders)');
  t.false('cause' in error);
  t.true(error.stack?.startsWith('WireError: The message has'));
});

test('the options are told from the arguments of the message', (t) => {
  const cause = new Error('recvmsg');
  t.is(new WireError('FDPASS_ERR_RECEIVE', 104, { cause }).cause, cause);
  t.is(new WireError('FDPASS_ERR_NO_FD', { cause }).cause, cause);
  t.is(new WireError('FDPASS_ERR_NO_FD', { cause }).message, new WireError('FDPASS_ERR_NO_FD').message);
});

test('a system error is named, and its absence is not', (t) => {
  t.is(
    new WireError('FDPASS_ERR_RECEIVE', 104).message,
    'Receiving from the UNIX connection failed (ECONNRESET)',
  );
  t.is(new WireError('FDPASS_ERR_RECEIVE', 0).message, 'Receiving from the UNIX connection failed');
  t.regex(new WireError('FDPASS_ERR_ACK', 32).message, /\(EPIPE\)/);
});

test('every message is one sentence without a full stop at its end and without a hole', (t) => {
  for (const code of Object.keys(ERRORS) as WireErrorCode[]) {
    const build = ERRORS[code].message as (...args: (string | number)[]) => string;
    const message = build(...[104, 105, 106].slice(0, build.length));
    t.notRegex(message, /undefined|NaN|\.$/, code);
    t.regex(message, /^\S.{10,}\S$/, code);
  }
});
