import test from 'ava';
import fc from 'fast-check';
import { wireLimits } from '#scgi/limits.js';
import { decodeScgiHeaders, encodeScgiHeaders, SINGLETON_NAMES } from '#scgi/scgi-headers.js';

const bytes = (literal: string): Buffer => Buffer.from(literal, 'latin1');
const START = 'CONTENT_LENGTH\x000\0SCGI\x001\0';

test('headers are found by name and listed in order', (t) => {
  const headers = decodeScgiHeaders(bytes(`${START}REQUEST_METHOD\0GET\0QUERY_STRING\0\0`));
  t.is(headers.size, 4);
  t.is(headers.get('REQUEST_METHOD'), 'GET');
  t.is(headers.get('QUERY_STRING'), '');
  t.true(headers.has('QUERY_STRING'));
  t.deepEqual(
    [...headers.entries()],
    [
      ['CONTENT_LENGTH', '0'],
      ['SCGI', '1'],
      ['REQUEST_METHOD', 'GET'],
      ['QUERY_STRING', ''],
    ],
  );
});

test('a name that did not come is undefined, an empty list, and not there', (t) => {
  const headers = decodeScgiHeaders(bytes(START));
  for (const name of [
    'HTTP_HOST',
    'scgi',
    '',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    '0',
  ]) {
    t.is(headers.get(name), undefined, name);
    t.deepEqual(headers.getAll(name), [], name);
    t.false(headers.has(name), name);
  }
});

test('a repeated name keeps its values in order, and get gives the first', (t) => {
  const headers = decodeScgiHeaders(bytes(`${START}A\0one\0B\0\0A\0two\0A\0\0`));
  t.is(headers.get('A'), 'one');
  t.deepEqual(headers.getAll('A'), ['one', 'two', '']);
  t.is(headers.size, 6);
});

for (const others of [10, 46, 47, 500]) {
  test(`among ${others} other headers a repeated name is found as well, and a missing one is not`, (t) => {
    const rest = Array.from({ length: others }, (_, nth) => `B_${nth}\0A\0`).join('');
    const limits = wireLimits();
    const headers = decodeScgiHeaders(bytes(`${START}A\0one\0${rest}A\0two\0`), limits);
    t.is(headers.get('A'), 'one');
    t.deepEqual(headers.getAll('A'), ['one', 'two']);
    t.is(headers.get('SCGI'), '1');
    t.true(headers.has(`B_${others - 1}`));
    for (const name of [`B_${others}`, '__proto__', 'one', '']) {
      t.is(headers.get(name), undefined);
      t.deepEqual(headers.getAll(name), []);
      t.false(headers.has(name));
    }
  });
}

test('a singleton is told from a name that only looks like it, in every message anew', (t) => {
  for (const name of SINGLETON_NAMES) {
    const alike = [...name].with(name.length >> 1, 'x').join('');
    const once = name === 'CONTENT_LENGTH' || name === 'SCGI' ? '' : `${name}\0v\0`;
    const payload = bytes(`${START}${once}${`${alike}\0v\0`.repeat(3)}`);
    for (let nth = 0; nth < 2; nth++) t.is(decodeScgiHeaders(payload).getAll(alike).length, 3);
  }
});

test('a value that equals a name is no name', (t) => {
  const headers = decodeScgiHeaders(bytes(`${START}A\0B\0C\0A\0`));
  t.false(headers.has('B'));
  t.deepEqual(headers.getAll('A'), ['B']);
});

test('every byte of a value becomes one character of the same number', (t) => {
  const all = Buffer.from(Array.from({ length: 255 }, (_, at) => at + 1));
  const headers = decodeScgiHeaders(Buffer.concat([bytes(`${START}ALL\0`), all, bytes('\0')]));
  t.deepEqual(bytes(headers.get('ALL') ?? ''), all);
});

test('the headers do not change when the payload buffer does', (t) => {
  const payload = bytes(`${START}A\0one\0`);
  const headers = decodeScgiHeaders(payload);
  payload.fill(0);
  t.is(headers.get('A'), 'one');
});

for (const name of SINGLETON_NAMES) {
  test(`${name} may occur only once`, (t) => {
    const twice = name === 'CONTENT_LENGTH' || name === 'SCGI' ? `${name}\0x\0` : `${name}\0x\0`.repeat(2);
    const error = t.throws(() => decodeScgiHeaders(bytes(START + twice)), {
      code: 'SCGI_ERR_DUPLICATE_HEADER',
    });
    t.true(error?.message.includes(` ${name} `));
  });
}

test('no error message contains a name or a value that came over the wire', (t) => {
  const secret = 'Bearer-s3cret';
  for (const payload of [
    `${START}\0${secret}\0`,
    `${START}${secret}\0${secret}`,
    `${START}${secret}\0${secret.repeat(10)}\0`,
    `${START}${secret.repeat(10)}\0${secret}\0`,
    `${START}REMOTE_USER\0${secret}\0REMOTE_USER\0${secret}\0`,
    `${secret}\0${secret}\0`,
    `CONTENT_LENGTH\0${secret}\0`,
    `${START}${`${secret}\0\0`.repeat(20)}`,
  ]) {
    const limits = wireLimits({ maxHeaderValueBytes: 100, maxHeaders: 10 });
    const error = t.throws(() => decodeScgiHeaders(bytes(payload), limits));
    t.false(error?.message.includes('s3cret'), error?.message);
  }
});

test('an error tells the number of the header that is wrong', (t) => {
  const malformed = t.throws(() => decodeScgiHeaders(bytes(`${START}A\0b\0\0c\0`)));
  t.regex(malformed?.message ?? '', /header number 4 /);
  const tooLong = t.throws(() =>
    decodeScgiHeaders(bytes(`${START}A\0${'x'.repeat(21)}\0`), wireLimits({ maxHeaderValueBytes: 20 })),
  );
  t.is(tooLong?.message, 'The value of SCGI header number 3 is longer than 20 bytes (maxHeaderValueBytes)');
});

test('the default limits hold: 512 headers, 64 KiB for a value', (t) => {
  t.is(decodeScgiHeaders(bytes(START + 'A\0\0'.repeat(510))).size, 512);
  t.throws(() => decodeScgiHeaders(bytes(START + 'A\0\0'.repeat(511))), {
    code: 'SCGI_ERR_TOO_MANY_HEADERS',
  });
  const longest = 'x'.repeat(65_536);
  t.is(decodeScgiHeaders(bytes(`${START}A\0${longest}\0`)).get('A'), longest);
  t.throws(() => decodeScgiHeaders(bytes(`${START}A\0${longest}x\0`)), { code: 'SCGI_ERR_HEADER_TOO_LARGE' });
});

test('a message is judged by its own names, whatever the messages before it had in their places', (t) => {
  // Few names, so that they repeat, move, and take the place of one that is too long to be remembered.
  const long = 'L'.repeat(100);
  const name = fc.constantFrom('HTTPS', 'REMOTE_ADDR', 'HTTP_HOST', 'A', 'HTTP_HOS', 'HTTP_HOSTS', long, '');
  const message = fc.array(name, { maxLength: 5 });
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(message, { maxLength: 6 }), (messages) => {
        for (const names of messages) {
          const expected = verdict(names);
          const payload = bytes(START + names.map((each) => `${each}\0x\0`).join(''));
          let code: string | undefined;
          try {
            const decoded = [...decodeScgiHeaders(payload).entries()].map(([each]) => each);
            if (decoded.join() !== ['CONTENT_LENGTH', 'SCGI', ...names].join()) code = 'other names';
          } catch (error) {
            code = (error as { code: string }).code;
          }
          if (code !== expected) throw new Error(`${names}: ${code} instead of ${expected}`);
        }
      }),
      { numRuns: 2000 },
    ),
  );
});

/** By the rules, with nothing remembered. */
function verdict(names: readonly string[]): string | undefined {
  const seen = new Set<string>();
  for (const each of names) {
    if (each === '') return 'SCGI_ERR_HEADERS_MALFORMED';
    if (SINGLETON_NAMES.has(each) && seen.has(each)) return 'SCGI_ERR_DUPLICATE_HEADER';
    seen.add(each);
  }
  return undefined;
}

test('headers are encoded in the order given, one byte for each character', (t) => {
  const encoded = encodeScgiHeaders([
    ['B', 'two'],
    ['A', ''],
    ['B', '\xfc\xff\x01'],
  ]);
  t.deepEqual(encoded, bytes('B\0two\0A\0\0B\0\xfc\xff\x01\0'));
  t.deepEqual(encodeScgiHeaders([]), bytes(''));
});

test('the entries of decoded headers can be encoded as they are', (t) => {
  const payload = bytes(`${START}A\0\xff\0A\0\0`);
  t.deepEqual(encodeScgiHeaders(decodeScgiHeaders(payload).entries()), payload);
});

for (const [title, name, value, code] of [
  ['an empty name', '', 'x', 'SCGI_ERR_ENCODE_NAME'],
  ['NUL in a name', 'A\0B', 'x', 'SCGI_ERR_ENCODE_NAME'],
  ['a name beyond latin1', '\u0100', 'x', 'SCGI_ERR_ENCODE_NAME'],
  ['NUL in a value, which would begin another header', 'A', 'x\0HTTPS\0on', 'SCGI_ERR_ENCODE_VALUE'],
  ['a value beyond latin1, which would lose its upper bits', 'A', '\u0100', 'SCGI_ERR_ENCODE_VALUE'],
  ['an astral character in a value', 'A', '\u{1f600}', 'SCGI_ERR_ENCODE_VALUE'],
] as const) {
  test(`the encoder refuses ${title}`, (t) => {
    const error = t.throws(() => encodeScgiHeaders([[name, value]]), { code });
    t.is((error as { scope?: string }).scope, 'call');
  });
}
