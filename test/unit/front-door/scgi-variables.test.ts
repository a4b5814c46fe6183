import { defaultWireLimits, encodeMessage, MessageDecoder } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { type RequestHead, RequestHeadParser } from '#runtime/front-door/request-head-parser.js';
import { OWN_VARIABLES, scgiVariables } from '#runtime/front-door/scgi-variables.js';

const CLIENT = { address: '192.0.2.7', port: 40000 };
const SERVER = { address: '198.51.100.1', port: 8080 };

function parse(text: string, maxFields = 100): RequestHead {
  const bytes = Buffer.from(text, 'latin1');
  return new RequestHeadParser({ maxHeadBytes: 32_768, maxFields }).parse(bytes, bytes.length) as RequestHead;
}

const variablesOf = (text: string): Map<string, string> =>
  new Map(scgiVariables(parse(text), CLIENT, SERVER));

test('come in the order of the wire: addresses, request, version 1, then the fields as they came', (t) => {
  const head = parse(
    'POST /p/a%20th?x=1&y HTTP/1.1\r\nUser-Agent: t\r\nhost: example.org:81\r\nX-Forwarded-For: a\r\nx-forwarded-for: b\r\nContent-Length: 3\r\n\r\n',
  );
  t.deepEqual(scgiVariables(head, CLIENT, SERVER), [
    ['REMOTE_ADDR', '192.0.2.7'],
    ['REMOTE_PORT', '40000'],
    ['REQUEST_METHOD', 'POST'],
    ['REQUEST_URI', '/p/a%20th?x=1&y'],
    ['SERVER_ADDR', '198.51.100.1'],
    ['SERVER_PORT', '8080'],
    ['QUERY_STRING', 'x=1&y'],
    ['SERVER_PROTOCOL', 'HTTP/1.1'],
    ['REQUEST_SCHEME', 'http'],
    ['SERVER_NAME', 'example.org'],
    ['HTTP_USER_AGENT', 't'],
    ['HTTP_HOST', 'example.org:81'],
    ['HTTP_X_FORWARDED_FOR', 'a'],
    ['HTTP_X_FORWARDED_FOR', 'b'],
    ['HTTP_CONTENT_LENGTH', '3'],
  ]);
});

test('say HTTP/1.0 of an HTTP/1.0 request', (t) => {
  t.is(variablesOf('GET / HTTP/1.0\r\n\r\n').get('SERVER_PROTOCOL'), 'HTTP/1.0');
});

test('never say HTTPS, whatever the client sends', (t) => {
  const variables = variablesOf('GET / HTTP/1.1\r\nHost: a\r\nHTTPS: on\r\nKTLS_RX: 1\r\nSCGI: 1\r\n\r\n');
  t.deepEqual(
    [...variables.keys()].filter((name) => /^(HTTPS|KTLS_RX|SCGI|HTTP_KTLS.*)$/.test(name)),
    [],
  );
  t.is(variables.get('HTTP_HTTPS'), 'on');
});

const NAMES: [line: string, variable: string | undefined][] = [
  ['X-Request-Id: v', 'HTTP_X_REQUEST_ID'],
  ['x-request-id: v', 'HTTP_X_REQUEST_ID'],
  ['sec-websocket-key: v', 'HTTP_SEC_WEBSOCKET_KEY'],
  ['Sec-WebSocket-Key: v', 'HTTP_SEC_WEBSOCKET_KEY'],
  ['a.b~c: v', 'HTTP_A.B~C'],
  ['X_User: v', undefined],
  ['_: v', undefined],
  ['Content_Length: v', undefined],
  ['Transfer_Encoding: v', undefined],
  ['Proxy: v', undefined],
  ['pROXY: v', undefined],
  ['Proxy-Authorization: v', 'HTTP_PROXY_AUTHORIZATION'],
];
for (const [line, variable] of NAMES) {
  test(`the field "${line}" ${variable === undefined ? 'is left out' : `becomes ${variable}`}`, (t) => {
    const own = variablesOf('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const added = [...variablesOf(`GET / HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n`)].filter(
      ([name]) => !own.has(name),
    );
    t.deepEqual(added, variable === undefined ? [] : [[variable, 'v']]);
  });
}

const SERVER_NAMES: [head: string, name: string][] = [
  ['GET / HTTP/1.1\r\nHost: Example.org\r\n\r\n', 'Example.org'],
  ['GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n', '[2001:db8::1]'],
  ['GET / HTTP/1.1\r\nHost:\r\n\r\n', '198.51.100.1'],
  ['GET / HTTP/1.0\r\n\r\n', '198.51.100.1'],
  ['GET http://c:81/ HTTP/1.0\r\n\r\n', 'c'],
];
for (const [head, name] of SERVER_NAMES) {
  test(`SERVER_NAME of ${JSON.stringify(head)} is ${name}`, (t) => {
    t.is(variablesOf(head).get('SERVER_NAME'), name);
  });
}

const ADDRESSES: [address: string, plain: string][] = [
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::ffff:0:1', '::ffff:0:1'],
  ['2001:db8::1', '2001:db8::1'],
  ['::1', '::1'],
];
for (const [address, plain] of ADDRESSES) {
  test(`an address ${address} is told as ${plain}`, (t) => {
    const head = parse('GET / HTTP/1.0\r\n\r\n');
    const variables = new Map(scgiVariables(head, { address, port: 1 }, { address, port: 2 }));
    t.is(variables.get('REMOTE_ADDR'), plain);
    t.is(variables.get('SERVER_ADDR'), plain);
    t.is(variables.get('SERVER_NAME'), plain);
  });
}

test('the largest accepted head fits into a message of the default limits', (t) => {
  const maxFields = defaultWireLimits.maxHeaders - OWN_VARIABLES;
  const fields = Array.from({ length: maxFields - 1 }, (_, n) => `a${n}: b\r\n`).join('');
  const head = parse(`GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`, maxFields);
  const headers = scgiVariables(head, CLIENT, SERVER);
  const message = new MessageDecoder().push(
    encodeMessage({ headers: [['FD_PASS_VERSION', '1'], ...headers] }),
  );
  t.is(message?.headers.size, defaultWireLimits.maxHeaders);
});
