import test from 'ava';
import { wireLimits } from '#scgi/limits.js';
import { encodeNetstring, NetstringDecoder } from '#scgi/netstring.js';

const bytes = (literal: string): Buffer => Buffer.from(literal, 'latin1');

test('a payload is framed with its length in bytes', (t) => {
  t.deepEqual(encodeNetstring(bytes('')), bytes('0:,'));
  t.deepEqual(encodeNetstring(bytes('hello')), bytes('5:hello,'));
  t.deepEqual(encodeNetstring(new Uint8Array([0, 255])), bytes('2:\0\xff,'));
  t.deepEqual(encodeNetstring(bytes('0123456789')), bytes('10:0123456789,'));
});

test('a whole netstring gives its payload and what follows', (t) => {
  const decoder = new NetstringDecoder();
  t.is(decoder.payload, undefined);
  t.deepEqual(decoder.push(bytes('5:hello,rest')), bytes('rest'));
  t.deepEqual(decoder.payload, bytes('hello'));
});

test('nothing behind the comma is an empty rest, not an unfinished netstring', (t) => {
  t.deepEqual(new NetstringDecoder().push(bytes('5:hello,')), bytes(''));
});

test('an empty netstring is a netstring', (t) => {
  const decoder = new NetstringDecoder();
  t.deepEqual(decoder.push(bytes('0:,x')), bytes('x'));
  t.deepEqual(decoder.payload, bytes(''));
});

test('until the comma there is neither a rest nor a payload', (t) => {
  const decoder = new NetstringDecoder();
  for (const chunk of ['1', '0', ':', '01234', '', '56789']) {
    t.is(decoder.push(bytes(chunk)), undefined);
    t.is(decoder.payload, undefined);
  }
  t.deepEqual(decoder.push(bytes(',')), bytes(''));
  t.deepEqual(decoder.payload, bytes('0123456789'));
});

test('a payload that comes in one chunk is a slice of that chunk', (t) => {
  const chunk = bytes('5:hello,rest');
  const decoder = new NetstringDecoder();
  const rest = decoder.push(chunk);
  t.is(decoder.payload?.buffer, chunk.buffer);
  t.is(decoder.payload?.byteOffset, chunk.byteOffset + 2);
  t.is(rest?.byteOffset, chunk.byteOffset + 8);
});

test('a payload that comes in parts no longer depends on the chunks', (t) => {
  const first = bytes('5:hel');
  const decoder = new NetstringDecoder();
  decoder.push(first);
  first.fill(0);
  decoder.push(bytes('lo,'));
  t.deepEqual(decoder.payload, bytes('hello'));
});

test('parts of all sizes come together in order', (t) => {
  const payload = Buffer.from(Array.from({ length: 10_000 }, (_, at) => at % 251));
  const framed = encodeNetstring(payload);
  for (const size of [1, 2, 3, 1023, 1024, 1025, 4096, 9999]) {
    const decoder = new NetstringDecoder();
    for (let at = 0; at < framed.length; at += size) decoder.push(framed.subarray(at, at + size));
    t.true(decoder.payload?.equals(payload), `chunks of ${size}`);
  }
});

test('an error is final: every later call throws the same one', (t) => {
  const decoder = new NetstringDecoder();
  const first = t.throws(() => decoder.push(bytes('x')), { code: 'SCGI_ERR_NETSTRING_LENGTH' });
  t.is(
    t.throws(() => decoder.push(bytes('5:hello,'))),
    first,
  );
  t.is(decoder.payload, undefined);
});

test("after completion a further call is the caller's mistake, and the payload stays", (t) => {
  const decoder = new NetstringDecoder();
  decoder.push(bytes('5:hello,'));
  t.throws(() => decoder.push(bytes('5:hello,')), { code: 'SCGI_ERR_DECODER_DONE' });
  t.throws(() => decoder.push(bytes('')), { code: 'SCGI_ERR_DECODER_DONE' });
  t.deepEqual(decoder.payload, bytes('hello'));
});

test('a length above the limit is refused before any payload', (t) => {
  const decoder = new NetstringDecoder(wireLimits({ maxMessageBytes: 1000 }));
  t.is(decoder.push(bytes('100')), undefined);
  const error = t.throws(() => decoder.push(bytes('1')), { code: 'SCGI_ERR_MESSAGE_TOO_LARGE' });
  t.is(error?.message, 'The message announces more than 1000 bytes of SCGI headers (maxMessageBytes)');
});

test('four million bytes one by one are no more than linear work', (t) => {
  // With a copy of everything at each byte this would be some 8 * 10^12 copied bytes: it would not end within the time limit.
  const size = 4_000_000;
  const decoder = new NetstringDecoder(wireLimits({ maxMessageBytes: size }));
  decoder.push(bytes(`${size}:`));
  const one = bytes('x');
  for (let count = 0; count < size; count++) decoder.push(one);
  t.deepEqual(decoder.push(bytes(',')), bytes(''));
  t.is(decoder.payload?.length, size);
});

test('an announced length takes no memory before its bytes come', (t) => {
  const limits = wireLimits({ maxMessageBytes: 200_000_000, maxLengthDigits: 9 });
  const before = process.memoryUsage().arrayBuffers;
  const decoders = Array.from({ length: 50 }, () => {
    const decoder = new NetstringDecoder(limits);
    decoder.push(bytes('200000000:x'));
    return decoder;
  });
  const grown = process.memoryUsage().arrayBuffers - before;
  t.true(grown < 10_000_000, `${grown} bytes for ${decoders.length} decoders`);
});
