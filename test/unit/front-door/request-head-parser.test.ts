import test from 'ava';
import { type RequestHead, RequestHeadParser } from '#runtime/front-door/request-head-parser.js';

const LIMITS = { maxHeadBytes: 1024, maxFields: 8 };

type Result = RequestHead | string | undefined;

/** What a parser says of these bytes when they arrive in pieces that end at `cuts`. */
function parseInPieces(bytes: Buffer, cuts: readonly number[], limits = LIMITS): Result {
  const parser = new RequestHeadParser(limits);
  try {
    for (const cut of [...cuts, bytes.length]) {
      const head = parser.parse(bytes.subarray(0, cut), cut);
      if (head !== undefined) return head;
    }
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

const parse = (text: string, limits = LIMITS): Result =>
  parseInPieces(Buffer.from(text, 'latin1'), [], limits);

const BAD = 'BKR_ERR_FRONT_DOOR_BAD_REQUEST';
const TLS = 'BKR_ERR_FRONT_DOOR_TLS';
const LONG_TARGET = 'BKR_ERR_FRONT_DOOR_URI_TOO_LONG';
const LARGE = 'BKR_ERR_FRONT_DOOR_HEAD_TOO_LARGE';
const UNIMPLEMENTED = 'BKR_ERR_FRONT_DOOR_NOT_IMPLEMENTED';
const VERSION = 'BKR_ERR_FRONT_DOOR_VERSION';

interface Accepted {
  name: string;
  bytes: string;
  head: RequestHead;
}

const ACCEPTED: Accepted[] = [
  {
    name: 'a request without a body',
    bytes: 'GET /a/b?c=d&e HTTP/1.1\r\nHost: example.org:8080\r\nAccept: */*\r\n\r\n',
    head: {
      method: 'GET',
      target: '/a/b?c=d&e',
      protocol: 'HTTP/1.1',
      authority: 'example.org:8080',
      fields: ['Host', 'example.org:8080', 'Accept', '*/*'],
      headBytes: 64,
    },
  },
  {
    name: 'a head whose body follows in the same bytes',
    bytes: 'POST /f HTTP/1.1\r\nhost:a\r\ncontent-length:4\r\n\r\nx\x00\ny',
    head: {
      method: 'POST',
      target: '/f',
      protocol: 'HTTP/1.1',
      authority: 'a',
      fields: ['host', 'a', 'content-length', '4'],
      headBytes: 46,
    },
  },
  {
    name: 'empty lines before the request line',
    bytes: '\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
    head: {
      method: 'GET',
      target: '/',
      protocol: 'HTTP/1.1',
      authority: 'a',
      fields: ['Host', 'a'],
      headBytes: 31,
    },
  },
  {
    name: 'HTTP/1.0 without a Host',
    bytes: 'GET / HTTP/1.0\r\n\r\n',
    head: { method: 'GET', target: '/', protocol: 'HTTP/1.0', authority: '', fields: [], headBytes: 18 },
  },
  {
    name: 'an absolute-form target that names the same host as Host',
    bytes: 'GET HTTP://Example.org/x?y HTTP/1.1\r\nHost: example.ORG:80\r\n\r\n',
    head: {
      method: 'GET',
      target: 'HTTP://Example.org/x?y',
      protocol: 'HTTP/1.1',
      authority: 'example.ORG:80',
      fields: ['Host', 'example.ORG:80'],
      headBytes: 61,
    },
  },
  {
    name: 'an absolute-form target in HTTP/1.0, whose host counts without a Host',
    bytes: 'GET http://[2001:db8::1]:81?q HTTP/1.0\r\n\r\n',
    head: {
      method: 'GET',
      target: 'http://[2001:db8::1]:81?q',
      protocol: 'HTTP/1.0',
      authority: '[2001:db8::1]:81',
      fields: [],
      headBytes: 42,
    },
  },
  {
    name: 'OPTIONS for the whole server',
    bytes: 'OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n',
    head: {
      method: 'OPTIONS',
      target: '*',
      protocol: 'HTTP/1.1',
      authority: '',
      fields: ['Host', ''],
      headBytes: 29,
    },
  },
  {
    name: 'what browsers send in a query though RFC 3986 forbids it, and a method nobody knows',
    bytes: 'M-SEARCH /?a|b={"c":[1]}^`\\<> HTTP/1.1\r\nHost: a\r\n\r\n',
    head: {
      method: 'M-SEARCH',
      target: '/?a|b={"c":[1]}^`\\<>',
      protocol: 'HTTP/1.1',
      authority: 'a',
      fields: ['Host', 'a'],
      headBytes: 51,
    },
  },
  {
    name: 'values with tabs, bytes above ASCII, nothing at all, and whitespace around them',
    bytes: "GET / HTTP/1.1\r\nHost: a\r\nA: \t b\tc\xe4 \t\r\nB:\r\n!#$%&'*+-.^_`|~9: :\r\nb: again\r\n\r\n",
    head: {
      method: 'GET',
      target: '/',
      protocol: 'HTTP/1.1',
      authority: 'a',
      fields: ['Host', 'a', 'A', 'b\tc\xe4', 'B', '', "!#$%&'*+-.^_`|~9", ':', 'b', 'again'],
      headBytes: 75,
    },
  },
  {
    name: 'a chunked body',
    bytes: 'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n',
    head: {
      method: 'PUT',
      target: '/',
      protocol: 'HTTP/1.1',
      authority: 'a',
      fields: ['Host', 'a', 'Transfer-Encoding', 'Chunked'],
      headBytes: 55,
    },
  },
];

const withField = (line: string): string => `POST / HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n`;
const withHost = (value: string): string => `GET / HTTP/1.1\r\nHost: ${value}\r\n\r\n`;
const withTarget = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`;

const REFUSED: [name: string, code: string, bytes: string][] = [
  // The request line
  ['a TLS ClientHello', TLS, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['the preface of HTTP/2', VERSION, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['HTTP/0.9', BAD, 'GET /\r\n'],
  ['HTTP/1.2', VERSION, 'GET / HTTP/1.2\r\n\r\n'],
  ['a version in lower case', BAD, 'GET / http/1.1\r\n\r\n'],
  ['a version of two digits', BAD, 'GET / HTTP/1.10\r\n\r\n'],
  ['a banner of another protocol', BAD, 'SSH-2.0-OpenSSH_9.6\r\n'],
  ['two spaces in the request line', BAD, 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a tab in the request line', BAD, 'GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a space after the version', BAD, 'GET / HTTP/1.1 \r\nHost: a\r\n\r\n'],
  ['a space before the method', BAD, ' GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a method that is no token', BAD, 'GE(T / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a method of 33 characters', UNIMPLEMENTED, `${'A'.repeat(33)} / HTTP/1.1\r\nHost: a\r\n\r\n`],
  ['CONNECT', UNIMPLEMENTED, 'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n'],
  // The target
  ['a target that is no path', BAD, withTarget('index.html')],
  ['"*" for another method than OPTIONS', BAD, withTarget('*')],
  ['a target with a fragment', BAD, withTarget('/a#b')],
  ['a target with a byte above ASCII', BAD, withTarget('/\xe4')],
  ['a target with DEL', BAD, withTarget('/\x7f')],
  ['a target with NUL', BAD, withTarget('/\0')],
  ['a https target', BAD, withTarget('https://a/')],
  ['a target without a host', BAD, withTarget('http:///x')],
  ['a target with a port only', BAD, withTarget('http://:80/x')],
  ['a target with a user name', BAD, withTarget('http://u@a/')],
  ['a target and a Host that differ', BAD, withTarget('http://b/')],
  ['a target and a Host with different ports', BAD, withTarget('http://a:81/')],
  // Lines
  ['a bare LF after the request line', BAD, 'GET / HTTP/1.1\nHost: a\r\n\r\n'],
  ['a bare LF after a field', BAD, 'GET / HTTP/1.1\r\nHost: a\n\r\n'],
  ['a bare LF instead of the last line', BAD, 'GET / HTTP/1.1\r\nHost: a\r\n\n'],
  ['a bare LF before the request line', BAD, '\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a bare CR in a value', BAD, withField('A: b\rc')],
  ['a bare CR at the end of a value', BAD, withField('A: b\r')],
  ['NUL in a value', BAD, withField('A: b\0c')],
  ['a control character in a value', BAD, withField('A: b\x01c')],
  ['DEL in a value', BAD, withField('A: \x7f')],
  ['a folded line', BAD, withField('A: b\r\n c')],
  ['a line of whitespace', BAD, withField(' ')],
  ['whitespace before the first field', BAD, 'GET / HTTP/1.1\r\n Host: a\r\n\r\n'],
  ['whitespace before the colon', BAD, withField('A : b')],
  ['a field without a colon', BAD, withField('A')],
  ['a field without a name', BAD, withField(': b')],
  ['a name that is no token', BAD, withField('A(: b')],
  ['a name with a byte above ASCII', BAD, withField('\xc4: b')],
  // Host
  ['no Host in HTTP/1.1', BAD, 'GET / HTTP/1.1\r\nA: b\r\n\r\n'],
  ['two Hosts', BAD, withField('hOST: a')],
  ['two Hosts in HTTP/1.0', BAD, 'GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n'],
  ['a Host with a path', BAD, withHost('a/b')],
  ['a Host with a user name', BAD, withHost('u@a')],
  ['a Host with a space', BAD, withHost('a b')],
  ['a list of Hosts with a space', BAD, withHost('a, b')],
  ['a Host with a port that is no number', BAD, withHost('a:b')],
  ['an IPv6 Host without brackets', BAD, withHost('::1')],
  ['a Host with half an escape', BAD, withHost('%4')],
  // Framing
  ['Content-Length twice with different values', BAD, withField('Content-Length: 1\r\nContent-Length: 2')],
  ['Content-Length twice with the same value', BAD, withField('Content-Length: 1\r\ncontent-length: 1')],
  ['a list in Content-Length', BAD, withField('Content-Length: 1, 1')],
  ['an empty Content-Length', BAD, withField('Content-Length:')],
  ['a signed Content-Length', BAD, withField('Content-Length: +1')],
  ['a hexadecimal Content-Length', BAD, withField('Content-Length: 0x1')],
  ['a Content-Length above 2^53', BAD, withField('Content-Length: 9007199254740992')],
  ['Content-Length and Transfer-Encoding', BAD, withField('Content-Length: 1\r\nTransfer-Encoding: chunked')],
  ['Transfer-Encoding and Content-Length', BAD, withField('Transfer-Encoding: chunked\r\nContent-Length: 1')],
  ['Transfer-Encoding twice', BAD, withField('Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked')],
  ['Transfer-Encoding in HTTP/1.0', BAD, 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['a coding that is not chunked', BAD, withField('Transfer-Encoding: gzip')],
  ['chunked before another coding', BAD, withField('Transfer-Encoding: chunked, gzip')],
  ['chunked twice', BAD, withField('Transfer-Encoding: chunked, chunked')],
  ['chunked with a parameter', BAD, withField('Transfer-Encoding: chunked;a=b')],
  ['an empty Transfer-Encoding', BAD, withField('Transfer-Encoding:')],
  ['something hidden around chunked', BAD, withField('Transfer-Encoding: \x0bchunked')],
  ['a coding before chunked', UNIMPLEMENTED, withField('Transfer-Encoding: gzip , chunked')],
  // Limits
  ['a request line past the limit', LONG_TARGET, `GET /${'a'.repeat(1024)}`],
  ['fields past the limit', LARGE, withField(`A: ${'a'.repeat(1024)}`)],
  ['one byte past the limit', LARGE, withField(`A: ${'a'.repeat(1025 - withField('A: ').length)}`)],
  [
    'more fields than allowed',
    LARGE,
    withField(Array.from({ length: 8 }, (_, n) => `A${n}: b`).join('\r\n')),
  ],
  ['empty lines past the limit', LONG_TARGET, '\r\n'.repeat(512)],
];

for (const { name, bytes, head } of ACCEPTED) {
  test(`accepts ${name}`, (t) => {
    t.deepEqual(parse(bytes), head);
  });
}

for (const [name, code, bytes] of REFUSED) {
  test(`refuses ${name}`, (t) => {
    t.is(parse(bytes), code);
  });
}

test('accepts a head of exactly the limit', (t) => {
  const bytes = withField(`A: ${'a'.repeat(1024 - withField('A: ').length)}`);
  const head = parse(bytes) as RequestHead;
  t.is(head.headBytes, 1024);
});

test('accepts as many fields as allowed', (t) => {
  const head = parse(withField(Array.from({ length: 7 }, (_, n) => `A${n}: b`).join('\r\n'))) as RequestHead;
  t.is(head.fields.length, 16);
});

const EVERY_INPUT = [
  ...ACCEPTED.map(({ name, bytes }) => ({ name, bytes: Buffer.from(bytes, 'latin1') })),
  ...REFUSED.map(([name, , bytes]) => ({ name, bytes: Buffer.from(bytes, 'latin1') })),
];

test('says the same at every split point', (t) => {
  for (const { name, bytes } of EVERY_INPUT) {
    const whole = parseInPieces(bytes, []);
    for (let cut = 0; cut < bytes.length; cut++)
      t.deepEqual(parseInPieces(bytes, [cut]), whole, `${name}, cut at ${cut}`);
  }
});

test('says the same when the bytes arrive one by one', (t) => {
  for (const { name, bytes } of EVERY_INPUT) {
    const everywhere = Array.from(bytes.keys());
    t.deepEqual(parseInPieces(bytes, everywhere), parseInPieces(bytes, []), name);
  }
});

test('wants more of every true prefix of a head', (t) => {
  for (const { name, bytes, head } of ACCEPTED) {
    for (let length = 0; length < head.headBytes; length++) {
      t.is(parse(bytes.slice(0, length)), undefined, `${name}, ${length} bytes`);
    }
  }
});

test('reads no further than `length` in the buffer it is given', (t) => {
  const bytes = Buffer.from('GET / HTTP/1.0\r\n\r\n');
  t.is(new RequestHeadParser(LIMITS).parse(bytes, bytes.length - 1), undefined);
});

test('a message never repeats what the client sent', (t) => {
  const parser = new RequestHeadParser(LIMITS);
  const bytes = Buffer.from(withField('Content-Length: secret'));
  const error = t.throws(() => parser.parse(bytes, bytes.length));
  t.false(error.message.includes('secret'));
});
