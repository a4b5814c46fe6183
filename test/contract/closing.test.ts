// How a server stops: close() and its callback, what it waits for and what it does not, the connections closed by hand, and that
// it can listen again.
import { once } from 'node:events';
import type { RequestListener, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { exchange, readAnswer, readAnswers } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import type { RawClient } from '../helpers/raw-client.js';
import { until } from '../helpers/until.js';
import {
  connectionSubjects,
  type Subject,
  serverSubjects,
  stop,
  subjects,
  temporaryPath,
} from './subjects.js';

guardDescriptors(test);

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const served: RequestListener = (_request, response) => response.end('served');

/** What a client gets that comes when nobody listens: at most an answer of the web server's. */
async function statusOf(connect: () => Promise<RawClient>): Promise<number | undefined> {
  const client = await connect().catch(() => undefined);
  try {
    return client === undefined ? undefined : (await exchange(client, GET)).status;
  } catch {
    return undefined;
  } finally {
    await client?.close();
  }
}

/** Calls close() and records what comes of it, in order. */
function close(server: Server): { events: string[]; done: Promise<unknown> } {
  const events: string[] = [];
  server.on('close', () => events.push('close'));
  const done = new Promise<void>((resolve) => {
    const returned = server.close((error) => {
      events.push(`callback ${(error as NodeJS.ErrnoException | undefined)?.code}`);
      resolve();
    });
    if (returned !== server) events.push('not chainable');
  });
  return { events, done };
}

/** A server whose answers are ended by the test. */
async function heldServer(t: ExecutionContext, subject: Subject) {
  const held: (() => void)[] = [];
  const running = await subject.start(t, (request, response) => {
    if (request.url === '/at-once') return void response.end('at once');
    response.setHeader('Content-Length', 'begun and ended'.length).write('begun ');
    return void held.push(() => response.end('and ended'));
  });
  return { ...running, held };
}

for (const subject of subjects) {
  const { name } = subject;

  test(`${name}: close() waits for an answer under way, which arrives whole`, async (t) => {
    const { server, connect, held } = await heldServer(t, subject);
    const client = await connect();
    await client.send(GET);
    await client.readUntil('begun');
    const { events, done } = close(server);
    t.false(server.listening);
    const count = await new Promise((resolve) => server.getConnections((_error, number) => resolve(number)));
    t.is(count, 1);
    t.not(await statusOf(connect), 200);
    t.deepEqual(events, []);
    held[0]?.();
    t.is((await readAnswer(client)).body, 'begun and ended');
    await client.close();
    await done;
    t.deepEqual(events, ['close', 'callback undefined']);
  });

  test(`${name}: close() again has ERR_SERVER_NOT_RUNNING for its callback, and changes nothing`, async (t) => {
    const { server, connect, held } = await heldServer(t, subject);
    const client = await connect();
    await client.send(GET);
    await client.readUntil('begun');
    const first = close(server);
    const second = close(server);
    held[0]?.();
    await readAnswer(client);
    await client.close();
    await Promise.all([first.done, second.done]);
    t.is(first.events.filter((event) => event.startsWith('callback')).join(), 'callback undefined');
    t.is(
      second.events.filter((event) => event.startsWith('callback')).join(),
      'callback ERR_SERVER_NOT_RUNNING',
    );
  });

  test(`${name}: close() in a listener lets that answer out`, async (t) => {
    const { server, connect } = await subject.start(t, (_request, response) => {
      server.close();
      response.end('last words');
    });
    const closed = once(server, 'close');
    const client = await connect();
    t.is((await exchange(client, GET)).body, 'last words');
    await client.close();
    await closed;
    t.false(server.listening);
  });

  test(`${name}: closeAllConnections() cuts answers off`, async (t) => {
    const { server, connect, held } = await heldServer(t, subject);
    const client = await connect();
    await client.send(GET);
    await client.readUntil('begun');
    t.is(held.length, 1);
    server.closeAllConnections();
    await t.throwsAsync(readAnswer(client));
    t.true(server.listening);
    t.is((await exchange(await connect(), GET.replace('GET /', 'GET /at-once'))).body, 'at once');
  });

  test(`${name}: await using closes`, async (t) => {
    const { server, connect } = await subject.start(t, served);
    const client = await connect();
    t.is((await exchange(client, GET)).body, 'served');
    await client.close();
    let closes = 0;
    server.on('close', () => closes++);
    await server[Symbol.asyncDispose]();
    t.is(closes, 1);
    t.false(server.listening);
  });
}

for (const subject of connectionSubjects) {
  const { name } = subject;

  test(`${name}: close() closes idle connections at once`, async (t) => {
    const { server, connect } = await subject.start(t, served);
    const client = await connect();
    t.is((await exchange(client, GET)).headers.connection, 'keep-alive');
    const { events, done } = close(server);
    t.is(await client.readToEnd(), '');
    await done;
    t.is(client.error, undefined);
    t.deepEqual(events, ['close', 'callback undefined']);
  });

  test(`${name}: close() lets out every answer to what was pipelined before`, async (t) => {
    const { server, connect, held } = await heldServer(t, subject);
    const client = await connect();
    await client.send(GET.repeat(3));
    await until('three requests came', () => held.length === 3);
    const { done } = close(server);
    for (const end of held) end();
    t.is((await readAnswers(client, 3)).filter(({ body }) => body === 'begun and ended').length, 3);
    await client.close();
    await done;
  });

  test(`${name}: closeIdleConnections() spares those that are busy`, async (t) => {
    const { server, connect, held } = await heldServer(t, subject);
    const [idle, busy] = (await Promise.all([connect(), connect()])) as [RawClient, RawClient];
    await exchange(idle, GET.replace('GET /', 'GET /at-once'));
    await busy.send(GET);
    await busy.readUntil('begun');
    server.closeIdleConnections();
    t.is(await idle.readToEnd(), '');
    held[0]?.();
    t.is((await readAnswer(busy)).body, 'begun and ended');
    t.is((await exchange(busy, GET.replace('GET /', 'GET /at-once'))).body, 'at once');
  });

  test(`${name}: close() waits for upgraded sockets, closeAllConnections() does not know them`, async (t) => {
    let upgraded: Duplex | undefined;
    const { server, connect } = await subject.start(t, undefined, {}, (each) => {
      each.on('upgrade', (_request, socket) => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
        socket.on('data', (bytes) => socket.write(bytes));
        socket.on('end', () => socket.end());
        upgraded = socket;
      });
    });
    const client = await connect();
    await client.send('GET / HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    await client.readUntil('\r\n\r\n');
    const { events, done } = close(server);
    server.closeAllConnections();
    await client.send('still there');
    await client.readUntil('still there');
    t.deepEqual(events, []);
    t.false(upgraded?.destroyed);
    client.socket.end();
    await client.readToEnd();
    await done;
    t.deepEqual(events, ['close', 'callback undefined']);
  });
}

for (const subject of serverSubjects) {
  const { name } = subject;

  test(`${name}: close() of a server that does not listen has ERR_SERVER_NOT_RUNNING`, async (t) => {
    const server = subject.create({});
    const { events, done } = close(server);
    await done;
    t.deepEqual(events, ['close', 'callback ERR_SERVER_NOT_RUNNING']);
    t.notThrows(() => server.close());
  });

  test(`${name}: it listens and serves again after close(), with its timeouts`, async (t) => {
    const path = temporaryPath(t);
    const { connect } = await subject.reach(t, path);
    const server = subject.create({ headersTimeout: 500, connectionsCheckingInterval: 20 }, served);
    t.teardown(() => stop(server));
    for (let round = 0; round < 3; round++) {
      server.listen({ path });
      await once(server, 'listening');
      const client = await connect();
      t.teardown(() => client.close());
      t.is((await exchange(client, GET)).body, 'served');
      if (round === 2 && !subject.isRelay) {
        await client.send('GET /half');
        t.regex(await client.readToEnd(), /^HTTP\/1\.1 408 /);
      }
      await client.close();
      await new Promise((resolve) => server.close(resolve));
      t.not(await statusOf(connect), 200);
    }
  });

  test(`${name}: it listens again in the callback of close()`, async (t) => {
    const path = temporaryPath(t);
    const server = subject.create({}, served);
    t.teardown(() => stop(server));
    server.listen({ path });
    await once(server, 'listening');
    await new Promise<void>((resolve) => server.close(() => server.listen({ path }, resolve)));
    const { connect } = await subject.reach(t, path);
    t.is(await statusOf(connect), 200);
  });
}
