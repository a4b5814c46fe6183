// The head of a handed-over request (full and partial): what reaches http.Server's parser, and what must not.
import { readdirSync, readFileSync } from 'node:fs';
import { MessageDecoder, ScgiHeaders } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { requestHead } from '#runtime/request-head.js';
import { CONFORMANCE_FOLDER } from '../../conformance/vectors.js';
import { readByNode } from '../../helpers/node-reading.js';
import { type Entries, requestEntries, standIn } from '../../helpers/stand-in-handover.js';

const read = (head: string, body = '') => readByNode(Buffer.from(head + body, 'latin1'));

/** The request's fields as [lower-case name, value], from SCGI headers as they are. */
function fieldsOf(headers: ScgiHeaders): [string, string][] {
  const fields: [string, string][] = [];
  for (const [name, value] of headers.entries()) {
    if (name.startsWith('HTTP_')) fields.push([name.slice(5).toLowerCase().replaceAll('_', '-'), value]);
  }
  return fields;
}

const pairs = (rawHeaders: readonly string[]): [string, string][] =>
  rawHeaders.flatMap((name, at) =>
    at % 2 === 0 ? [[name.toLowerCase(), rawHeaders[at + 1] as string]] : [],
  );

const captures = readdirSync(new URL('captures/', CONFORMANCE_FOLDER));

for (const name of captures.filter((file) => !file.startsWith('plain-'))) {
  test(`${name}: the parser reads the request nginx handed over, and nothing else`, async (t) => {
    const message = new MessageDecoder().push(readFileSync(new URL(`captures/${name}`, CONFORMANCE_FOLDER)));
    if (message === undefined) return t.fail('no whole message');
    const { headers } = message;
    const body = 'x'.repeat(Number(headers.get('HTTP_CONTENT_LENGTH') ?? 0));
    const { requests, error } = await read(requestHead({ kind: 'full', version: 0, headers }), body);
    t.is(error, undefined);
    t.is(requests.length, 1);
    const [request] = requests;
    t.is(request?.method, headers.get('REQUEST_METHOD') ?? '');
    t.is(request?.url, headers.get('REQUEST_URI') ?? '');
    t.is(request?.version, '1.1');
    t.deepEqual(pairs(request?.rawHeaders ?? []), fieldsOf(headers));
    t.is(request?.body, body);
    t.is(request?.upgraded, name.startsWith('websocket'));
  });
}

test('a cookie in two fields is one cookie for the handler', async (t) => {
  const entries = requestEntries(
    ['HTTP_COOKIE', 'a=1'],
    ['HTTP_COOKIE', 'b=2'],
    ['HTTP_X_A', '1'],
    ['HTTP_X_A', '2'],
  );
  const { requests } = await read(requestHead(standIn(entries)));
  t.is(requests[0]?.headers.cookie, 'a=1; b=2');
  t.is(requests[0]?.headers['x-a'], '1, 2');
});

test('the head is written in this form', (t) => {
  const entries: Entries = [
    ['REMOTE_ADDR', '192.0.2.1'],
    ['REQUEST_METHOD', 'POST'],
    ['REQUEST_URI', '/a%20b?x=1'],
    ['QUERY_STRING', 'x=1'],
    ['SERVER_PROTOCOL', 'HTTP/1.1'],
    ['HTTP_HOST', 'example.org'],
    ['HTTP_USER_AGENT', 'curl/8'],
    ['HTTP_X_EMPTY', ''],
    ['HTTP_CONTENT_LENGTH', '3'],
  ];
  t.is(
    requestHead(standIn(entries)),
    'POST /a%20b?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: curl/8\r\nX-Empty: \r\nContent-Length: 3\r\n\r\n',
  );
});

test('a Proxy field is dropped: CGI programs take HTTP_PROXY for their proxy (httpoxy)', (t) => {
  for (const kind of ['full', 'partial', 'relay'] as const) {
    const head = requestHead(standIn(requestEntries(['HTTP_PROXY', 'http://evil']), { kind }));
    t.notRegex(head, /proxy|evil/i, kind);
  }
});

const protocols: [title: string, version: 0 | 1, protocol: string | undefined, expected: string][] = [
  ['a version-1 sender says HTTP/1.0', 1, 'HTTP/1.0', 'HTTP/1.0'],
  ['a version-1 sender says HTTP/1.1', 1, 'HTTP/1.1', 'HTTP/1.1'],
  ['a version-1 sender says nothing', 1, undefined, 'HTTP/1.1'],
  ['the public module hands over HTTP/1.1 only', 0, undefined, 'HTTP/1.1'],
  ['an operator may have added SERVER_PROTOCOL to the public module', 0, 'HTTP/2.0', 'HTTP/1.1'],
];
for (const [title, version, protocol, expected] of protocols) {
  test(`the protocol: ${title}`, async (t) => {
    const more: Entries = protocol === undefined ? [] : [['SERVER_PROTOCOL', protocol]];
    const head = requestHead(standIn(requestEntries(...more), { version }));
    t.is(head.slice(0, head.indexOf('\r\n')), `GET / ${expected}`);
    const { requests } = await read(head);
    t.is(`HTTP/${requests[0]?.version}`, expected);
  });
}

test('any other protocol of a version-1 sender is refused', (t) => {
  for (const protocol of ['HTTP/2.0', 'HTTP/1.2', 'http/1.1', 'HTTP/1.1\r\nX: y', 'HTTP/0.9', '']) {
    const handover = standIn(requestEntries(['SERVER_PROTOCOL', protocol]));
    t.is(
      t.throws(() => requestHead(handover), { name: 'RuntimeError' })?.message.includes('505'),
      true,
      protocol,
    );
    t.throws(() => requestHead(handover), { code: 'BKR_ERR_HTTP_VERSION' });
  }
});

const refused: [title: string, entries: Entries][] = [
  [
    'both Content-Length and Transfer-Encoding',
    requestEntries(['HTTP_CONTENT_LENGTH', '3'], ['HTTP_TRANSFER_ENCODING', 'chunked']),
  ],
  ['no method', [['REQUEST_URI', '/']]],
  ['no target', [['REQUEST_METHOD', 'GET']]],
  [
    'an empty target',
    [
      ['REQUEST_METHOD', 'GET'],
      ['REQUEST_URI', ''],
    ],
  ],
  ...['', 'G ET', 'GET\r\n', 'GET\t', 'G(T)', 'GÉT'].map((method): [string, Entries] => [
    `the method ${JSON.stringify(method)}`,
    [
      ['REQUEST_METHOD', method],
      ['REQUEST_URI', '/'],
    ],
  ]),
  ...['/ ', '/a b', '/\r\nX: y', '/\n', '/\t', '/\x7f', '/\x01'].map((target): [string, Entries] => [
    `the target ${JSON.stringify(target)}`,
    [
      ['REQUEST_METHOD', 'GET'],
      ['REQUEST_URI', target],
    ],
  ]),
  ...['a\r\nEvil: 1', 'a\rEvil: 1', 'a\nEvil: 1', '\r\n', '\n', 'a\r\n\r\nGET /evil HTTP/1.1'].map(
    (value): [string, Entries] => [
      `the field value ${JSON.stringify(value)}`,
      requestEntries(['HTTP_X', value]),
    ],
  ),
  // The form of RFC 3875: a second spelling of a name would be a second field that no rule for the first one sees.
  ...[
    'HTTP_',
    'HTTP_X Y',
    'HTTP_X:',
    'HTTP_X\r\nY',
    'HTTP_É',
    'HTTP_Host',
    'HTTP_host',
    'HTTP_Proxy',
    'HTTP_Transfer_Encoding',
    'HTTP_CONTENT-LENGTH',
  ].map((name): [string, Entries] => [
    `the header name ${JSON.stringify(name)}`,
    requestEntries([name, '1']),
  ]),
];
for (const kind of ['full', 'relay'] as const) {
  for (const [title, entries] of refused) {
    if (kind === 'relay' && title.startsWith('both')) continue;
    test(`${kind}: refused with 400: ${title}`, (t) => {
      t.throws(() => requestHead(standIn(entries, { kind })), {
        name: 'RuntimeError',
        code: 'BKR_ERR_REQUEST_HEAD',
        message: /400$/,
      });
    });
  }
}

test('NUL, which no decoded header contains, is refused all the same', (t) => {
  const pairs = ['REQUEST_METHOD', 'GET', 'REQUEST_URI', '/', 'HTTP_X', 'a\0b'];
  const headers = new ScgiHeaders(pairs);
  t.throws(() => requestHead({ kind: 'full', version: 1, headers }), { code: 'BKR_ERR_REQUEST_HEAD' });
});

test('an error names the header and never its value', (t) => {
  const error = t.throws(() => requestHead(standIn(requestEntries(['HTTP_AUTHORIZATION', 'secret\r\n']))));
  t.true(error?.message.includes('HTTP_AUTHORIZATION'));
  t.false(error?.message.includes('secret'));
});

test('names without the prefix never become fields', async (t) => {
  const entries = requestEntries(
    ['X_USER', '1'],
    ['https_X', '1'],
    ['HTTP', '1'],
    ['HTTPS', 'on'],
    ['__proto__', '1'],
  );
  const { requests } = await read(requestHead(standIn(entries)));
  t.deepEqual(requests[0]?.rawHeaders, ['Host', 'example.org']);
});

test('bytes from 0x80 on keep their value', async (t) => {
  const high = Array.from({ length: 128 }, (_, at) => String.fromCharCode(at + 128)).join('');
  const { requests } = await read(requestHead(standIn(requestEntries(['HTTP_X_NAME', `<${high}>`]))));
  t.is(requests[0]?.headers['x-name'], `<${high}>`);
  // In a target as well, as nginx passes them; whether http.Server takes them is its parser's decision.
  const head = requestHead(
    standIn([
      ['REQUEST_METHOD', 'GET'],
      ['REQUEST_URI', `/${high}`],
    ]),
  );
  t.is(head, `GET /${high} HTTP/1.1\r\n\r\n`);
});

test('names that hostile clients make up do not keep their messages in memory', async (t) => {
  const { setFlagsFromString } = await import('node:v8');
  const { runInNewContext } = await import('node:vm');
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const filler: Entries = [1, 2, 3].map((at) => [`HTTP_FILLER_${at}`, 'x'.repeat(60_000)]);
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let at = 0; at < 200; at++) {
    requestHead(standIn(requestEntries([`HTTP_X_MADE_UP_BY_A_CLIENT_${at}`, '1'], ...filler)));
  }
  collect();
  // Kept whole, the messages are 36 MB.
  t.true(process.memoryUsage().heapUsed - before < 8_000_000);
});
