import test from 'ava';
import { wireLimits } from '#scgi/limits.js';
import { encodeMessage, MessageDecoder } from '#scgi/message.js';

const bytes = (literal: string): Buffer => Buffer.from(literal, 'latin1');
const FD_PASS = '32:CONTENT_LENGTH\x000\0SCGI\x001+fd_pass\0,';
const EARLY_3 = '32:CONTENT_LENGTH\x003\0SCGI\x001+fd_pass\0,';
const PLAIN_10 = '25:CONTENT_LENGTH\x0010\0SCGI\x001\0,';

test('a message without early bytes is complete with its comma', (t) => {
  const decoder = new MessageDecoder();
  t.is(decoder.push(bytes(FD_PASS.slice(0, -1))), undefined);
  const message = decoder.push(bytes(','));
  t.like(message, { dialect: 'fd_pass', version: 0, ktls: 'none', contentLength: 0 });
  t.deepEqual(message?.earlyBytes, bytes(''));
  t.deepEqual(message?.rest, bytes(''));
});

test('early bytes are waited for, and what follows them is the rest', (t) => {
  const decoder = new MessageDecoder();
  t.is(decoder.push(bytes(EARLY_3)), undefined);
  t.is(decoder.push(bytes('a')), undefined);
  t.is(decoder.push(bytes('')), undefined);
  const message = decoder.push(bytes('bcdef'));
  t.deepEqual(message?.earlyBytes, bytes('abc'));
  t.deepEqual(message?.rest, bytes('def'));
});

test('a plain message is complete before its body, whose first bytes are the rest', (t) => {
  const message = new MessageDecoder().push(bytes(`${PLAIN_10}name`));
  t.like(message, { dialect: 'plain', version: 0, ktls: 'none', contentLength: 10 });
  t.deepEqual(message?.earlyBytes, bytes(''));
  t.deepEqual(message?.rest, bytes('name'));
});

test('what comes in one chunk is not copied', (t) => {
  const chunk = bytes(`${EARLY_3}abcdef`);
  const message = new MessageDecoder().push(chunk);
  t.is(message?.earlyBytes.buffer, chunk.buffer);
  t.is(message?.earlyBytes.byteOffset, chunk.byteOffset + EARLY_3.length);
  t.is(message?.rest.buffer, chunk.buffer);
  t.is(message?.rest.byteOffset, chunk.byteOffset + EARLY_3.length + 3);
});

test('early bytes in one chunk of their own are not copied either', (t) => {
  const decoder = new MessageDecoder();
  decoder.push(bytes(EARLY_3));
  const chunk = bytes('abc');
  t.is(decoder.push(chunk)?.earlyBytes.byteOffset, chunk.byteOffset);
});

test('no early bytes hold no chunk in memory', (t) => {
  const chunk = Buffer.from(bytes(`${PLAIN_10}name`));
  t.not(new MessageDecoder().push(chunk)?.earlyBytes.buffer, chunk.buffer);
});

test('bytesReceived counts every byte, also those of the rest and those of an error', (t) => {
  const decoder = new MessageDecoder();
  t.is(decoder.bytesReceived, 0);
  decoder.push(bytes(''));
  t.is(decoder.bytesReceived, 0);
  decoder.push(bytes('32:CON'));
  t.is(decoder.bytesReceived, 6);
  decoder.push(bytes(`${FD_PASS.slice(6)}xyz`));
  t.is(decoder.bytesReceived, FD_PASS.length + 3);

  const failing = new MessageDecoder();
  t.throws(() => failing.push(bytes('GET / HTTP/1.1')));
  t.is(failing.bytesReceived, 14);
});

test("after completion push is the caller's mistake and counts nothing", (t) => {
  const decoder = new MessageDecoder();
  decoder.push(bytes(FD_PASS));
  for (const literal of ['', FD_PASS]) {
    const error = t.throws(() => decoder.push(bytes(literal)), { code: 'SCGI_ERR_DECODER_DONE' });
    t.is((error as { scope?: string }).scope, 'call');
  }
  t.is(decoder.bytesReceived, FD_PASS.length);
});

for (const [stage, literal, code] of [
  ['the netstring', '05:', 'SCGI_ERR_NETSTRING_LENGTH'],
  ['the headers', '4:\0\0\0\0,', 'SCGI_ERR_HEADERS_MALFORMED'],
  ['the values', '24:CONTENT_LENGTH\x000\0SCGI\x002\0,', 'SCGI_ERR_DIALECT'],
] as const) {
  test(`an error of ${stage} is final`, (t) => {
    const decoder = new MessageDecoder();
    const first = t.throws(() => decoder.push(bytes(literal)), { code });
    t.is((first as { scope?: string }).scope, 'connection');
    t.is(
      t.throws(() => decoder.push(bytes(FD_PASS))),
      first,
    );
    t.is(
      t.throws(() => decoder.push(bytes(''))),
      first,
    );
  });
}

test('decoders do not share anything', (t) => {
  const [one, other] = [new MessageDecoder(), new MessageDecoder()];
  one.push(bytes(EARLY_3));
  other.push(bytes(EARLY_3));
  one.push(bytes('ab'));
  t.deepEqual(other.push(bytes('xyz'))?.earlyBytes, bytes('xyz'));
  t.deepEqual(one.push(bytes('c'))?.earlyBytes, bytes('abc'));
});

test('two million early bytes one by one are no more than linear work', (t) => {
  const size = 2_000_000;
  const decoder = new MessageDecoder(wireLimits({ maxEarlyBytes: size }));
  decoder.push(bytes(`38:CONTENT_LENGTH\0${size}\0SCGI\x001+fd_pass\0,`));
  const one = bytes('x');
  for (let count = 1; count < size; count++) decoder.push(one);
  t.is(decoder.push(one)?.earlyBytes.length, size);
});

test('the encoder puts CONTENT_LENGTH first, SCGI second, then the headers as given', (t) => {
  t.deepEqual(encodeMessage({ headers: [] }), bytes(FD_PASS));
  t.deepEqual(
    encodeMessage({
      headers: [
        ['FD_PASS_VERSION', '1'],
        ['A', ''],
      ],
      earlyBytes: bytes('a\0\xff'),
    }),
    bytes('53:CONTENT_LENGTH\x003\0SCGI\x001+fd_pass\0FD_PASS_VERSION\x001\0A\0\0,a\0\xff'),
  );
});

test('the encoder speaks the plain dialect, with the body behind', (t) => {
  t.deepEqual(
    encodeMessage({ dialect: 'plain', headers: [], earlyBytes: bytes('name=value') }),
    bytes(`${PLAIN_10}name=value`),
  );
});

test('the headers to encode may come from a generator', (t) => {
  function* headers(): Generator<[string, string]> {
    yield ['HTTP_COOKIE', 'a=1'];
    yield ['HTTP_COOKIE', 'b=2'];
  }
  const message = new MessageDecoder().push(encodeMessage({ headers: headers() }));
  t.deepEqual(message?.headers.getAll('HTTP_COOKIE'), ['a=1', 'b=2']);
});

for (const [title, headers, code] of [
  ['CONTENT_LENGTH', [['CONTENT_LENGTH', '5']], 'SCGI_ERR_ENCODE_RESERVED'],
  ['SCGI', [['SCGI', '1']], 'SCGI_ERR_ENCODE_RESERVED'],
  [
    'a second FD_PASS_VERSION, which every receiver would refuse',
    [
      ['FD_PASS_VERSION', '1'],
      ['FD_PASS_VERSION', '1'],
    ],
    'SCGI_ERR_ENCODE_DUPLICATE',
  ],
  ['an empty name', [['', '1']], 'SCGI_ERR_ENCODE_NAME'],
  ['NUL in a value', [['A', '\0']], 'SCGI_ERR_ENCODE_VALUE'],
] as [string, [string, string][], string][]) {
  test(`encodeMessage refuses ${title}`, (t) => {
    t.throws(() => encodeMessage({ headers }), { code });
  });
}
