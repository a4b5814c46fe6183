// The head of a relayed request: the web server has done the framing, the connection is its own, and CONTENT_LENGTH alone counts.
import { readdirSync, readFileSync } from 'node:fs';
import { MessageDecoder } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { requestHead } from '#runtime/request-head.js';
import { CONFORMANCE_FOLDER } from '../../conformance/vectors.js';
import { readByNode } from '../../helpers/node-reading.js';
import { type Entries, requestEntries, standIn } from '../../helpers/stand-in-handover.js';

const relayed = (entries: Entries, body = ''): string =>
  requestHead(standIn(entries, { kind: 'relay', earlyBytes: Buffer.from(body, 'latin1') }));

const read = (head: string, body = '') => readByNode(Buffer.from(head + body, 'latin1'));

const captures: Record<string, Record<string, string>> = {
  'plain-get.scgi': {},
  'plain-post.scgi': { 'content-length': '10', 'content-type': 'application/x-www-form-urlencoded' },
  'plain-chunked.scgi': { 'content-length': '10', 'content-type': 'application/x-www-form-urlencoded' },
  'plain-duplicate-cookies.scgi': { cookie: 'a=1; b=2' },
};

test('every plain capture is looked at here', (t) => {
  const files = readdirSync(new URL('captures/', CONFORMANCE_FOLDER)).filter((file) =>
    file.startsWith('plain-'),
  );
  t.deepEqual(files.sort(), Object.keys(captures).sort());
});

for (const [name, fields] of Object.entries(captures)) {
  test(`${name}: the parser reads the request, its body, and nothing else`, async (t) => {
    const message = new MessageDecoder().push(readFileSync(new URL(`captures/${name}`, CONFORMANCE_FOLDER)));
    if (message === undefined) return t.fail('no whole message');
    const { headers, contentLength, rest } = message;
    const { requests, error } = await read(
      requestHead({ kind: 'relay', headers, contentLength }),
      rest.toString('latin1'),
    );
    t.is(error, undefined);
    t.is(requests.length, 1);
    const [request] = requests;
    t.is(request?.method, headers.get('REQUEST_METHOD') ?? '');
    t.is(request?.url, headers.get('REQUEST_URI') ?? '');
    t.is(request?.body, rest.toString('latin1'));
    t.true(request?.isWhole);
    const common = { host: '127.0.0.1', 'user-agent': 'curl/7.88.1', accept: '*/*', connection: 'close' };
    t.deepEqual({ ...request?.headers }, { ...common, ...fields });
  });
}

test('what belongs to the connection of client and web server is dropped', (t) => {
  const hopByHop: Entries = [
    ['HTTP_TRANSFER_ENCODING', 'chunked'],
    ['HTTP_CONTENT_LENGTH', '99'],
    ['HTTP_EXPECT', '100-continue'],
    ['HTTP_CONNECTION', 'Upgrade, keep-alive'],
    ['HTTP_UPGRADE', 'h2c'],
    ['HTTP_KEEP_ALIVE', 'timeout=5'],
    ['HTTP_TE', 'trailers'],
    ['HTTP_PROXY', 'http://evil'],
  ];
  t.is(
    relayed(requestEntries(...hopByHop), 'four'),
    'GET / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\nConnection: close\r\n\r\n',
  );
});

const framing: [method: string, body: string, expected: string | undefined][] = [
  ['GET', '', undefined],
  ['DELETE', '', undefined],
  ['HEAD', '', undefined],
  ['GET', 'a body', '6'],
  ['DELETE', 'x', '1'],
  ['POST', '', '0'],
  ['PUT', '', '0'],
  ['PATCH', '', '0'],
  ['POST', 'name=value', '10'],
];
for (const [method, body, expected] of framing) {
  test(`${method} with ${body.length} bytes says Content-Length: ${expected ?? 'nothing'}`, async (t) => {
    const [, ...rest] = requestEntries();
    const { requests, error } = await read(relayed([['REQUEST_METHOD', method], ...rest], body), body);
    t.is(error, undefined);
    t.is(requests.length, 1);
    t.is(requests[0]?.headers['content-length'], expected);
    t.is(requests[0]?.body, body);
  });
}

const contentTypes: [title: string, entries: Entries, expected: string | undefined][] = [
  ['empty is none', [['CONTENT_TYPE', '']], undefined],
  ['of CGI', [['CONTENT_TYPE', 'text/a']], 'text/a'],
  [
    'of CGI beside the field',
    [
      ['CONTENT_TYPE', 'text/a'],
      ['HTTP_CONTENT_TYPE', 'text/b'],
    ],
    'text/a',
  ],
  ['only as a field', [['HTTP_CONTENT_TYPE', 'text/b']], 'text/b'],
];
for (const [title, entries, expected] of contentTypes) {
  test(`the content type: ${title}`, async (t) => {
    const { requests } = await read(relayed(requestEntries(...entries)));
    t.is(requests[0]?.headers['content-type'], expected);
    t.is(
      requests[0]?.rawHeaders.filter((name) => /^content-type$/i.test(name)).length,
      expected === undefined ? 0 : 1,
    );
  });
}

test('a line break in CONTENT_TYPE is refused', (t) => {
  t.throws(() => relayed(requestEntries(['CONTENT_TYPE', 'a\r\nEvil: 1'])), {
    code: 'BKR_ERR_REQUEST_HEAD',
    message: /CONTENT_TYPE/,
  });
});

test('without Host it was HTTP/1.0, whatever the web server speaks to us', async (t) => {
  const entries: Entries = [
    ['REQUEST_METHOD', 'GET'],
    ['REQUEST_URI', '/'],
    ['SERVER_PROTOCOL', 'HTTP/1.1'],
  ];
  t.is(relayed(entries), 'GET / HTTP/1.0\r\nConnection: close\r\n\r\n');
});

test('HTTP/2 clients come by relay: their protocol is no obstacle', (t) => {
  t.regex(relayed(requestEntries(['SERVER_PROTOCOL', 'HTTP/2.0'])), /^GET \/ HTTP\/1\.1\r\n/);
});

test('a WebSocket upgrade cannot be relayed: 426', (t) => {
  for (const value of ['websocket', 'WebSocket']) {
    const entries = requestEntries(['HTTP_UPGRADE', value], ['HTTP_CONNECTION', 'Upgrade']);
    t.throws(() => relayed(entries), { code: 'BKR_ERR_RELAYED_UPGRADE', message: /426/ });
  }
});

test('an FD_PASS_VERSION in plain SCGI changes nothing', (t) => {
  t.is(relayed(requestEntries(['FD_PASS_VERSION', '1'])), relayed(requestEntries()));
});
