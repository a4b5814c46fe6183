// Several requests on one connection: one after the other, all at once, and when it ends. A relay has one request on each
// connection: there it is the web server's business.
import type { RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { exchange, readAnswers } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { unlessStalled } from '../helpers/unless-stalled.js';
import { until } from '../helpers/until.js';
import { connectionSubjects } from './subjects.js';

guardDescriptors(test);

const get = (path: string, fields = ''): string =>
  `GET ${path} HTTP/1.1\r\nHost: example.test\r\n${fields}\r\n`;
const post = (path: string, body: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: example.test\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

const echo: RequestListener = async (request, response) => {
  const body = await text(request);
  response.end(`${request.method} ${request.url} ${body}`);
};

const bodies = (answers: readonly { body: string }[]): string[] => answers.map(({ body }) => body);

for (const subject of connectionSubjects) {
  test(`${subject.name}: three requests one after the other share a connection`, async (t) => {
    const sockets = new Set<Socket>();
    const { server, connect } = await subject.start(t, (request, response) => {
      sockets.add(request.socket);
      echo(request, response);
    });
    const client = await connect();
    const first = await exchange(client, post('/1', 'one'));
    t.is(first.body, 'POST /1 one');
    t.is(first.headers.connection, 'keep-alive');
    t.is(first.headers['keep-alive'], `timeout=${server.keepAliveTimeout / 1000}`);
    t.is((await exchange(client, get('/2'))).body, 'GET /2 ');
    t.is((await exchange(client, post('/3', 'three'))).body, 'POST /3 three');
    t.is(sockets.size, 1);
  });

  test(`${subject.name}: Connection: close of the client ends the connection after its answer`, async (t) => {
    const { connect } = await subject.start(t, echo);
    const client = await connect();
    t.is((await exchange(client, get('/1'))).headers.connection, 'keep-alive');
    const last = await exchange(client, get('/2', 'Connection: close\r\n'));
    t.is(last.headers.connection, 'close');
    t.is(await client.readToEnd(), '');
    t.is(client.error, undefined);
  });

  test(`${subject.name}: Connection: close of the listener does so too`, async (t) => {
    const { connect } = await subject.start(t, (_request, response) => {
      response.setHeader('Connection', 'close').end('bye');
    });
    const client = await connect();
    t.is((await exchange(client, get('/'))).body, 'bye');
    t.is(await client.readToEnd(), '');
  });

  for (const [how, send] of Object.entries({
    'in one segment': (requests: readonly string[]) => [requests.join('')],
    'one by one': (requests: readonly string[]) => requests,
    'byte by byte': (requests: readonly string[]) => [...requests.join('')],
  })) {
    test(`${subject.name}: three pipelined requests ${how} are answered in order`, async (t) => {
      const { connect } = await subject.start(t, echo);
      const client = await connect();
      const requests = [post('/1', 'one'), get('/2'), post('/3', 'three')];
      for (const part of send(requests)) await client.send(part);
      t.deepEqual(bodies(await readAnswers(client, 3)), ['POST /1 one', 'GET /2 ', 'POST /3 three']);
      t.is((await exchange(client, get('/4'))).body, 'GET /4 ');
    });
  }

  test(`${subject.name}: answers keep the order of the requests, whichever is ready first`, async (t) => {
    const answers = new Map<string, () => void>();
    const { connect } = await subject.start(t, (request, response) => {
      answers.set(String(request.url), () => response.end(request.url));
    });
    const client = await connect();
    await client.send(get('/1') + get('/2') + get('/3'));
    await until('all three came', () => answers.size === 3);
    answers.get('/3')?.();
    answers.get('/2')?.();
    await new Promise(setImmediate);
    t.is(client.received, '');
    answers.get('/1')?.();
    t.deepEqual(bodies(await readAnswers(client, 3)), ['/1', '/2', '/3']);
  });

  test(`${subject.name}: 300 pipelined requests with 20 KB answers reach a client that reads late`, async (t) => {
    const filling = 'x'.repeat(20_000);
    let served = 0;
    const { connect } = await subject.start(t, (request, response) => {
      served++;
      response.end(request.url + filling);
    });
    const client = await connect();
    client.socket.pause();
    const paths = Array.from({ length: 300 }, (_, n) => `/${n}`);
    await client.send(paths.map((path) => get(path)).join(''));
    await until('some were served', () => served > 0);
    client.socket.resume();
    t.deepEqual(
      bodies(await readAnswers(client, 300)),
      paths.map((path) => path + filling),
    );
  });

  test(`${subject.name}: maxRequestsPerSocket says so on the last answer, and 503 to what is pipelined behind`, async (t) => {
    let dropped = 0;
    const { connect } = await subject.start(t, echo, {}, (server) => {
      server.maxRequestsPerSocket = 2;
      server.on('dropRequest', () => dropped++);
    });
    const client = await connect();
    t.regex((await exchange(client, get('/1'))).headers['keep-alive'] ?? '', /, max=2$/);
    await client.send(get('/2') + get('/3'));
    const [last, refused] = await readAnswers(client, 2);
    t.like(last, { body: 'GET /2 ', headers: { connection: 'close' } });
    t.is(refused?.status, 503);
    t.is(dropped, 1);
  });

  test(`${subject.name}: keepAliveTimeout closes an idle connection, not a busy one`, async (t) => {
    const { connect } = await subject.start(
      t,
      (request, response) => {
        const delayMs = request.url === '/slow' ? 1300 : 0;
        setTimeout(() => response.end(request.url), delayMs);
      },
      { keepAliveTimeout: 1 },
    );
    const { client, answers } = await unlessStalled(300, async () => {
      const client = await connect();
      return { client, answers: [await exchange(client, get('/1')), await exchange(client, get('/slow'))] };
    });
    t.deepEqual(bodies(answers), ['/1', '/slow']);
    // Node.js adds a second to what it was told.
    t.is(await client.readToEnd(), '');
    t.is(client.error, undefined);
  });
}
