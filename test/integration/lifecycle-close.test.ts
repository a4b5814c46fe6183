// close(): every answer under way finishes, idle connections end, what waits in the queue is served or refused by its version,
// and what takes longer than closeTimeoutMs is destroyed.
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { acceptedFd, ClientSource } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { Held } from '../helpers/held-responses.js';
import type { RawClient } from '../helpers/raw-client.js';
import { type Served, serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import { versionOne, versionZero, WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];
const SECOND = 'GET /second HTTP/1.1\r\nHost: example.test\r\n\r\n';

/** Records when the server has closed. */
function closing({ server }: Served): { done: boolean } {
  const state = { done: false };
  server.once('close', () => {
    state.done = true;
  });
  return state;
}

for (const kind of KINDS) {
  test(`${kind}: close() waits for the answer under way, which says Connection: close`, async (t) => {
    const held = new Held();
    const served = await serve(t, { keepAlive: { scope: '/' } }, held.handler);
    const client = await handOver(served.path, { kind });
    const response = await held.next();
    const state = closing(served);
    served.server.close();
    await nextTurn();
    t.false(state.done);
    response.end('done');
    const answer = await client.readToEnd();
    if (kind === 'relay') t.regex(answer, /^Status: 200 OK\r\n/);
    else t.regex(answer, /^HTTP\/1\.1 200 OK\r\n(.+\r\n)*Connection: close\r\n/);
    t.regex(answer, /done$/);
    await until('the server is closed', () => state.done);
  });

  test(`${kind}: close() waits for an answer that has begun`, async (t) => {
    const held = new Held();
    const served = await serve(t, { keepAlive: { scope: '/' } }, held.handler);
    const client = await handOver(served.path, { kind });
    const response = await held.next();
    response.write('begun, ');
    await client.readUntil('begun, ');
    const state = closing(served);
    served.server.close();
    response.end('and ended');
    t.regex(await client.readToEnd(), /and ended/);
    await until('the server is closed', () => state.done);
  });
}

for (const kind of ['full', 'partial'] as const) {
  test(`${kind}: close() ends connections that are idle between requests`, async (t) => {
    const served = await serve(t, { keepAlive: { scope: '/' } });
    const clients = await Promise.all(Array.from({ length: 5 }, () => handOver(served.path, { kind })));
    for (const client of clients) await client.readUntil('served');
    const began = performance.now();
    const state = closing(served);
    served.server.close();
    for (const client of clients) await client.readToEnd();
    await until('the server is closed', () => state.done);
    t.true(performance.now() - began < 4500);
  });

  test(`${kind}: requests pipelined before close() all get their answer, the last says Connection: close`, async (t) => {
    const held = new Held();
    const served = await serve(t, { keepAlive: { scope: '/' } }, held.handler);
    const client = await handOver(served.path, { kind });
    await client.send(SECOND);
    const second = await held.next(2);
    served.server.close();
    // A third one comes too late.
    await client.send(SECOND);
    (await held.next(1)).end('first.');
    second.end('second.');
    const answer = await client.readToEnd();
    t.regex(
      answer,
      /^HTTP\/1\.1 200 OK\r\n(?:.+\r\n)*\r\nfirst\.HTTP\/1\.1 200 OK\r\n(?:.+\r\n)*\r\nsecond\.$/,
    );
    t.deepEqual(answer.match(/^Connection: .*$/gm), ['Connection: keep-alive', 'Connection: close']);
    t.is(held.responses.length, 2);
  });

  test(`${kind}: a request body under way when close() is called is read to its end`, async (t) => {
    let body = '';
    const served = await serve(t, { keepAlive: { scope: '/' } }, async (request, response) => {
      for await (const chunk of request) body += chunk;
      response.end('read');
    });
    const client = await handOver(served.path, {
      kind,
      method: 'POST',
      headers: { HTTP_CONTENT_LENGTH: '10' },
      earlyBytes: '01234',
    });
    await until('the request is there', () => served.server.stats().connections === 1);
    await nextTurn();
    served.server.close();
    await client.send('56789');
    t.regex(await client.readToEnd(), /Connection: close\r\n(?:.+\r\n)*\r\nread$/);
    t.is(body, '0123456789');
  });
}

test('what waits in the accept queue: the public dialect is served, version 1 is refused', async (t) => {
  const served = await serve(t);
  const source = new ClientSource();
  const senders: WireSender[] = [];
  const clients: { client: RawClient; version: 0 | 1 }[] = [];
  const accepted = [];
  for (let nth = 0; nth < 40; nth++) accepted.push(await source.next());
  source.close();
  // From here to close() nothing may be awaited: the loop must not turn.
  for (const [nth, { fd, client }] of accepted.entries()) {
    const version = (nth % 2) as 0 | 1;
    const sender = new WireSender(served.path);
    sender.sendAtOnce(version === 0 ? versionZero() : versionOne(), fd);
    senders.push(sender);
    clients.push({ client, version });
  }
  const state = closing(served);
  served.server.close();
  t.throws(() => new WireSender(served.path), { code: 'ENOENT' });
  for (const [nth, sender] of senders.entries()) t.is(await sender.answer(), nth % 2 === 0 ? '' : '\x15');
  for (const { fd } of accepted) native.closeFd(fd);
  for (const { client, version } of clients) {
    // The sender still holds the client it was refused with; here it lets go of it.
    t.regex(await client.readToEnd(), version === 0 ? /served$/ : /^$/);
  }
  await until('the server is closed', () => state.done);
  t.is(served.server.stats().refused, 20);
  t.is(served.server.stats().full, 20);
  for (const sender of senders) sender.close();
});

test('a message that is half there when close() is called may still come to its end', async (t) => {
  const served = await serve(t);
  const fd = await acceptedFd(t);
  const sender = new WireSender(served.path);
  const message = versionZero();
  await sender.send(message.subarray(0, 20), fd);
  await sender.isRead();
  const state = closing(served);
  served.server.close();
  await nextTurn();
  t.false(state.done);
  await sender.send(message.subarray(20));
  await until('the server is closed', () => state.done);
  t.is(served.server.stats().full, 1);
  sender.close();
});

test('senders that never finish their message do not hold close() up for longer than their deadline', async (t) => {
  const served = await serve(t, { messageTimeoutMs: 100 });
  const senders = Array.from({ length: 3 }, () => new WireSender(served.path));
  await until('they are accepted', () => served.server.stats().pending === 3);
  const began = performance.now();
  served.server.close();
  await once(served.server, 'close');
  t.true(performance.now() - began < 4500);
  t.deepEqual(served.errors, Array(3).fill('FDPASS_ERR_TIMEOUT'));
  for (const sender of senders) sender.close();
});

test('a handover that is still with its middleware is served before the server closes', async (t) => {
  const served = await serve(t);
  let goOn = (): void => {};
  served.server.use((_handover, next) => {
    goOn = next;
  });
  const client = await handOver(served.path);
  await until('the middleware has it', () => served.server.stats().connections === 1);
  const state = closing(served);
  served.server.close();
  await nextTurn();
  t.false(state.done);
  goOn();
  t.regex(await client.readToEnd(), /Connection: close\r\n(?:.+\r\n)*\r\nserved$/);
  await until('the server is closed', () => state.done);
});

test('closeTimeoutMs: what is still open is destroyed, upgraded connections among it', async (t) => {
  const held = new Held();
  const served = await serve(t, { closeTimeoutMs: 150, keepAlive: { scope: '/' } }, held.handler);
  served.server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  const upgraded = await handOver(served.path, {
    headers: { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'echo' },
  });
  await upgraded.readUntil('\r\n\r\n');
  await upgraded.send('ping');
  await upgraded.readUntil('ping');
  const waiting = await handOver(served.path);
  await held.next();
  const began = performance.now();
  served.server.close();
  await upgraded.send('pong');
  await upgraded.readUntil('pong');
  await Promise.all([upgraded.readToEnd(), waiting.readToEnd(), once(served.server, 'close')]);
  const tookMs = performance.now() - began;
  t.true(tookMs > 140 && tookMs < 20_000, `${tookMs} ms`);
  t.is(waiting.received, '');
  t.is(served.server.stats().connections, 0);
});

test('an upgraded connection that ends lets the server close before the deadline', async (t) => {
  const served = await serve(t);
  served.server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.on('end', () => socket.end()).resume();
  });
  const client = await handOver(served.path, {
    headers: { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'echo' },
  });
  await client.readUntil('\r\n\r\n');
  const state = closing(served);
  served.server.close();
  await nextTurn();
  t.false(state.done);
  client.end();
  await until('the server is closed', () => state.done);
  await client.close();
});

test('a request that is there already when the server closes is answered, and says that it is the last', async (t) => {
  const { server, path } = await serve(t, { keepAlive: { scope: '/' } });
  // As our module sends it: then its connection is kept without a socket.
  const client = await handOver(path, { headers: { SERVER_PROTOCOL: 'HTTP/1.1' } });
  await client.readUntil('served');
  // The kernel has it at once; the server has not looked yet.
  const sent = client.send('GET /2 HTTP/1.1\r\nHost: example.test\r\n\r\n');
  server.close();
  await sent;
  const answers = await client.readToEnd();
  t.is(answers.match(/served/g)?.length, 2);
  t.regex(answers.slice(answers.lastIndexOf('HTTP/1.1')), /Connection: close/i);
});
