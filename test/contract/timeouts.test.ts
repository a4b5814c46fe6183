// The timeouts of http.Server and of sockets: when they strike, when they must not, and what the client is told.
import { once } from 'node:events';
import { request as httpRequest, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { unlessStalled } from '../helpers/unless-stalled.js';
import { until } from '../helpers/until.js';
import { connectionSubjects, subjects } from './subjects.js';

guardDescriptors(test);

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const BEGUN_POST = 'POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1000\r\n\r\nsome of it';

const TIMEOUT_MS = 400;
/** What is sent step by step takes longer than the timeout; a step does not. */
const STEP_MS = 10;
const STEPS = 80;

const answer: RequestListener = (_request, response) => response.end('answer');

function clientErrors(server: Server): (string | undefined)[] {
  const codes: (string | undefined)[] = [];
  const emit = server.emit.bind(server);
  // A listener would take over what the server does by itself.
  server.emit = (event: string, ...args: unknown[]) => {
    if (event === 'clientError') codes.push((args[0] as NodeJS.ErrnoException).code);
    return emit(event, ...args);
  };
  return codes;
}

for (const subject of connectionSubjects) {
  test(`${subject.name}: headersTimeout answers half a head with 408`, async (t) => {
    const { server, connect } = await subject.start(t, answer, {
      headersTimeout: 400,
      connectionsCheckingInterval: 20,
    });
    const errors = clientErrors(server);
    const client = await connect();
    t.is((await exchange(client, GET)).body, 'answer');
    await client.send('GET /half HTTP/1.1\r\nHost: exam');
    t.is(await client.readToEnd(), 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n');
    t.deepEqual(errors, ['ERR_HTTP_REQUEST_TIMEOUT']);
  });

  test(`${subject.name}: requestTimeout answers half a body with 408, however steadily it comes`, async (t) => {
    const { server, connect } = await subject.start(t, (request) => request.resume().on('error', () => {}), {
      headersTimeout: 300,
      requestTimeout: 400,
      connectionsCheckingInterval: 20,
    });
    const errors = clientErrors(server);
    const client = await connect();
    await client.send(BEGUN_POST);
    const dripping = setInterval(() => client.socket.write('x'), 10);
    await client.readUntil('\r\n\r\n');
    clearInterval(dripping);
    t.is(client.received, 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n');
    t.deepEqual(errors, ['ERR_HTTP_REQUEST_TIMEOUT']);
  });

  test(`${subject.name}: a request that is whole in time may be answered later than any of these timeouts`, async (t) => {
    const { connect } = await subject.start(
      t,
      (request, response) => {
        request.resume().on('end', () => setTimeout(() => response.end('late'), 900));
      },
      { headersTimeout: 400, requestTimeout: 500, connectionsCheckingInterval: 10 },
    );
    t.is((await exchange(await connect(), GET)).body, 'late');
  });
}

for (const subject of subjects) {
  test(`${subject.name}: server.timeout destroys a connection on which nothing happens`, async (t) => {
    let closed = 0;
    const { connect } = await subject.start(
      t,
      (_request, response) => response.on('close', () => closed++),
      {},
      (server) => server.setTimeout(300),
    );
    const client = await connect();
    await client.send(GET);
    t.is(await client.readToEnd(), '');
    await until('the response is closed', () => closed === 1);
  });

  test(`${subject.name}: a listener to 'timeout' decides instead`, async (t) => {
    const idle: Socket[] = [];
    const { connect } = await subject.start(
      t,
      (_request, response) => setTimeout(() => response.end('late'), 600),
      {},
      (server) => server.setTimeout(200, (socket) => idle.push(socket)),
    );
    t.is((await exchange(await connect(), GET)).body, 'late');
    t.true(idle.length >= 1);
    t.true('remoteAddress' in (idle[0] as Socket));
  });

  test(`${subject.name}: a timeout of the request or the response is told to the response`, async (t) => {
    const { connect } = await subject.start(t, (request, response) => {
      request.setTimeout(1000);
      response.setTimeout(30);
      response.on('timeout', (socket: Socket) => {
        t.true(socket === request.socket);
        response.end('timeout');
      });
    });
    t.is((await exchange(await connect(), GET)).body, 'timeout');
  });

  test(`${subject.name}: socket.setTimeout strikes when nothing is written, not before`, async (t) => {
    let quietMs = -1;
    const { connect } = await subject.start(t, async ({ socket }, response) => {
      let writtenAtMs = 0;
      socket.setTimeout(TIMEOUT_MS);
      // The server destroys the connection only if nobody listens.
      response.on('timeout', () => {
        quietMs = performance.now() - writtenAtMs;
        response.end('timeout');
      });
      for (let nth = 0; nth < STEPS && !response.writableEnded; nth++) {
        writtenAtMs = performance.now();
        response.write('piece ');
        await delay(STEP_MS);
      }
    });
    t.true((await exchange(await connect(), GET)).body.endsWith('piece timeout'));
    t.true(quietMs > TIMEOUT_MS / 2, `after ${quietMs} ms`);
  });

  test(`${subject.name}: server.timeout spares one large answer that a slow client takes bit by bit`, async (t) => {
    const bytes = Buffer.alloc(24 * 1024 * 1024);
    const { url } = await subject.start(
      t,
      (_request, response) => response.end(bytes),
      {},
      (server) => {
        server.setTimeout(TIMEOUT_MS);
      },
    );
    const bytesReceived = await unlessStalled(TIMEOUT_MS / 4, async () => {
      const [response] = await once(httpRequest(url, { agent: false }).end(), 'response');
      let received = 0;
      for await (const chunk of response) {
        received += chunk.length;
        await delay(2);
      }
      return received;
    });
    t.is(bytesReceived, bytes.length);
  });
}

for (const subject of connectionSubjects) {
  test(`${subject.name}: socket.setTimeout strikes when nothing is read, not before`, async (t) => {
    let quietMs = -1;
    const { connect } = await subject.start(t, (request, response) => {
      let readAtMs = 0;
      request.on('data', () => {
        readAtMs = performance.now();
      });
      request.on('error', () => {});
      request.socket.setTimeout(TIMEOUT_MS);
      response.on('timeout', () => {
        quietMs = performance.now() - readAtMs;
        response.writeHead(408, { Connection: 'close' }).end();
      });
    });
    const client = await connect();
    await client.send(BEGUN_POST);
    for (let nth = 0; nth < STEPS && quietMs === -1; nth++) {
      await delay(STEP_MS);
      await client.send('more');
    }
    t.is((await readAnswer(client)).status, 408);
    t.true(quietMs > TIMEOUT_MS / 2, `after ${quietMs} ms`);
  });

  test(`${subject.name}: socket.setTimeout(0) takes the timeout back`, async (t) => {
    let timeouts = 0;
    const { connect } = await subject.start(t, ({ socket }, response) => {
      socket.setTimeout(30, () => timeouts++);
      t.is(socket.timeout, 30);
      socket.setTimeout(0);
      setTimeout(() => response.end('late'), 100);
    });
    t.is((await exchange(await connect(), GET)).body, 'late');
    t.is(timeouts, 0);
  });

  test(`${subject.name}: an upgraded socket keeps its timeouts`, async (t) => {
    let timeouts = 0;
    const { connect } = await subject.start(t, undefined, {}, (server) => {
      server.on('upgrade', (_request, socket) => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
        (socket as Socket).setTimeout(50, () => {
          timeouts++;
          socket.end();
        });
        socket.resume();
      });
    });
    const client = await connect();
    await client.send('GET / HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    await client.readToEnd();
    await until('it timed out', () => timeouts === 1);
    t.pass();
  });
}
