// Where a handover server is meant to differ from http.createServer. What is not here, and not in TSDoc of createServer, is the
// same on both: the other files of this folder hold it.
import { once } from 'node:events';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { connectionInfo, createServer, type HandoverServer } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { exchange, readAnswer, readAnswers } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { RawClient } from '../helpers/raw-client.js';
import { until } from '../helpers/until.js';
import { subjects, temporaryPath } from './subjects.js';

guardDescriptors(test);

const get = (path: string, fields = ''): string =>
  `GET ${path} HTTP/1.1\r\nHost: example.test\r\n${fields}\r\n`;

const handovers = subjects.filter(({ kind }) => kind !== 'node');
/** As createServer() is without options: the subjects ask for a keep-alive scope. */
const BY_DEFAULT = { keepAlive: false } as const;

for (const subject of handovers.filter(({ isRelay }) => !isRelay)) {
  const { name } = subject;

  test(`${name}: without a keep-alive scope the first answer is the last`, async (t) => {
    const paths: string[] = [];
    const { connect } = await subject.start(
      t,
      (request, response) => {
        paths.push(String(request.url));
        response.end('served');
      },
      BY_DEFAULT,
    );
    const client = await connect();
    await client.send(get('/1') + get('/2'));
    t.like(await readAnswer(client), { body: 'served', headers: { connection: 'close' } });
    t.is(await client.readToEnd(), '');
    t.is(client.error, undefined);
    t.deepEqual(paths, ['/1']);
  });

  test(`${name}: answers that are queued behind another are told when the client has gone`, async (t) => {
    const ended: string[] = [];
    let served = 0;
    const { connect } = await subject.start(t, ({ url }, response) => {
      served++;
      const endless = new Readable({ read() {} });
      pipeline(endless, response).catch(({ code }) => ended.push(`${url} ${code} ${endless.destroyed}`));
    });
    const client = await connect();
    await client.send(get('/1') + get('/2') + get('/3'));
    await until('all of them are served', () => served === 3);
    client.socket.resetAndDestroy();
    await until('all of them have ended', () => ended.length === 3);
    t.deepEqual(
      ended,
      ['/1', '/2', '/3'].map((url) => `${url} ERR_STREAM_PREMATURE_CLOSE true`),
    );
  });

  test(`${name}: an expectation that fails counts as the first request: nothing behind it is served`, async (t) => {
    const { connect } = await subject.start(
      t,
      () => t.fail('the web server judged another request'),
      BY_DEFAULT,
    );
    const client = await connect();
    await client.send(get('/allowed', 'Expect: a miracle\r\n'));
    t.like(await readAnswer(client), { status: 417, headers: { connection: 'close' } });
    client.socket.write(get('/forbidden'));
    t.is(await client.readToEnd(), '');
  });

  test(`${name}: an expectation that fails does not move the keep-alive scope`, async (t) => {
    const { connect } = await subject.start(t, (_request, response) => response.end('served'), {
      keepAlive: { scope: '/app/' },
    });
    const client = await connect();
    t.is((await exchange(client, get('/app/1', 'Expect: a miracle\r\n'))).status, 417);
    t.is((await exchange(client, get('/app/2'))).body, 'served');
    t.is((await exchange(client, get('/other'))).status, 421);
  });

  test(`${name}: a listener to checkContinue may hand the request to the listener of requests`, async (t) => {
    const { server, connect } = await subject.start(
      t,
      async (request, response) => response.end(await text(request)),
      BY_DEFAULT,
    );
    server.on('checkContinue', (request, response) => {
      response.writeContinue();
      server.emit('request', request, response);
    });
    const client = await connect();
    await client.send(
      'POST / HTTP/1.1\r\nHost: example.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n',
    );
    t.is((await readAnswer(client)).status, 100);
    t.like(await exchange(client, 'body'), { body: 'body', headers: { connection: 'close' } });
    t.is(await client.readToEnd(), '');
  });

  test(`${name}: once it closes, the last answer under way says Connection: close`, async (t) => {
    const ends: (() => void)[] = [];
    const { server, connect } = await subject.start(t, (_request, response) => {
      ends.push(() => response.end('late'));
    });
    const client = await connect();
    await client.send(get('/1') + get('/2'));
    await until('both came', () => ends.length === 2);
    const closed = once(server, 'close');
    server.close();
    for (const end of ends) end();
    const [first, last] = await readAnswers(client, 2);
    t.is(first?.headers.connection, 'keep-alive');
    t.is(last?.headers.connection, 'close');
    t.is(await client.readToEnd(), '');
    await closed;
  });

  test(`${name}: header names come in their usual spelling, whatever the client wrote`, async (t) => {
    const { connect } = await subject.start(t, ({ rawHeaders }, response) => {
      response.end(JSON.stringify(rawHeaders.filter((_, at) => at % 2 === 0)));
    });
    const fields = 'x-lower: 1\r\nX-UPPER: 2\r\nETag: 3\r\nsec-websocket-key: 4\r\n';
    t.is(
      (await exchange(await connect(), get('/', fields))).body,
      '["Host","X-Lower","X-Upper","Etag","Sec-Websocket-Key"]',
    );
  });

  test(`${name}: heads of 32 KB, which nginx lets through, are served by default`, async (t) => {
    const { connect } = await subject.start(t, ({ headers }, response) => {
      response.end(`${headers.cookie?.length}`);
    });
    const fields = `Cookie: ${'c'.repeat(32_000)}\r\n`;
    t.is((await exchange(await connect(), get('/', fields))).body, '32000');
  });
}

for (const subject of handovers) {
  const { name } = subject;

  /** A CGI answer ends where its connection does: a relayed client cannot tell that more was to come. */
  const untilCutOff = async (client: RawClient): Promise<void> => {
    if (subject.isRelay) await readAnswer(client);
    else while (!client.socket.readableEnded && !client.socket.destroyed) await delay(2);
  };

  const openStream = async (t: ExecutionContext, closeTimeoutMs: number) => {
    const running = await subject.start(t, (_request, response) => response.write('begun'), {
      closeTimeoutMs,
    });
    const client = await running.connect();
    await client.send(get('/'));
    await client.readUntil('begun');
    return { ...running, client };
  };

  test(`${name}: close() destroys what is still open after closeTimeoutMs`, async (t) => {
    const { server, client } = await openStream(t, 100);
    const sinceMs = performance.now();
    await new Promise((resolve) => server.close(resolve));
    t.true(performance.now() - sinceMs >= 99);
    await untilCutOff(client);
  });

  test(`${name}: close() waits for ever with closeTimeoutMs: 0`, async (t) => {
    const { server, client } = await openStream(t, 0);
    let isClosed = false;
    const closed = new Promise<void>((resolve) => {
      server.close(() => {
        isClosed = true;
        resolve();
      });
    });
    await delay(100);
    t.false(isClosed);
    await client.close();
    (server as HandoverServer).destroy();
    await closed;
  });

  test(`${name}: destroy() stops at once, and is idempotent`, async (t) => {
    const { server, client } = await openStream(t, 30_000);
    const handoverServer = server as HandoverServer;
    let closes = 0;
    server.on('close', () => closes++);
    const closed = once(server, 'close');
    t.true(handoverServer.destroy() === handoverServer);
    handoverServer.destroy();
    t.false(server.listening);
    await closed;
    handoverServer.destroy();
    await untilCutOff(client);
    t.is(closes, 1);
  });

  test(`${name}: a client over maxConnections is told so`, async (t) => {
    const { server, connect } = await subject.start(t, (_request, response) => response.write('begun'));
    server.maxConnections = 1;
    const first = await connect();
    await first.send(get('/'));
    await first.readUntil('begun');
    const second = await connect();
    await second.send(get('/'));
    // This gateway has no answers of its own; the front door and nginx do.
    if (subject.isFrontDoor || subject.isRelay) t.is((await readAnswer(second)).status, 503);
    else await t.throwsAsync(readAnswer(second));
  });
}

for (const [what, args] of Object.entries({
  'listen()': [],
  'listen(0)': [0],
  "listen('8080')": ['8080'],
  'listen({ port })': [{ port: 8080 }],
  'listen({ host })': [{ host: 'localhost' }],
  'listen(callback)': [() => {}],
  "listen('')": [''],
  'listen(null)': [null],
})) {
  test(`${what} throws BKR_ERR_LISTEN_ADDRESS: clients do not come by TCP here`, (t) => {
    const server = createServer();
    t.throws(() => server.listen(...args), { code: 'BKR_ERR_LISTEN_ADDRESS' });
    t.false(server.listening);
    t.is(server.listenerCount('listening'), 1);
  });
}

test('a path the kernel would cut off is ENAMETOOLONG', async (t) => {
  const server = createServer();
  const error = once(server, 'error');
  server.listen({ path: `${temporaryPath(t)}${'x'.repeat(120)}` });
  t.is((await error)[0].code, 'ENAMETOOLONG');
});

for (const subject of handovers) {
  test(`${subject.name}: abstract paths work on every Node.js`, async (t) => {
    const path = `\0fdpass-contract-${process.pid}-${subject.name}`;
    const server = subject.create({}, (_request, response) => response.end('served'));
    server.listen({ path });
    await once(server, 'listening');
    t.is(server.address(), path);
    const { connect } = await subject.reach(t, path);
    const client = await connect();
    t.is((await exchange(client, get('/'))).body, 'served');
    await client.close();
    await new Promise((resolve) => server.close(resolve));
  });
}

test('clients of another listener can be given to it, as to any http.Server', async (t) => {
  const path = temporaryPath(t);
  const server = createServer((request, response) => {
    t.throws(() => connectionInfo(request), { code: 'BKR_ERR_NO_CONNECTION_INFO' });
    response.end(`${request.url} of ${request.socket.remoteAddress}`);
  });
  server.listen({ path });
  await once(server, 'listening');
  const tcp = createTcpServer((socket) => server.emit('connection', socket)).listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  const client = await RawClient.connect((tcp.address() as AddressInfo).port);
  t.is((await exchange(client, get('/1'))).body, '/1 of 127.0.0.1');
  t.is((await exchange(client, get('/2'))).headers.connection, 'keep-alive');
  await client.close();
  await Promise.all([
    new Promise((resolve) => tcp.close(resolve)),
    new Promise((resolve) => server.close(resolve)),
  ]);
});

test('await using a server that does not listen does nothing', async (t) => {
  await t.notThrowsAsync(createServer()[Symbol.asyncDispose]());
});

test('it cannot listen again before it has closed', async (t) => {
  const path = temporaryPath(t);
  const server = createServer();
  server.listen({ path });
  await once(server, 'listening');
  const closed = once(server, 'close');
  server.close();
  t.throws(() => server.listen({ path }), { code: 'ERR_SERVER_ALREADY_LISTEN' });
  await closed;
  server.listen({ path });
  await once(server, 'listening');
  await server[Symbol.asyncDispose]();
  t.pass();
});
