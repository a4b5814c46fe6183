// Requests of every shape through a real nginx and our module: method, target, fields and ranges reach the application as the
// client sent them, and the answer reaches the client whole. Bodies are in bodies*.test.ts.
import { writeFileSync } from 'node:fs';
import { type IncomingMessage, METHODS, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { sendFile } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { answerDigest, bodyOf, digestOf } from '../helpers/body-digest.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { arrivedIn, openClient } from '../helpers/nginx-client.js';
import { needs } from '../helpers/requirements.js';
import { temporaryFolder } from '../helpers/serve.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const SCOPE = { keepAlive: { scope: '/' } };

/** nginx with room for large heads. */
function start(
  t: ExecutionContext,
  handler: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<BehindNginx> {
  return behindNginx(t, {
    handler,
    locations: (socket) => `
      large_client_header_buffers 4 32k;
      location / { fd_pass unix:${socket}; }`,
  });
}

/** Names in lower case, in order. */
const fieldsOf = ({ rawHeaders }: IncomingMessage): (readonly [name: string, value: string])[] =>
  rawHeaders.flatMap((name, at) =>
    at % 2 === 0 ? [[name.toLowerCase(), rawHeaders[at + 1] as string] as const] : [],
  );

/** Sends one GET and resolves with the fields the handler saw. */
async function fieldsThrough(t: ExecutionContext, fields: readonly string[]): Promise<unknown> {
  const front = await start(t, (request, response) => response.end(JSON.stringify(fieldsOf(request))));
  const client = await openClient(t, front);
  const head = ['GET / HTTP/1.1', 'Host: example.test:8080', ...fields, '', ''].join('\r\n');
  const { status, body } = await exchange(client, head);
  t.is(status, 200);
  return JSON.parse(Buffer.from(body, 'latin1').toString());
}

withNginx('a body that comes in one segment with the head arrives whole, and the log says how', async (t) => {
  const front = await behindNginx(t, { handler: answerDigest });
  const client = await openClient(t, front);
  const answer = await exchange(
    client,
    'POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 10\r\n\r\nname=value',
  );
  t.like(arrivedIn(answer), { handover: 'full', earlyBytes: 10, ...digestOf('name=value') });
  t.regex((await front.accessLog(1)).join('\n'), /^POST \/ 000 0 full "unix:.*app\.sock" \d\.\d{3}$/);
});

withNginx('every method that Node.js knows and nginx lets through', async (t) => {
  const front = await behindNginx(t, { handler: answerDigest });
  // nginx answers these itself, wherever they go.
  const answeredByNginx = ['CONNECT', 'TRACE'];
  for (const method of METHODS) {
    const client = await openClient(t, front);
    const head = `${method} /all HTTP/1.1\r\nHost: example.test\r\nContent-Length: 4\r\n\r\nbody`;
    const answer = await exchange(client, head, method === 'HEAD');
    if (answeredByNginx.includes(method)) {
      t.is(answer.status, 405, method);
    } else if (method === 'HEAD') {
      t.is(answer.status, 200);
    } else {
      t.like(arrivedIn(answer), { method, url: '/all', handover: 'full', ...digestOf('body') });
    }
    await client.close();
  }
  t.deepEqual(front.errors, []);
});

withNginx('a method that Node.js does not know is a 400 of the backend', async (t) => {
  const front = await behindNginx(t, { handler: answerDigest });
  const client = await openClient(t, front);
  t.is((await exchange(client, 'BREW /pot HTTP/1.1\r\nHost: example.test\r\n\r\n')).status, 400);
});

withNginx('HEAD has the fields of its GET and no body, and the next answer follows', async (t) => {
  const front = await behindNginx(t, {
    server: SCOPE,
    handler: (_request, response) => response.setHeader('Content-Length', 5).end('hello'),
  });
  const client = await openClient(t, front);
  const line = (method: string): string => `${method} / HTTP/1.1\r\nHost: example.test\r\n\r\n`;
  const head = await exchange(client, line('HEAD'), true);
  t.like(head, { status: 200, body: '' });
  t.is(head.headers['content-length'], '5');
  t.is((await exchange(client, line('GET'))).body, 'hello');
});

const FILE_BYTES = 300_000;
const ranges: readonly (readonly [range: string, status: number, from: number, to: number])[] = [
  ['bytes=0-0', 206, 0, 1],
  ['bytes=0-99', 206, 0, 100],
  ['bytes=1000-1999', 206, 1000, 2000],
  ['bytes=-500', 206, FILE_BYTES - 500, FILE_BYTES],
  ['bytes=65536-', 206, 65_536, FILE_BYTES],
  [`bytes=${FILE_BYTES - 1}-`, 206, FILE_BYTES - 1, FILE_BYTES],
  [`bytes=${FILE_BYTES}-`, 416, 0, 0],
  ['apples=0-1', 200, 0, FILE_BYTES],
];

withNginx('ranges of a file', async (t) => {
  const path = join(await temporaryFolder(t), 'file.bin');
  const content = bodyOf(FILE_BYTES);
  writeFileSync(path, content);
  const front = await behindNginx(t, {
    server: SCOPE,
    handler: (_request, response) => sendFile(response, path),
  });
  const client = await openClient(t, front);
  for (const [range, status, from, to] of ranges) {
    const get = `GET / HTTP/1.1\r\nHost: example.test\r\nRange: ${range}\r\n\r\n`;
    const answer = await exchange(client, get);
    t.is(answer.status, status, range);
    if (status !== 416) t.deepEqual(digestOf(answer.body), digestOf(content.subarray(from, to)), range);
    if (status === 206) t.is(answer.headers['content-range'], `bytes ${from}-${to - 1}/${FILE_BYTES}`);
  }
  t.is(front.server.stats().full, 1);
});

for (const [what, target] of [
  ['of 8 KB', `/${'segment/'.repeat(1000)}?${'q='.repeat(96)}`],
  ['of 30 KB', `/${'%2Fa'.repeat(7500)}`],
  ['with everything a path may have', "/a//b/../c/./;x=1/%2e%2e/%0a/%FF/~'()*!$&+,=:@?a=1&b=%20+&?#f"],
] as const) {
  withNginx(`a target ${what} arrives as it was sent`, async (t) => {
    const front = await start(t, answerDigest);
    const client = await openClient(t, front);
    const answer = await exchange(client, `GET ${target} HTTP/1.1\r\nHost: example.test\r\n\r\n`);
    t.is(arrivedIn(answer).url, target);
  });
}

withNginx('100 fields of 200 bytes each keep their order and their values', async (t) => {
  const values = Array.from({ length: 100 }, (_, n) => bodyOf(100, n).toString('hex'));
  const fields = values.map((value, n) => `X-Field-${n}: ${value}`);
  t.deepEqual(await fieldsThrough(t, fields), [
    ['host', 'example.test:8080'],
    ...values.map((value, n) => [`x-field-${n}`, value]),
  ]);
});

withNginx('repeated fields stay apart and in order', async (t) => {
  const fields = [
    'Cookie: a=1; b=2',
    'X-Forwarded-For: 192.0.2.1',
    'Cookie: c=3',
    'X-Forwarded-For: 192.0.2.2, 192.0.2.3',
    'X-Own: 1',
    'x-own: 2',
    'Cookie: a=4',
  ];
  t.deepEqual(await fieldsThrough(t, fields), [
    ['host', 'example.test:8080'],
    ...fields.map((field) => [field.split(': ')[0]?.toLowerCase(), field.split(': ')[1]]),
  ]);
});

withNginx('values keep their bytes', async (t) => {
  const values = ['', 'a\tb', '\xe4\xf6\xfc \xff', '"quoted, with; all: of \\"it\\""', 'x'.repeat(30_000)];
  const fields = values.map((value, n) => `X-Value-${n}: ${value}`);
  t.deepEqual(await fieldsThrough(t, [...fields, 'X-Wide:    value   ']), [
    ['host', 'example.test:8080'],
    ...values.map((value, n) => [`x-value-${n}`, value]),
    ['x-wide', 'value'],
  ]);
});

const longBody = bodyOf(10_000_000);
const answers: Readonly<Record<string, (response: ServerResponse) => unknown>> = {
  'with a length': (response) => response.setHeader('Content-Length', longBody.length).end(longBody),
  'in chunks': (response) => {
    for (let at = 0; at < longBody.length; at += 99_991) response.write(longBody.subarray(at, at + 99_991));
    response.end();
  },
};

for (const [how, answer] of Object.entries(answers)) {
  withNginx(`an answer of 10 MB ${how}, and another behind it`, async (t) => {
    const front = await behindNginx(t, { server: SCOPE, handler: (_request, response) => answer(response) });
    const client = await openClient(t, front);
    for (let n = 0; n < 2; n++) {
      const { body } = await exchange(client, 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n');
      t.deepEqual(digestOf(body), digestOf(longBody));
    }
  });
}

withNginx('answers without a body, early hints and trailers', async (t) => {
  const front = await behindNginx(t, {
    server: SCOPE,
    handler: (request, response) => {
      const status = Number(request.url?.slice(1));
      if (status !== 103) return response.writeHead(status).end();
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      response.writeHead(200, { Trailer: 'X-Sum' });
      response.write('hello');
      response.addTrailers({ 'X-Sum': '5' });
      return response.end();
    },
  });
  const client = await openClient(t, front);
  const get = (status: number): string => `GET /${status} HTTP/1.1\r\nHost: example.test\r\n\r\n`;
  t.like(await exchange(client, get(204)), { status: 204, body: '' });
  t.like(await exchange(client, get(304)), { status: 304, body: '' });
  const hints = await exchange(client, get(103));
  t.is(hints.status, 103);
  t.is(hints.headers.link, '</style.css>; rel=preload');
  const last = await readAnswer(client);
  t.like(last, { status: 200, body: 'hello' });
  t.deepEqual(last.trailers, { 'x-sum': '5' });
});
