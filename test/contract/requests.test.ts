// What a request listener gets of a request, whichever way it came: method, target, headers, body, trailers.
import { AsyncLocalStorage } from 'node:async_hooks';
import { IncomingMessage, type RequestListener, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { exchange, readAnswer, readAnswers } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { connectionSubjects, subjects } from './subjects.js';

guardDescriptors(test);

/** Answers with what `look` sees once the body is there. */
const tell =
  (look: (request: IncomingMessage, body: string) => unknown): RequestListener =>
  async (request, response) => {
    const body = await text(request.setEncoding('latin1'));
    response.end(JSON.stringify(look(request, body)));
  };

const json = (answer: { body: string }): unknown => JSON.parse(Buffer.from(answer.body, 'latin1').toString());

const HOST = 'Host: example.test\r\n';

for (const subject of subjects) {
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
    test(`${subject.name}: ${method} arrives as such`, async (t) => {
      const { connect } = await subject.start(
        t,
        tell((request) => [request.method, request.httpVersion]),
      );
      const answer = await exchange(
        await connect(),
        `${method} / HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n`,
      );
      t.is(answer.status, 200);
      t.deepEqual(json(answer), [method, '1.1']);
    });
  }

  test(`${subject.name}: HEAD gets the head of the answer alone`, async (t) => {
    const { connect } = await subject.start(t, (request, response) => {
      response.setHeader('Content-Length', 5).setHeader('X-Method', String(request.method)).end('hello');
    });
    const client = await connect();
    await client.send(`HEAD / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
    const received = await client.readToEnd();
    t.regex(received, /\r\nContent-Length: 5\r\n/i);
    t.regex(received, /\r\nX-Method: HEAD\r\n/i);
    t.true(received.endsWith('\r\n\r\n'));
  });

  for (const target of [
    '/',
    '/a%2Fb//c/../d/./e',
    '/?',
    '/path?query=1&empty=&plus=a+b&percent=%zz?more',
    "/!$&'()*+,;=:@-._~[]{}|^`",
    '/%e2%98%83',
    'http://example.test/absolute?form',
  ]) {
    test(`${subject.name}: the target ${target} arrives raw`, async (t) => {
      const { connect } = await subject.start(
        t,
        tell((request) => request.url),
      );
      const answer = await exchange(await connect(), `GET ${target} HTTP/1.1\r\n${HOST}\r\n`);
      t.is(json(answer), target);
    });
  }

  test(`${subject.name}: OPTIONS * arrives as such`, async (t) => {
    const { connect } = await subject.start(
      t,
      tell((request) => request.url),
    );
    const answer = await exchange(await connect(), `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`);
    t.is(json(answer), '*');
  });

  test(`${subject.name}: headers keep their order, their duplicates and their bytes`, async (t) => {
    const fields = [
      ['X-First', '1'],
      ['X-Twice', 'a'],
      ['Accept-Encoding', 'gzip;q=0.5, br'],
      ['X-Twice', 'b'],
      ['X-Empty', ''],
      ['X-Latin', '\xe9\xff'],
      ['X-Tab', 'a\tb'],
    ];
    const { connect } = await subject.start(
      t,
      tell(({ rawHeaders, headers }) => ({
        raw: rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [[name, rawHeaders[at + 1]]] : [])),
        twice: headers['x-twice'],
      })),
    );
    const lines = fields.map(([name, value]) => `${name}:  ${value} \r\n`).join('');
    const answer = await exchange(await connect(), `GET / HTTP/1.1\r\n${HOST}${lines}\r\n`);
    const { raw, twice } = json(answer) as { raw: string[][]; twice: string };
    const sent = new Set(fields.map(([name]) => name));
    t.deepEqual(
      raw.filter(([name]) => sent.has(name)),
      fields,
    );
    t.is(twice, 'a, b');
  });

  test(`${subject.name}: cookies are joined by "; ", single values stay the first`, async (t) => {
    const { connect } = await subject.start(
      t,
      tell(({ headers }) => ({ ...headers })),
    );
    const answer = await exchange(
      await connect(),
      `GET / HTTP/1.1\r\n${HOST}Cookie: a=1\r\nUser-Agent: one\r\nCookie: b=2; c=3\r\nUser-Agent: two\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n`,
    );
    t.like(json(answer), {
      cookie: 'a=1; b=2; c=3',
      'user-agent': 'one',
      'x-forwarded-for': '192.0.2.1, 192.0.2.2',
      host: 'example.test',
    });
  });

  test(`${subject.name}: long values arrive whole`, async (t) => {
    const { connect } = await subject.start(
      t,
      tell(({ headers }) => [headers.cookie?.length, headers['x-long']?.length]),
    );
    const long = `Cookie: ${'c'.repeat(3000)}\r\nX-Long: ${'v'.repeat(9000)}\r\nCookie: ${'d'.repeat(2000)}\r\n`;
    const answer = await exchange(await connect(), `GET / HTTP/1.1\r\n${HOST}${long}\r\n`);
    t.deepEqual(json(answer), [5002, 9000]);
  });

  test(`${subject.name}: 200 headers arrive, and joinDuplicateHeaders and maxHeadersCount are honoured`, async (t) => {
    const { connect } = await subject.start(
      t,
      tell(({ headers }) => [
        Object.keys(headers).filter((name) => name.startsWith('x-')).length,
        headers.from,
      ]),
      { joinDuplicateHeaders: true },
    );
    const many = Array.from({ length: 198 }, (_, n) => `X-Header-${n}: ${n}\r\n`).join('');
    const answer = await exchange(
      await connect(),
      `GET / HTTP/1.1\r\n${HOST}From: a\r\nFrom: b\r\n${many}\r\n`,
    );
    t.deepEqual(json(answer), [198, 'a, b']);
  });

  test(`${subject.name}: a body comes whole, however it is cut`, async (t) => {
    const { connect } = await subject.start(
      t,
      tell((request, body) => [request.headers['content-type'], request.complete, body]),
    );
    const head = `POST / HTTP/1.1\r\n${HOST}Content-Type: text/plain\r\nContent-Length: 10\r\n\r\n`;
    for (const parts of [
      [`${head}0123456789`],
      [head, '0123456789'],
      [`${head}0`, '12345678', '9'],
      [...`${head}0123456789`],
    ]) {
      const client = await connect();
      for (const part of parts) await client.send(part);
      t.deepEqual(json(await readAnswer(client)), ['text/plain', true, '0123456789']);
    }
  });

  test(`${subject.name}: requests and responses are of the classes given`, async (t) => {
    class OwnRequest extends IncomingMessage {}
    class OwnResponse<R extends IncomingMessage = IncomingMessage> extends ServerResponse<R> {}
    const { connect } = await subject.start(
      t,
      (request, response) => {
        response.end(String(request instanceof OwnRequest && response instanceof OwnResponse));
      },
      { IncomingMessage: OwnRequest, ServerResponse: OwnResponse },
    );
    t.is((await exchange(await connect(), `GET / HTTP/1.1\r\n${HOST}\r\n`)).body, 'true');
  });

  test(`${subject.name}: what one client's handler leaves in an AsyncLocalStorage, another's does not find`, async (t) => {
    const storage = new AsyncLocalStorage<string>();
    const { connect } = await subject.start(t, async (request, response) => {
      const found = String(storage.getStore());
      storage.enterWith(String(request.url));
      await text(request);
      setImmediate(() => response.end(`${found} ${storage.getStore()}`));
    });
    const answers = await Promise.all(
      Array.from({ length: 10 }, async (_, n) =>
        exchange(await connect(), `GET /${n} HTTP/1.1\r\n${HOST}\r\n`),
      ),
    );
    t.deepEqual(
      answers.map(({ body }) => body),
      answers.map((_, n) => `undefined /${n}`),
    );
  });
}

for (const subject of connectionSubjects) {
  test(`${subject.name}: rawHeaders are the client's, all of them and nothing else`, async (t) => {
    const { connect } = await subject.start(
      t,
      tell(({ rawHeaders }) => rawHeaders),
    );
    const answer = await exchange(
      await connect(),
      'POST / HTTP/1.1\r\nX-A: 1\r\nContent-Length: 0\r\nHost: example.test\r\nConnection: keep-alive\r\nTe: trailers\r\nX-A: 2\r\n\r\n',
    );
    t.deepEqual(json(answer), [
      ...['X-A', '1', 'Content-Length', '0', 'Host', 'example.test'],
      ...['Connection', 'keep-alive', 'Te', 'trailers', 'X-A', '2'],
    ]);
  });

  test(`${subject.name}: a chunked body is decoded, with extensions and trailers, however it is cut`, async (t) => {
    const { connect } = await subject.start(
      t,
      tell((request, body) => [body, { ...request.trailers }, request.rawTrailers]),
    );
    const head = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n`;
    const body = '5\r\nhello\r\n1;name=value\r\n \r\nA\r\n0123456789\r\n0\r\nX-Sum: 42\r\n\r\n';
    for (const parts of [[head + body], [head, body], [...(head + body)]]) {
      const client = await connect();
      for (const part of parts) await client.send(part);
      t.deepEqual(json(await readAnswer(client)), ['hello 0123456789', { 'x-sum': '42' }, ['X-Sum', '42']]);
    }
  });

  test(`${subject.name}: a request without Host is 400`, async (t) => {
    const { connect } = await subject.start(t, () => t.fail('it was served'));
    const client = await connect();
    await client.send('GET / HTTP/1.1\r\n\r\n');
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 400 /);
  });

  test(`${subject.name}: HTTP/1.0 is answered in its own way`, async (t) => {
    const { connect } = await subject.start(t, (request, response) => {
      response.write(request.httpVersion);
      response.end(' served');
    });
    const client = await connect();
    await client.send('GET / HTTP/1.0\r\n\r\n');
    const received = await client.readToEnd();
    t.true(received.startsWith('HTTP/1.1 200 OK\r\n'));
    t.notRegex(received, /Transfer-Encoding/i);
    t.true(received.endsWith('\r\n\r\n1.0 served'), received);
  });

  test(`${subject.name}: a body nobody reads does not hold up the next request`, async (t) => {
    const { connect } = await subject.start(t, (request, response) => response.end(request.url));
    const client = await connect();
    const body = 'x'.repeat(200_000);
    await client.send(`POST /1 HTTP/1.1\r\n${HOST}Content-Length: ${body.length}\r\n\r\n${body}`);
    await client.send(`GET /2 HTTP/1.1\r\n${HOST}\r\n`);
    t.deepEqual(
      (await readAnswers(client, 2)).map((answer) => answer.body),
      ['/1', '/2'],
    );
  });
}
