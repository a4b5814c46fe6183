// What a server is before and beside its connections: its class, its defaults and options, how many connections it has and lets in.
import { createServer as createHttpServer, Server as HttpServer, type RequestListener } from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import test from 'ava';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { serverSubjects, subjects } from './subjects.js';

guardDescriptors(test);

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const served: RequestListener = (_request, response) => response.end('served');

for (const subject of serverSubjects) {
  const { name } = subject;

  test(`${name}: it is an http.Server and a net.Server with their defaults`, (t) => {
    const server = subject.create({ keepAlive: false });
    t.true(server instanceof HttpServer);
    t.true(server instanceof NetServer);
    const control = createHttpServer();
    for (const property of [
      'timeout',
      'keepAliveTimeout',
      'headersTimeout',
      'requestTimeout',
      'maxHeadersCount',
      'maxRequestsPerSocket',
      'maxConnections',
      'httpAllowHalfOpen',
      'listening',
      'connectionsCheckingInterval',
      'noDelay',
      'keepAlive',
      'keepAliveInitialDelay',
      'allowHalfOpen',
      'requireHostHeader',
    ] as const) {
      t.deepEqual(Reflect.get(server, property), Reflect.get(control, property), property);
    }
    t.is(server.address(), null);
  });

  test(`${name}: options of http.createServer are the server's`, (t) => {
    const options = {
      keepAliveTimeout: 1,
      headersTimeout: 2,
      requestTimeout: 3,
      connectionsCheckingInterval: 4,
      requireHostHeader: false,
      noDelay: false,
      keepAlive: true,
      keepAliveInitialDelay: 5000,
      highWaterMark: 6,
      joinDuplicateHeaders: true,
      insecureHTTPParser: false,
      maxHeaderSize: 7,
    };
    const server = subject.create(options);
    const control = createHttpServer(options);
    for (const property of Object.keys(options)) {
      t.deepEqual(Reflect.get(server, property), Reflect.get(control, property), property);
    }
    t.throws(() => subject.create({ headersTimeout: -1 }), { code: 'ERR_OUT_OF_RANGE' });
    t.throws(() => subject.create({ requestTimeout: 10, headersTimeout: 20 }), { code: 'ERR_OUT_OF_RANGE' });
    t.throws(() => subject.create({ insecureHTTPParser: 'yes' as never }), { code: 'ERR_INVALID_ARG_TYPE' });
  });
}

for (const subject of subjects) {
  const { name } = subject;

  test(`${name}: getConnections counts, connection by connection`, async (t) => {
    const answers: (() => unknown)[] = [];
    const { server, connect } = await subject.start(t, (_request, response) => {
      answers.push(() => response.end('served'));
    });
    const count = (): Promise<number> =>
      new Promise((resolve, reject) => {
        const returned = server.getConnections((error, number) => (error ? reject(error) : resolve(number)));
        t.true(returned === (server as unknown));
      });
    t.is(await count(), 0);
    for (const expected of [1, 2, 3]) {
      const client = await connect();
      await client.send(GET);
      await until('the request came', () => answers.length === expected);
      t.is(await count(), expected);
    }
  });

  test(`${name}: maxConnections drops those above it, with 'drop', until there is room`, async (t) => {
    const drops: (Record<string, unknown> | undefined)[] = [];
    const sockets: Socket[] = [];
    const { server, port, connect } = await subject.start(t, (request, response) => {
      sockets.push(request.socket);
      if (request.url === '/first') response.write('begun');
      else response.end('served');
    });
    server.maxConnections = 1;
    server.on('drop', (drop) => drops.push(drop as never));
    const first = await connect();
    await first.send(GET.replace('GET /', 'GET /first'));
    await first.readUntil('begun');
    const dropped = await connect();
    await dropped.send(GET);
    const answer = await readAnswer(dropped).catch(() => undefined);
    t.not(answer?.body, 'served');
    // A front door that is refused asks once more.
    t.true(drops.length === 1 || (subject.isFrontDoor && drops.length === 2));
    for (const drop of drops) {
      t.deepEqual(
        { ...drop },
        {
          localAddress: '127.0.0.1',
          localPort: port,
          localFamily: 'IPv4',
          remoteAddress: '127.0.0.1',
          remotePort: dropped.socket.localPort,
          remoteFamily: 'IPv4',
        },
      );
    }
    first.socket.resetAndDestroy();
    await until(
      'the first is gone',
      () => sockets[0]?.destroyed === true || void sockets[0]?.write('x') === null,
    );
    t.is((await exchange(await connect(), GET)).body, 'served');
  });

  test(`${name}: a socket destroyed by a listener to 'connection' is none of the others' business`, async (t) => {
    const { server, connect } = await subject.start(t, served);
    server.once('connection', (socket: Socket) => socket.destroy());
    const client = await connect();
    await client.send(GET);
    await client.readToEnd();
    t.notRegex(client.received, /served/);
    t.is((await exchange(await connect(), GET)).body, 'served');
  });
}
