// How connections end before their time: clients that half-close, leave or reset in the middle of a request or an answer, and
// what request and response say about it.
import { once } from 'node:events';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { connect as connectSocket, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { encodeMessage } from '#scgi/message.js';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { RawClient } from '../helpers/raw-client.js';
import { until } from '../helpers/until.js';
import { connectionSubjects, type Subject, subjects } from './subjects.js';

guardDescriptors(test);

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';

/** What happened to a request and its response, in order. */
function record(request: IncomingMessage, response: ServerResponse): string[] {
  const events: string[] = [];
  request.on('aborted', () => events.push('aborted'));
  request.on('error', (error: NodeJS.ErrnoException) => events.push(`request ${error.code}`));
  request.on('close', () => events.push('request close'));
  request.on('end', () => events.push('request end'));
  response.on('error', (error: NodeJS.ErrnoException) => events.push(`response ${error.code}`));
  response.on('close', () => events.push(`response close ${response.writableFinished}`));
  return events;
}

/** Answers once the end of the client has come, as far as that can be seen here. */
const answersAfterTheEnd =
  (isEndSeen: boolean): RequestListener =>
  (request, response) => {
    const answer = (): unknown => response.end('answer');
    request.resume();
    if (isEndSeen) request.socket.once('end', answer);
    else setTimeout(answer, 50);
  };

for (const running of connectionSubjects) {
  const { name, kind } = running;
  /** The end of the client is withheld while an answer is due. */
  const isWithheld = kind === 'partial';

  const sendAndEnd = async (
    t: ExecutionContext,
    bytes: string,
    httpAllowHalfOpen: boolean,
  ): Promise<RawClient> => {
    const { connect } = await running.start(t, answersAfterTheEnd(!isWithheld), {}, (server) => {
      Object.assign(server, { httpAllowHalfOpen });
    });
    const client = await connect();
    await client.send(bytes);
    client.socket.end();
    return client;
  };

  if (isWithheld) {
    test(`${name}: a client that ends its side after the request gets its answer`, async (t) => {
      t.is((await readAnswer(await sendAndEnd(t, GET, false))).body, 'answer');
    });

    test(`${name}: a client that ends its side after three pipelined requests gets three answers`, async (t) => {
      const client = await sendAndEnd(t, GET.repeat(3), false);
      t.is((await client.readToEnd()).match(/\r\n\r\nanswer/g)?.length, 3);
    });
  } else {
    test(`${name}: a client that ends its side after the request is closed`, async (t) => {
      t.is(await (await sendAndEnd(t, GET, false)).readToEnd(), '');
    });
  }

  test(`${name}: a client that ends its side gets its answer with httpAllowHalfOpen`, async (t) => {
    const client = await sendAndEnd(t, GET, true);
    t.is((await readAnswer(client)).body, 'answer');
    t.is(await client.readToEnd(), '');
  });

  test(`${name}: a client that ends its side after three pipelined requests gets three answers with httpAllowHalfOpen`, async (t) => {
    const client = await sendAndEnd(t, GET.repeat(3), true);
    t.is((await client.readToEnd()).match(/\r\n\r\nanswer/g)?.length, 3);
  });
}

const relay = subjects.find(({ isRelay }) => isRelay) as Subject;

for (const [what, request] of Object.entries({ 'no body': '', 'a body': 'body' })) {
  test(`relay: a sender that ends its side after a request with ${what} gets its answer`, async (t) => {
    const { server } = await relay.start(t, answersAfterTheEnd(false));
    const sender = await RawClient.connect(server.address() as string);
    const headers: [string, string][] = [
      ['REQUEST_METHOD', 'POST'],
      ['REQUEST_URI', '/'],
      ['HTTP_HOST', 'example.test'],
    ];
    await sender.send(encodeMessage({ dialect: 'plain', headers, earlyBytes: Buffer.from(request) }));
    sender.socket.end();
    const received = await sender.readToEnd();
    t.true(received.startsWith('Status: 200 OK\r\n'));
    t.true(received.endsWith('\r\n\r\nanswer'));
  });
}

for (const running of subjects) {
  const { name } = running;

  test(`${name}: an event stream ends when its client leaves`, async (t) => {
    let events: string[] = [];
    const { connect } = await running.start(t, (request, response) => {
      events = record(request, response);
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write('data: first\n\n');
      const timer = setInterval(() => response.write('data: again\n\n'), 10);
      response.on('close', () => clearInterval(timer));
    });
    const client = await connect();
    await client.send(GET);
    await client.readUntil('data: again');
    await client.close();
    await until('the response is closed', () => events.includes('response close false'));
    t.true(events.includes('request close'));
  });

  test(`${name}: a client that resets during its answer closes the response`, async (t) => {
    let events: string[] = [];
    const { connect } = await running.start(t, (request, response) => {
      events = record(request, response);
      const write = (): void => {
        if (!response.destroyed) response.write('x'.repeat(50_000), () => setImmediate(write));
      };
      write();
    });
    const client = await connect();
    await client.send(GET);
    await client.readUntil('xxx');
    client.socket.resetAndDestroy();
    await until('the response is closed', () => events.includes('response close false'));
    t.false(events.some((event) => event.startsWith('response E')));
  });

  for (const how of ['leaves', 'resets'] as const) {
    // The web server tells of the client's end only, which may be a half-close: the answer is still wanted.
    if (running.kind === 'partial' && how === 'leaves') continue;
    test(`${name}: a client that ${how} while its answer is awaited closes the response, though nothing is written`, async (t) => {
      let events: string[] = [];
      const { connect } = await running.start(t, (request, response) => {
        events = record(request, response);
        events.push('request');
      });
      const client = await connect();
      await client.send(GET);
      await until('the request came', () => events.length > 0);
      if (how === 'leaves') await client.close();
      else client.socket.resetAndDestroy();
      await until('the response is closed', () => events.includes('response close false'));
      t.true(events.includes('request close'));
    });
  }

  test(`${name}: getConnections counts clients, and none after they left`, async (t) => {
    const { server, connect } = await running.start(t, (_request, response) => response.write('begun'));
    const count = (): Promise<number> =>
      new Promise((resolve) => server.getConnections((_error, number) => resolve(number)));
    const clients = await Promise.all([connect(), connect(), connect()]);
    for (const client of clients) {
      await client.send(GET);
      await client.readUntil('begun');
    }
    t.is(await count(), 3);
    for (const client of clients) client.socket.resetAndDestroy();
    for (let left = 3; left > 0; left = await count()) await delay(5);
    t.is(await count(), 0);
  });
}

for (const running of connectionSubjects) {
  const { name } = running;
  const uploads: Record<string, (socket: Socket) => unknown> = {
    leaves: (socket) => socket.end(),
    resets: (socket) => socket.resetAndDestroy(),
  };
  for (const [how, end] of Object.entries(uploads)) {
    for (const framing of ['Content-Length: 100000', 'Transfer-Encoding: chunked']) {
      test(`${name}: a client that ${how} in the middle of an upload (${framing}) aborts the request`, async (t) => {
        let events: string[] = [];
        let bytes = 0;
        const { server, connect } = await running.start(t, (request, response) => {
          events = record(request, response);
          request.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
          });
        });
        const clientErrors: (string | undefined)[] = [];
        server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
          clientErrors.push(error.code);
          socket.destroy();
        });
        const client = await connect();
        await client.send(`POST / HTTP/1.1\r\nHost: example.test\r\n${framing}\r\n\r\nFFFF\r\nsome bytes`);
        await until('some of the body came', () => bytes >= 10);
        end(client.socket);
        await until('both are closed', () => events.length >= 4);
        t.deepEqual(
          events.sort(),
          ['aborted', 'request ECONNRESET', 'request close', 'response close false'].sort(),
        );
        t.deepEqual(clientErrors, [how === 'leaves' ? 'HPE_INVALID_EOF_STATE' : 'ECONNRESET']);
      });
    }
  }

  test(`${name}: an idle connection is forgotten when its client leaves`, async (t) => {
    const { server, connect } = await running.start(t, (_request, response) => response.end('served'));
    const closes: boolean[] = [];
    server.on('connection', (socket: Socket) => socket.on('close', (hadError) => closes.push(hadError)));
    for (const [nth, leave] of [
      (client: RawClient) => client.close(),
      (client: RawClient) => client.readToEnd(),
      (client: RawClient) => client.socket.end(),
    ].entries()) {
      const client = await connect();
      t.is((await exchange(client, GET)).body, 'served');
      if (nth === 1) client.socket.end();
      leave(client);
      await until('the connection is closed', () => closes.length === nth + 1);
    }
    t.deepEqual(closes, [false, false, false]);
  });

  test(`${name}: destroying the request or the response closes the connection`, async (t) => {
    const { connect } = await running.start(t, (request, response) => {
      if (request.url === '/request') request.destroy();
      else if (request.url === '/response') response.destroy();
      else request.socket.destroy();
    });
    for (const path of ['/request', '/response', '/socket']) {
      const client = await connect();
      await client.send(`GET ${path} HTTP/1.1\r\nHost: example.test\r\n\r\n`);
      t.is(await client.readToEnd(), '');
    }
  });

  test(`${name}: an answer after which the client leaves at once is whole`, async (t) => {
    let closes = 0;
    const { server, port, connect } = await running.start(t, (_request, response) => response.end('whole'));
    server.on('connection', (socket: Socket) => socket.on('close', () => closes++));
    for (let nth = 0; nth < 20; nth++) {
      const client = connectSocket(port, '127.0.0.1', () => client.write(GET));
      await once(client, 'data');
      client.destroy();
    }
    await until('all are closed', () => closes === 20);
    t.is((await exchange(await connect(), GET)).body, 'whole');
  });
}
