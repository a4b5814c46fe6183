// A client that is still sending when its answer is complete gets that answer: the connection is drained for a bounded time
// instead of being reset.
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { openGateway } from '#runtime/testing/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, type HandOverOptions, handOver } from '../helpers/hand-over.js';
import { RawClient } from '../helpers/raw-client.js';
import { type Handler, serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];
const BODY = Buffer.alloc(10_000_000, 'x');
const tooLarge: Handler = (_request, response) => {
  response.statusCode = 413;
  response.end('too large');
};

/** An upload of 10 MB of which nothing was read yet. */
const upload = (path: string, kind: HandoverKind, options: HandOverOptions = {}): Promise<HandedClient> =>
  handOver(path, {
    kind,
    method: 'POST',
    bodyBytes: BODY.length,
    ...options,
    headers: { HTTP_CONTENT_LENGTH: String(BODY.length), ...options.headers },
  });

/** Sends all of it, and reads only then: of a connection that was reset meanwhile there would be nothing left to read. */
async function sendAll(client: HandedClient | RawClient): Promise<string> {
  const { socket } = client instanceof RawClient ? client : client.answer;
  socket.pause();
  await client.send(BODY);
  socket.resume();
  return client.readToEnd();
}

const isTooLarge = /^(?:HTTP\/1\.1|Status:) 413 .*too large$/s;

for (const kind of KINDS) {
  test.serial(
    `${kind}: 30 of 30 clients that send 10 MB get the 413 they were answered at once`,
    async (t) => {
      const { path, server } = await serve(t, {}, tooLarge);
      for (let round = 0; round < 6; round++) {
        const clients = await Promise.all(Array.from({ length: 5 }, () => upload(path, kind)));
        for (const answer of await Promise.all(clients.map(sendAll))) t.regex(answer, isTooLarge);
        for (const client of clients) t.is(client.answer.error, undefined);
      }
      await until('all are closed', () => server.stats().connections === 0);
    },
  );
}

for (const [kind, version] of [
  ['full', 1],
  ['full', 0],
  ['partial', 1],
  ['partial', 0],
] as const) {
  test.serial(`${kind}, version ${version}, behind a gateway: the same`, async (t) => {
    const { server } = await serve(t, {}, tooLarge);
    const gateway = await openGateway(server, { kind, version });
    t.teardown(() => gateway.close());
    for (let round = 0; round < 10; round++) {
      const client = await RawClient.connect(gateway.port);
      await client.send(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${BODY.length}\r\n\r\n`);
      t.regex(await sendAll(client), isTooLarge);
    }
  });
}

interface Rejection {
  status: number;
  options?: HandOverOptions;
  kinds?: readonly HandoverKind[];
  middleware?: number;
}

const rejections: Record<string, Rejection> = {
  'a middleware that rejects': { status: 429, middleware: 429 },
  'a head that is none': { status: 400, options: { target: '/with a space' } },
  'another HTTP version': {
    status: 505,
    options: { headers: { SERVER_PROTOCOL: 'HTTP/2.0' } },
    kinds: ['full', 'partial'],
  },
  'an upgrade that was relayed': {
    status: 426,
    options: { headers: { HTTP_UPGRADE: 'websocket' } },
    kinds: ['relay'],
  },
};

for (const [title, { status, options = {}, kinds = KINDS, middleware }] of Object.entries(rejections)) {
  for (const kind of kinds) {
    test.serial(`${kind}: ${title}: the ${status} reaches a client that is still sending`, async (t) => {
      const { path, server } = await serve(t, {}, () => t.fail());
      if (middleware !== undefined) server.use((handover) => handover.reject(middleware));
      for (let round = 0; round < 5; round++) {
        const answer = await sendAll(await upload(path, kind, options));
        t.regex(answer, new RegExp(`^(?:HTTP/1\\.1|Status:) ${status} `));
      }
      await until('all are closed', () => server.stats().connections === 0);
    });
  }
}

/** How long the server keeps a connection whose answer is complete, and what its client did meanwhile. */
async function lingers(
  t: ExecutionContext,
  kind: HandoverKind,
  limits: { lingeringTimeMs?: number; lingeringTimeoutMs?: number },
  during: (client: HandedClient) => void,
): Promise<number> {
  const { path, server } = await serve(t, limits, tooLarge);
  const client = await upload(path, kind);
  await client.readUntil('too large');
  const began = performance.now();
  during(client);
  await until('the connection is closed', () => server.stats().connections === 0);
  const tookMs = performance.now() - began;
  await client.close();
  return tookMs;
}

for (const kind of KINDS) {
  test(`${kind}: lingeringTimeoutMs without a byte, and the connection is closed`, async (t) => {
    const tookMs = await lingers(t, kind, { lingeringTimeoutMs: 150 }, () => {});
    t.true(tookMs > 100 && tookMs < 4500, `${tookMs} ms`);
  });

  test(`${kind}: lingeringTimeMs in all, however steadily the client sends`, async (t) => {
    const tookMs = await lingers(t, kind, { lingeringTimeMs: 300, lingeringTimeoutMs: 10_000 }, (client) => {
      const timer = setInterval(() => void client.send('x'), 10);
      t.teardown(() => clearInterval(timer));
    });
    t.true(tookMs > 250 && tookMs < 9000, `${tookMs} ms`);
  });

  test(`${kind}: a byte now and then keeps it open for longer than lingeringTimeoutMs`, async (t) => {
    const tookMs = await lingers(t, kind, { lingeringTimeMs: 1500, lingeringTimeoutMs: 500 }, (client) => {
      const timer = setInterval(() => void client.send('x'), 50);
      t.teardown(() => clearInterval(timer));
    });
    t.true(tookMs > 400 && tookMs < 9000, `${tookMs} ms`);
  });

  test(`${kind}: a client that ends its side is let go at once`, async (t) => {
    const tookMs = await lingers(t, kind, { lingeringTimeoutMs: 20_000 }, (client) => client.end());
    t.true(tookMs < 10_000, `${tookMs} ms`);
  });
}

test('without a body there is nothing to wait for', async (t) => {
  const { path, server } = await serve(t, { lingeringTimeoutMs: 20_000 }, tooLarge);
  for (const kind of KINDS) {
    const client = await handOver(path, { kind });
    await client.readUntil('too large');
    await until('it is closed', () => server.stats().connections === 0, 10_000);
    await client.close();
  }
  t.pass();
});

for (const kind of ['full', 'partial'] as const) {
  test(`${kind}: inside a keep-alive scope the body is thrown away, and the next request is served`, async (t) => {
    const { path } = await serve(t, { keepAlive: { scope: '/' } }, tooLarge);
    const client = await upload(path, kind);
    await client.readUntil('too large');
    await client.send(BODY);
    await client.send('GET / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n');
    t.is((await client.readToEnd()).match(/too large/g)?.length, 2);
  });
}

test('destroy() does not wait for connections that linger', async (t) => {
  const { path, server } = await serve(t, { lingeringTimeMs: 60_000, lingeringTimeoutMs: 60_000 }, tooLarge);
  server.use((handover, next) => (handover.info.variables.REJECT ? handover.reject(403) : next()));
  const clients = [await upload(path, 'full'), await upload(path, 'partial', { headers: { REJECT: '1' } })];
  for (const client of clients) await client.readUntil('\r\n\r\n');
  server.destroy();
  for (const client of clients) await client.readToEnd();
  t.is(server.stats().connections, 0);
});

test('close() waits for connections that linger, within their limits', async (t) => {
  const { path, server } = await serve(t, { lingeringTimeoutMs: 150 }, tooLarge);
  const client = await upload(path, 'full');
  await client.readUntil('too large');
  const began = performance.now();
  await new Promise((resolve) => server.close(resolve));
  t.true(performance.now() - began < 4500);
  await client.close();
});
