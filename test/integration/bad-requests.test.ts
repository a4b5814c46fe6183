// What is no request, on a connection that is kept: http.Server's own answer to it reaches a client that goes on sending, where
// http.Server itself would reset the connection behind it.
import type { IncomingMessage } from 'node:http';
import { fileURLToPath } from 'node:url';
import { sendFile } from '@fdpass/backend-runtime';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const MUCH = Buffer.alloc(10_000_000, 'x');
const kept = { keepAlive: { scope: '/' } };

for (const kind of ['full', 'partial'] as const) {
  for (const [what, begin, status] of [
    ['a head without end', 'GET / HTTP/1.1\r\nHost: h\r\nX: ', 431],
    ['no HTTP at all', '\0', 400],
  ] as const) {
    test(`${kind}: ${what}, and 10 MB behind it: the ${status} arrives`, async (t) => {
      const { path, server } = await serve(t, kept);
      const client = await handOver(path, { kind });
      await client.readUntil('served');
      client.answer.socket.pause();
      await client.send(Buffer.concat([Buffer.from(begin, 'latin1'), MUCH]));
      client.answer.socket.resume();
      t.regex(
        await client.readToEnd(),
        new RegExp(`servedHTTP/1\\.1 ${status} [\\w ]+\r\nConnection: close\r\n\r\n$`),
      );
      t.is(client.answer.error, undefined);
      await until('it is closed', () => server.stats().connections === 0);
    });
  }

  test(`${kind}: a body that breaks off is answered, its request ends, and nobody lingers`, async (t) => {
    const requests: IncomingMessage[] = [];
    const limits = { lingeringTimeMs: 60_000, lingeringTimeoutMs: 60_000 };
    const { path, server } = await serve(t, { ...kept, ...limits }, (request) => requests.push(request));
    const client = await handOver(path, {
      kind,
      method: 'POST',
      headers: { HTTP_TRANSFER_ENCODING: 'chunked' },
    });
    await until('the request is there', () => requests.length === 1);
    const [request] = requests as [IncomingMessage];
    request.on('error', () => {});
    const hadErrors = Promise.all([
      new Promise((resolve) => request.on('close', resolve)),
      new Promise((resolve) => request.socket.on('close', resolve)),
    ]);
    await client.send('5\r\nhel');
    client.end();
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 400 /);
    t.deepEqual(await hadErrors, [undefined, true]);
    t.true(request.destroyed && !request.complete);
    await until('it is closed', () => server.stats().connections === 0);
  });
}

for (const kind of ['full', 'partial'] as const) {
  test(`${kind}: a request that is under way ends at once, whatever its handler does later`, async (t) => {
    const requests: IncomingMessage[] = [];
    const outcomes: string[] = [];
    const limits = { lingeringTimeMs: 60_000, lingeringTimeoutMs: 60_000 };
    const { path, server } = await serve(t, { ...kept, ...limits }, async (request, response) => {
      request.on('error', () => {});
      requests.push(request);
      await new Promise((resolve) => response.on('close', resolve));
      outcomes.push('closed');
      await sendFile(response, fileURLToPath(import.meta.url));
      outcomes.push('sendFile resolved');
    });
    const client = await handOver(path, {
      kind,
      method: 'POST',
      headers: { HTTP_TRANSFER_ENCODING: 'chunked' },
    });
    await until('the request is there', () => requests.length === 1);
    await client.send('no length\r\n');
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 400 /);
    await until('the handler is done', () => outcomes.length === 2);
    await until('it is closed', () => server.stats().connections === 0);
  });

  test(`${kind}: a file for a client that was turned away meanwhile goes nowhere`, async (t) => {
    const outcomes: string[] = [];
    let turnAway = (): void => {};
    const turnedAway = new Promise<void>((resolve) => {
      turnAway = resolve;
    });
    const { path } = await serve(t, kept, async (_request, response) => {
      await turnedAway;
      await sendFile(response, fileURLToPath(import.meta.url));
      outcomes.push('sendFile resolved');
    });
    const client = await handOver(path, { kind });
    await client.send('\0');
    await client.readToEnd();
    turnAway();
    await until('the handler is done', () => outcomes.length === 1);
    t.pass();
  });
}

test('clients that were turned away keep nobody out, and close() does not forget them', async (t) => {
  const { path, server } = await serve(t, { ...kept, lingeringTimeMs: 1000 });
  server.maxConnections = 2;
  const bad = [await handOver(path), await handOver(path)];
  for (const client of bad) {
    await client.readUntil('served');
    await client.send('\0');
    await client.readUntil('400');
  }
  t.is(server.stats().connections, 2);
  const good = await handOver(path);
  await good.readUntil('served');
  await good.close();
  await new Promise((resolve) => server.close(resolve));
  for (const client of bad) await client.close();
});

test('an answer that has begun is not followed by another one', async (t) => {
  const { path } = await serve(t, kept, (request, response) => {
    request.on('error', () => {});
    response.write('begun');
  });
  const client = await handOver(path, {
    kind: 'full',
    method: 'POST',
    headers: { HTTP_TRANSFER_ENCODING: 'chunked' },
  });
  await client.readUntil('begun');
  await client.send('no length\r\n');
  t.notRegex(await client.readToEnd(), /400/);
});
