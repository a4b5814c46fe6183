// What a client gets of an answer, whichever way it went: framing, heads, trailers, interim answers, and what the response
// object says about it.
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import test from 'ava';
import { exchange, readAnswer, readAnswers } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { connectionSubjects, subjects } from './subjects.js';

guardDescriptors(test);

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';

for (const subject of subjects) {
  test(`${subject.name}: an answer of known length says so`, async (t) => {
    const { connect } = await subject.start(t, (_request, response) => {
      response.writeHead(201, 'Made Up', { 'Content-Type': 'text/plain', 'Content-Length': 5 }).end('hello');
    });
    t.like(await exchange(await connect(), GET), {
      status: 201,
      reason: subject.isRelay ? 'Created' : 'Made Up',
      body: 'hello',
      isChunked: false,
      headers: { 'content-type': 'text/plain', 'content-length': '5' },
    });
  });

  test(`${subject.name}: an answer of unknown length comes piece by piece`, async (t) => {
    let next = (): void => {};
    const { connect } = await subject.start(t, (_request, response) => {
      const pieces = ['one,', 'two,', 'three'];
      next = () => void (pieces.length > 1 ? response.write(pieces.shift()) : response.end(pieces.shift()));
      next();
    });
    const client = await connect();
    await client.send(GET);
    await client.readUntil('one,');
    t.false(client.received.includes('two'));
    next();
    await client.readUntil('two,');
    t.false(client.received.includes('three'));
    next();
    const answer = await readAnswer(client);
    t.is(answer.body, 'one,two,three');
    t.true(answer.isChunked);
  });

  test(`${subject.name}: the head can be sent before there is a body`, async (t) => {
    let end = (): unknown => undefined;
    const { connect } = await subject.start(t, (_request, response) => {
      response.setHeader('X-Early', 'yes').flushHeaders();
      end = () => response.end('late');
    });
    const client = await connect();
    await client.send(GET);
    await client.readUntil('\r\n\r\n');
    t.regex(client.received, /\r\nX-Early: yes\r\n/i);
    end();
    t.is((await readAnswer(client)).body, 'late');
  });

  test(`${subject.name}: header arrays become several lines`, async (t) => {
    const { connect } = await subject.start(t, (_request, response) => {
      response.setHeader('Set-Cookie', ['a=1', 'b=2']);
      response.appendHeader('Set-Cookie', 'c=3');
      response.end();
    });
    const client = await connect();
    await client.send(GET);
    await client.readUntil('\r\n\r\n');
    t.deepEqual(
      client.received.match(/^set-cookie: .*$/gim)?.map((line) => line.slice(12)),
      ['a=1', 'b=2', 'c=3'],
    );
  });

  for (const status of [204, 304]) {
    test(`${subject.name}: ${status} has no body`, async (t) => {
      const { connect } = await subject.start(t, (_request, response) => {
        response.writeHead(status).end('not to be sent');
      });
      const client = await connect();
      await client.send(GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
      const received = await client.readToEnd();
      t.true(received.startsWith(`HTTP/1.1 ${status} `));
      t.true(received.endsWith('\r\n\r\n'));
    });
  }

  test(`${subject.name}: a megabyte of binary pieces of odd sizes arrives byte for byte`, async (t) => {
    const bytes = Buffer.from(Array.from({ length: 1 << 20 }, (_, n) => (n * 31 + (n >> 8)) & 0xff));
    const { connect } = await subject.start(t, async (_request, response) => {
      for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7) % 65_521) {
        if (!response.write(bytes.subarray(at, at + size))) await once(response, 'drain');
      }
      response.end();
    });
    const { body } = await exchange(await connect(), GET);
    t.true(Buffer.from(body, 'latin1').equals(bytes));
  });

  test(`${subject.name}: strings keep their encoding`, async (t) => {
    const { connect } = await subject.start(t, (_request, response) => {
      response.write('äöü', 'latin1');
      response.write('äöü', 'utf8');
      response.write('w6Q=', 'base64');
      response.end('e282ac', 'hex');
    });
    const { body } = await exchange(await connect(), GET);
    t.is(body, '\xe4\xf6\xfc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xe2\x82\xac');
  });

  test(`${subject.name}: finish, then close: once each, also on the callbacks of write and end`, async (t) => {
    const events: string[] = [];
    const { connect } = await subject.start(t, (request, response) => {
      request.once('close', () => events.push('request close'));
      response.on('finish', () => events.push('finish'));
      response.on('close', () => events.push(`close ${response.writableFinished}`));
      response.write('a', () => events.push('written'));
      response.end('b', () => events.push('ended'));
    });
    t.is((await exchange(await connect(), GET)).body, 'ab');
    await until('the answer is closed', () => events.some((event) => event.startsWith('close')));
    const once = ['written', 'finish', 'ended', 'close true', 'request close'];
    t.deepEqual([...events].sort(), [...once].sort());
    // Which of 'finish' and the callbacks is first differs between versions of Node.js.
    t.true(events.indexOf('finish') < events.indexOf('close true'));
  });
}

for (const subject of connectionSubjects) {
  test(`${subject.name}: trailers follow a chunked answer`, async (t) => {
    const { connect } = await subject.start(t, (_request, response) => {
      response.writeHead(200, { Trailer: 'X-Sum' });
      response.write('body');
      response.addTrailers({ 'X-Sum': '42' });
      response.end();
    });
    t.like(await exchange(await connect(), GET), {
      body: 'body',
      isChunked: true,
      trailers: { 'x-sum': '42' },
    });
  });

  test(`${subject.name}: interim answers go before the final one`, async (t) => {
    const { connect } = await subject.start(t, (_request, response) => {
      response.writeProcessing();
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      response.end('final');
    });
    const client = await connect();
    await client.send(GET);
    const [processing, hints, final] = await readAnswers(client, 3);
    t.is(processing?.status, 102);
    t.like(hints, { status: 103, headers: { link: '</style.css>; rel=preload' } });
    t.like(final, { status: 200, body: 'final' });
  });

  test(`${subject.name}: an answer written to a client that is gone fails alone`, async (t) => {
    const closed: boolean[] = [];
    const { port, connect } = await subject.start(t, (request, response) => {
      if (request.url === '/ok') return response.end('ok');
      response.on('close', () => closed.push(response.writableFinished));
      const write = (): void => {
        if (!response.destroyed) response.write('x'.repeat(100_000), () => setImmediate(write));
      };
      return write();
    });
    const gone = connectTcp(port, '127.0.0.1', () => gone.write(GET));
    await once(gone, 'data');
    gone.resetAndDestroy();
    await until('the answer is closed', () => closed.length > 0);
    t.deepEqual(closed, [false]);
    t.is((await exchange(await connect(), GET.replace('GET /', 'GET /ok'))).body, 'ok');
  });
}
