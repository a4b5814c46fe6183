// Whatever is answered without a parser, http.Server's own parser must have read the same way, as one request with nothing behind it:
// two readings of one head are what request smuggling is made of. Time-boxed; FUZZ_SEED=<seed> repeats a run, FUZZ_MS sets the box.
import { createServer, type IncomingMessage, METHODS, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { HandoverSocket } from '#runtime/handover-socket.js';
import { leanExchange } from '#runtime/lean-exchange.js';
import { type LeanHead, leanHead, parseLeanHead } from '#runtime/lean-head.js';
import { requestHead } from '#runtime/request-head.js';
import { SINGLETON_NAMES } from '#scgi/scgi-headers.js';
import { type Entries, scgiHeaders, standIn } from '../helpers/stand-in-handover.js';

const timeBoxMs = Number(process.env.FUZZ_MS ?? 3000);

/** What a request is for its handler. */
type Reading = Record<string, unknown>;

/** Everything of the two objects that a handler may look at and that is no function and no object of its connection. */
function readingOf(request: IncomingMessage, response: ServerResponse): Reading {
  const { method, url, httpVersion, httpVersionMajor, httpVersionMinor, rawHeaders, headers } = request;
  const { upgrade, trailers, rawTrailers } = request as IncomingMessage & {
    upgrade: unknown;
  };
  return {
    ...{ method, url, httpVersion, httpVersionMajor, httpVersionMinor, rawHeaders, upgrade },
    headers: Object.entries(headers),
    distinct: distinctOf(request),
    ...{ trailers, rawTrailers, shouldKeepAlive: response.shouldKeepAlive },
  };
}

/** Some releases of Node.js throw for a field named `__proto__`. */
function distinctOf(request: IncomingMessage): unknown {
  try {
    return Object.entries(request.headersDistinct);
  } catch (error) {
    return (error as Error).message;
  }
}

interface Heard {
  readonly readings: Reading[];
  /** Of the parser, or another request than an ordinary one. */
  refusal: string | undefined;
}

/** As a HandoverServer has it by default. */
const node = createServer({ maxHeaderSize: 64 * 1024 });
const heard = new Map<unknown, Heard>();
node.on('request', (request, response) => {
  heard.get(request.socket)?.readings.push(readingOf(request, response));
});
for (const event of ['upgrade', 'connect', 'checkContinue', 'checkExpectation'] as const) {
  node.on(event, ({ socket }: IncomingMessage) => {
    const what = heard.get(socket);
    if (what !== undefined) what.refusal ??= event;
  });
}
node.on('clientError', (error: NodeJS.ErrnoException, socket) => {
  const what = heard.get(socket);
  if (what !== undefined) what.refusal ??= error.code ?? error.message;
});

const MARKER = 'GET /marker HTTP/1.1\r\nHost: marker\r\n\r\n';

/** @returns the one request that http.Server makes of `text`, or why it is not exactly that */
function readByNode(text: string): Reading | string {
  let answered = '';
  const socket = Object.assign(
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        answered += chunk.toString('latin1');
        done();
      },
    }),
    { setTimeout() {}, setNoDelay() {}, setKeepAlive() {} },
  );
  const what: Heard = { readings: [], refusal: undefined };
  heard.set(socket, what);
  node.emit('connection', socket);
  socket.emit('data', Buffer.from(text, 'latin1'));
  const count = what.readings.length;
  const early = what.refusal ?? answered;
  // Something left over would become a part of it.
  socket.emit('data', Buffer.from(MARKER, 'latin1'));
  heard.delete(socket);
  socket.destroy();
  if (early !== '') return early;
  const [reading, marker] = what.readings;
  if (reading === undefined || count !== 1) return `${count} requests`;
  if (reading.shouldKeepAlive === false) return reading;
  return marker?.url === '/marker' && what.refusal === undefined
    ? reading
    : `the marker is lost: ${what.refusal}`;
}

/** The request that a handler gets without a parser. */
function readingWithout(head: LeanHead): Reading {
  const socket = new Socket() as unknown as HandoverSocket;
  const answerer = { socket, isAnswering: true, answer() {} };
  const { request, response } = leanExchange(answerer, head, 5000);
  return readingOf(request, response as unknown as ServerResponse);
}

function compare(head: LeanHead, text: string): void {
  const meant = readByNode(text);
  if (typeof meant === 'string') throw new Error(`http.Server says: ${meant}`);
  const seen = JSON.stringify(readingWithout(head));
  if (seen !== JSON.stringify(meant)) throw new Error(`${seen} instead of ${JSON.stringify(meant)}`);
}

async function holds<T extends unknown[]>(t: ExecutionContext, property: fc.IProperty<T>): Promise<void> {
  const seed = Number(process.env.FUZZ_SEED ?? Math.trunc(Math.random() * 2 ** 31));
  const details = fc.check(property, {
    seed,
    numRuns: 10_000_000,
    interruptAfterTimeLimit: timeBoxMs,
    includeErrorInReport: true,
  }) as fc.RunDetails<T>;
  t.log(`seed ${seed}, ${details.numRuns} runs`);
  t.false(details.failed, fc.defaultReportMessage(details));
}

const latin1 = (min: number, max: number): fc.Arbitrary<string> =>
  fc.integer({ min, max }).map((code) => String.fromCharCode(code));
const text = (characters: fc.Arbitrary<string>, maxLength: number): fc.Arbitrary<string> =>
  fc.array(characters, { maxLength }).map((each) => each.join(''));
const rarely = (
  percent: number,
  rare: fc.Arbitrary<string>,
  usual: fc.Arbitrary<string>,
): fc.Arbitrary<string> =>
  fc.oneof({ weight: percent, arbitrary: rare }, { weight: 100 - percent, arbitrary: usual });

/** What readings differ about. */
const dangerous = fc.constantFrom(
  ...[
    '\r\n',
    '\n',
    '\r',
    '\0',
    ' ',
    '\t',
    '\x0b',
    '\x0c',
    '\x7f',
    '\x85',
    '\xa0',
    '\xff',
    ':',
    ' :',
    ': ',
    ';',
    ',',
    '#',
    '?',
    '"',
  ],
  ...[
    '\r\n\r\n',
    '\n\n',
    '\r\r\n',
    '\r\n ',
    '\r\n\t',
    '\r\n:',
    ' HTTP/1.1',
    ' HTTP/1.0',
    ' HTTP/1.1\r\n',
    'GET ',
    '/',
    '//',
    '\\',
  ],
  '\r\nHost: other',
  '\r\nContent-Length: 5',
  '\r\nTransfer-Encoding: chunked',
  '\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n',
  '0\r\n\r\n',
);
const anyByte = latin1(0, 255);

const method = rarely(
  10,
  fc.oneof(fc.constantFrom(...METHODS, 'get', 'GETX', 'GE', '', 'PRI', 'G\0T'), text(anyByte, 4)),
  fc.constantFrom('GET', 'HEAD'),
);
const target = rarely(
  10,
  fc.oneof(
    fc.constantFrom(
      '*',
      'http://other/',
      'other:443',
      '//other/',
      '/a#b',
      '/?#',
      '/a b',
      '/caf\xe9',
      '',
      '/%00',
      '/\\..',
      '/?a?b',
      '/"<>^`{|}',
    ),
    fc.tuple(text(latin1(0x21, 0x7e), 8), dangerous, text(anyByte, 8)).map((parts) => `/${parts.join('')}`),
  ),
  text(
    latin1(0x21, 0x7e).filter((character) => character !== '#'),
    20,
  ).map((path) => `/${path}`),
);
const version = rarely(
  4,
  fc.constantFrom(
    'HTTP/1.0',
    'HTTP/2.0',
    'http/1.1',
    'HTTP/1.1 ',
    ' HTTP/1.1',
    'HTTP/1.10',
    'HTTP/01.1',
    '',
    'RTSP/1.1',
  ),
  fc.constant('HTTP/1.1'),
);
const end = rarely(2, fc.constantFrom('\n', '\r', '\r\r\n', '\n\r', ' \r\n', ''), fc.constant('\r\n'));

const SPECIAL = [
  ...[
    'Host',
    'host',
    'HOST',
    'Connection',
    'connection',
    'Keep-Alive',
    'Cookie',
    'TE',
    'Trailer',
    'Via',
    'Set-Cookie',
    'Referer',
    'X-A',
    'Age',
  ],
  ...[
    'Proxy',
    'Proxy-Connection',
    'Upgrade',
    'Expect',
    'Content-Length',
    'Content-length',
    'Transfer-Encoding',
    'HTTP2-Settings',
    '__proto__',
    'constructor',
  ],
];
const name = rarely(
  10,
  fc.oneof(
    text(anyByte, 5),
    fc.tuple(fc.constantFrom(...SPECIAL), dangerous).map((parts) => parts.join('')),
    fc.tuple(dangerous, fc.constantFrom(...SPECIAL)).map((parts) => parts.join('')),
  ),
  rarely(
    70,
    fc.constantFrom(
      'Accept',
      'Cookie',
      'Referer',
      'User-Agent',
      'X-A',
      '__proto__',
      'If-None-Match',
      'set-cookie',
      'connection',
      'Keep-Alive',
      "!#$%&'*+-.^_`|~0",
    ),
    fc.constantFrom(...SPECIAL),
  ),
);
const separator = rarely(
  6,
  fc.constantFrom(' :', '\t:', '', ':\t', ':  ', ': \t', ':\r\n ', ':\0', '::'),
  fc.constantFrom(': ', ':'),
);
const value = rarely(
  10,
  fc.oneof(
    fc.tuple(text(latin1(0x20, 0x7e), 6), dangerous, text(anyByte, 6)).map((parts) => parts.join('')),
    fc.constantFrom('x'.repeat(9000), 'x'.repeat(4000)),
  ),
  rarely(
    40,
    fc.constantFrom(
      'close',
      'Close',
      'keep-alive',
      'KEEP-ALIVE',
      'close, keep-alive',
      'upgrade',
      'Upgrade, close',
      'websocket',
      '100-continue',
      '0',
      '5',
      'chunked',
      'identity',
      '',
      'trailers',
      'a',
      '\x80\xff',
    ),
    text(fc.oneof(latin1(0x21, 0x7e), latin1(0x80, 0xff)), 30),
  ),
);

const field = fc.tuple(name, separator, value, end).map((parts) => parts.join(''));
const host = rarely(
  10,
  fc.constantFrom('', 'Host: a\r\nHost: b\r\n', 'host:\r\n', 'Host : a\r\n', 'Host: a\r\n b\r\n'),
  fc.constantFrom('Host: example.test\r\n', 'host: a\r\n'),
);
const behind = rarely(
  5,
  fc.oneof(text(anyByte, 10), fc.constant(MARKER), fc.constantFrom('\r\n', '\n', 'x')),
  fc.constant(''),
);

const request = fc
  .tuple(
    method,
    rarely(3, text(fc.constantFrom(' ', '\t'), 3), fc.constant(' ')),
    target,
    rarely(3, fc.constantFrom('', '  ', '\t'), fc.constant(' ')),
    version,
    end,
    fc.array(field, { maxLength: 4 }),
    host,
    fc.array(field, { maxLength: 4 }),
    end,
    behind,
  )
  .map((parts) => parts.flat().join(''));

/** Something put in, taken out, or changed at a random place. */
const broken = fc
  .tuple(request, fc.nat(), fc.nat(4), fc.oneof(dangerous, anyByte, fc.constant('')))
  .map(([whole, place, gone, put]) => {
    const at = place % (whole.length + 1);
    return whole.slice(0, at) + put + whole.slice(at + gone);
  });

test.serial('what comes on a connection is one request, or goes to the parser', async (t) => {
  let yes = 0;
  let no = 0;
  const property = fc.property(fc.oneof(request, broken), (bytes) => {
    const head = parseLeanHead(bytes);
    if (head === undefined) return void no++;
    yes++;
    compare(head, bytes);
  });
  await holds(t, property);
  t.log(`${yes} without a parser, ${no} with it`);
  t.true(yes > 100 && no > 100, 'both happened often enough');
});

for (const [bytes, said] of Object.entries({
  'GET / HTTP/1.1\r\n\r\n': 'HTTP/1.1 400',
  'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n': undefined,
  'GET / HTTP/1.1\r\nHost : a\r\n\r\n': 'HPE_',
  'GET / HTTP/1.1\r\nHost: a\r\n': '0 requests',
  'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n': 'the marker is lost',
  'GET / HTTP/1.1\r\nHost: a\r\n\r\nG': 'the marker is lost',
  [MARKER + MARKER]: '2 requests',
  'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n': 'upgrade',
})) {
  test.serial(`this test sees what http.Server makes of ${JSON.stringify(bytes)}`, (t) => {
    const reading = readByNode(bytes);
    if (said === undefined) t.is(typeof reading, 'object');
    else t.true(typeof reading === 'string' && reading.startsWith(said), JSON.stringify(reading));
  });
}

test.serial('every single byte in every single place of a request is read as the parser reads it', (t) => {
  const whole = 'GET /a?b HTTP/1.1\r\nHost: a\r\nX-Y: z\r\nConnection: close\r\n\r\n';
  let yes = 0;
  for (let at = 0; at <= whole.length; at++) {
    for (let code = 0; code < 256; code++) {
      for (const gone of [0, 1]) {
        const bytes = whole.slice(0, at) + String.fromCharCode(code) + whole.slice(at + gone);
        const head = parseLeanHead(bytes);
        if (head === undefined) continue;
        yes++;
        t.notThrows(() => compare(head, bytes), JSON.stringify(bytes));
      }
    }
    for (const gone of [1, 2, 3, 4]) {
      const bytes = whole.slice(0, at) + whole.slice(at + gone);
      const head = parseLeanHead(bytes);
      if (head !== undefined) t.notThrows(() => compare(head, bytes), JSON.stringify(bytes));
    }
  }
  t.true(yes > 1000);
});

const scgiField = fc.tuple(
  rarely(
    15,
    fc.oneof(
      text(anyByte, 8).map((rest) => `HTTP_${rest}`),
      fc.constantFrom(
        'HTTP_',
        'HTTP_Host',
        'HTTP_X-Y',
        'HTTP___PROTO__',
        'https_X',
        'HTTP_PROXY',
        'HTTP_Proxy',
      ),
    ),
    fc.constantFrom(
      ...[
        'HTTP_HOST',
        'HTTP_CONNECTION',
        'HTTP_COOKIE',
        'HTTP_UPGRADE',
        'HTTP_EXPECT',
        'HTTP_TRANSFER_ENCODING',
        'HTTP_CONTENT_LENGTH',
        'HTTP_TE',
      ],
      ...[
        'HTTP_ACCEPT',
        'HTTP_X_A',
        'HTTP_USER_AGENT',
        'CONTENT_TYPE',
        'QUERY_STRING',
        'REQUEST_ID',
        'HTTP_KEEP_ALIVE',
        'HTTP_PROXY_CONNECTION',
      ],
    ),
  ),
  value,
);

/** Headers a decoder lets through: of a singleton only the first, and no NUL. */
function decodable(entries: Entries): Entries {
  const seen = new Set<string>();
  return entries.filter(([each, its]) => {
    const isSecond = SINGLETON_NAMES.has(each) && seen.has(each);
    seen.add(each);
    return (
      !isSecond &&
      each !== '' &&
      each !== 'CONTENT_LENGTH' &&
      each !== 'SCGI' &&
      !`${each}${its}`.includes('\0')
    );
  });
}

test.serial(
  'what comes in SCGI headers is the request that the parser reads in the head made of them',
  async (t) => {
    let yes = 0;
    let no = 0;
    const property = fc.property(
      method,
      target,
      fc.option(version, { nil: undefined, freq: 10 }),
      fc.array(scgiField, { maxLength: 4 }),
      rarely(10, fc.constant(''), fc.constant('example.test')),
      fc.array(scgiField, { maxLength: 3 }),
      (itsMethod, itsTarget, itsVersion, before, itsHost, after) => {
        const entries = decodable([
          ['REQUEST_METHOD', itsMethod],
          ['REQUEST_URI', itsTarget],
          ...(itsVersion === undefined ? [] : [['SERVER_PROTOCOL', itsVersion] as const]),
          ...before,
          ...(itsHost === '' ? [] : [['HTTP_HOST', itsHost] as const]),
          ...after,
        ]);
        const head = leanHead(scgiHeaders(entries));
        if (head === undefined) return void no++;
        yes++;
        compare(head, requestHead(standIn(entries)));
      },
    );
    await holds(t, property);
    t.log(`${yes} without a parser, ${no} with it`);
    t.true(yes > 100 && no > 100, 'both happened often enough');
  },
);

for (const [what, bytes] of Object.entries({
  'a plain request': 'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'no space behind the colon, an empty field': 'GET / HTTP/1.1\r\nHost:a\r\nX:\r\nY: \r\n\r\n',
  'HEAD, a query, close': 'HEAD /a/b?c=d HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n',
  'keep-alive, and close behind it':
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nconnection: close\r\n\r\n',
  'fields that repeat': `GET / HTTP/1.1\r\nHost: a\r\n${'Cookie: a=b\r\nX-A: 1\r\nAge: 2\r\nSet-Cookie: c\r\n'.repeat(3)}\r\n`,
  'names that objects have': 'GET / HTTP/1.1\r\nHost: a\r\n__proto__: x\r\nconstructor: y\r\n\r\n',
  '64 fields': `GET / HTTP/1.1\r\nHost: a\r\n${Array.from({ length: 63 }, (_, at) => `X-${at}: ${at}\r\n`).join('')}\r\n`,
  'bytes beyond ASCII in a value': 'GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xff\xa0\r\n\r\n',
})) {
  test.serial(`without a parser: ${what}`, (t) => {
    const head = parseLeanHead(bytes);
    if (head === undefined) return t.fail('it went to the parser');
    t.notThrows(() => compare(head, bytes));
  });
}

for (const [what, bytes] of Object.entries({
  nothing: '',
  'an end only': '\r\n\r\n',
  'a request that is not whole': 'GET / HTTP/1.1\r\nHost: a\r\n',
  'a request and a byte': 'GET / HTTP/1.1\r\nHost: a\r\n\r\nx',
  'two requests': 'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'an empty line before it': '\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'no Host': 'GET / HTTP/1.1\r\nX: a\r\n\r\n',
  'two Hosts': 'GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n',
  'a folded field': 'GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n',
  'a field that begins with a space': 'GET / HTTP/1.1\r\nHost: a\r\n X: a\r\n\r\n',
  'a space before the colon': 'GET / HTTP/1.1\r\nHost : a\r\n\r\n',
  'a bare LF': 'GET / HTTP/1.1\nHost: a\r\n\r\n',
  'a bare LF in a value': 'GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n',
  'a bare CR in a value': 'GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n',
  'a NUL in a value': 'GET / HTTP/1.1\r\nHost: a\0\r\n\r\n',
  'a length': 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n',
  'a body that is chunked': 'GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
  'an upgrade': 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'an expectation': 'GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n',
  'a list of connection options': 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\n\r\n',
  'another method': 'OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n',
  'absolute form': 'GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n',
  'a fragment': 'GET /#a HTTP/1.1\r\nHost: a\r\n\r\n',
  'another version': 'GET / HTTP/1.0\r\nHost: a\r\n\r\n',
  '65 fields': `GET / HTTP/1.1\r\nHost: a\r\n${'X: 1\r\n'.repeat(64)}\r\n`,
  'more than 8 KiB': `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(8192)}\r\n\r\n`,
})) {
  test.serial(`for the parser: ${what}`, (t) => {
    t.is(parseLeanHead(bytes), undefined);
  });
}
