// A client that takes nothing of its answer is closed after sendTimeoutMs, one that takes a little is not; and what the kernel is
// told about clients that are gone without a word.
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type HandoverServerOptions, sendFile } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { ClientSource } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { hasNoSocket } from '../helpers/lean-scene.js';
import { type Handler, serve, temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import { versionZero, WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];
const TOTAL = 40_000_000;
const SEND_TIMEOUT_MS = 1000;

/** How an answer of 40 MB is written. */
const ways: Record<string, Handler> = {
  'one large write': (_request, response) => response.end(Buffer.alloc(TOTAL)),
  'many small writes': async (_request, response) => {
    const pieces = Array.from({ length: TOTAL / 50_000 }, () => Buffer.alloc(50_000));
    await pipeline(Readable.from(pieces), response).catch(() => {});
  },
};

function pauseReading(client: HandedClient): void {
  client.answer.socket.removeAllListeners('data');
  client.answer.socket.pause();
}

for (const kind of KINDS) {
  for (const [way, handler] of Object.entries(ways)) {
    test(`${kind}, ${way}: a client that reads nothing is closed after sendTimeoutMs`, async (t) => {
      const { path, server, errors } = await serve(t, { sendTimeoutMs: SEND_TIMEOUT_MS }, handler);
      const client = await handOver(path, { kind });
      pauseReading(client);
      const began = performance.now();
      await until('the server gives up', () => errors.length > 0);
      const tookMs = performance.now() - began;
      t.true(tookMs >= SEND_TIMEOUT_MS * 0.9, `${tookMs} ms`);
      t.deepEqual(errors, ['BKR_ERR_SEND_TIMEOUT']);
      t.deepEqual(server.stats().errors, { BKR_ERR_SEND_TIMEOUT: 1 });
      await until('the connection is gone', () => server.stats().connections === 0);
      await client.close();
    });
  }

  test(`${kind}: a client that takes a little now and then gets all of it`, async (t) => {
    // Long beside the pauses, for a busy machine; and the whole of the reading is longer still.
    const sendTimeoutMs = 2000;
    const { path, errors } = await serve(t, { sendTimeoutMs }, (_request, response) => {
      response.end(Buffer.alloc(TOTAL));
    });
    const client = await handOver(path, { kind });
    const { socket } = client.answer;
    pauseReading(client);
    let received = 0;
    for (let round = 1; round <= 12; round++) {
      await delay(sendTimeoutMs / 10);
      // Enough for TCP to open its window: it does not for every few bytes (RFC 9293 section 3.8.6.2.2).
      while (received < round * 1_000_000) {
        const chunk = socket.read() as Buffer | null;
        if (chunk === null) await delay(5);
        else received += chunk.length;
      }
    }
    t.deepEqual(errors, []);
    t.true(received < TOTAL);
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    socket.resume();
    await client.readToEnd();
    t.true(received > TOTAL);
    t.deepEqual(errors, []);
  });

  test(`${kind}: a handler that writes slowly is not a client that reads slowly`, async (t) => {
    const { path, errors } = await serve(t, { sendTimeoutMs: 100 }, async (_request, response) => {
      response.write('begun, ');
      await delay(500);
      response.end('ended');
    });
    const client = await handOver(path, { kind });
    t.regex(await client.readToEnd(), /begun, .*ended/s);
    t.deepEqual(errors, []);
  });

  test(`${kind}: sendTimeoutMs 0 waits for ever`, async (t) => {
    const { path, errors, server } = await serve(t, { sendTimeoutMs: 0 }, (_request, response) => {
      response.end(Buffer.alloc(TOTAL));
    });
    const client = await handOver(path, { kind });
    pauseReading(client);
    await until('it is served', () => server.stats().connections === 1);
    await delay(300);
    t.is(server.stats().connections, 1);
    t.deepEqual(errors, []);
    await client.close();
  });
}

test('looking for stalls makes no socket of a connection that is answered without one', async (t) => {
  const withoutSocket: boolean[] = [];
  const options = { sendTimeoutMs: 200, keepAlive: { scope: '/' } };
  const { path, errors } = await serve(t, options, (request, response) => {
    if (request.url === '/large') response.end(Buffer.alloc(TOTAL));
    else {
      withoutSocket.push(hasNoSocket(request));
      response.end('served');
    }
  });
  const client = await handOver(path, { headers: { SERVER_PROTOCOL: 'HTTP/1.1' } });
  await client.readUntil('served');
  const stalled = await handOver(path, { target: '/large' });
  pauseReading(stalled);
  await until('it was looked more than once', () => errors.length === 1);
  await client.send('GET / HTTP/1.1\r\nHost: example.test\r\n\r\n');
  await until('it is served again', () => withoutSocket.length === 2);
  t.deepEqual(withoutSocket, [true, true]);
  await client.close();
  await stalled.close();
});

for (const kind of ['full', 'partial'] as const) {
  test(`${kind}: a client that is turned away behind all that it has not read is closed as well`, async (t) => {
    const { path, server, errors } = await serve(t, { sendTimeoutMs: 300, tcpUserTimeoutMs: 0 }, () =>
      t.fail(),
    );
    server.use((handover) => handover.reject(403));
    const source = new ClientSource();
    const accepted = await source.next();
    source.close();
    accepted.client.socket.pause();
    // The kernel moves what it has to the other side, and then has room again.
    let refusals = 0;
    await until('nothing more fits', () => {
      refusals = native.write(accepted.fd, Buffer.alloc(1_000_000)) === -1 ? refusals + 1 : 0;
      return refusals === 20;
    });
    const client = await handOver(path, { kind, accepted });
    await until('the connection is gone', () => errors.length > 0 && server.stats().connections === 0);
    t.deepEqual(errors, ['BKR_ERR_SEND_TIMEOUT']);
    await client.close();
  });

  test(`${kind}, sendFile: a client that reads nothing is closed, one that takes a little is not`, async (t) => {
    const file = join(await temporaryFolder(t), 'file');
    const handle = await open(file, 'w');
    await handle.truncate(TOTAL);
    await handle.close();
    const ends: string[] = [];
    const { path, errors } = await serve(
      t,
      { sendTimeoutMs: SEND_TIMEOUT_MS },
      async (_request, response) => {
        await sendFile(response, file);
        ends.push('resolved');
      },
    );
    const slow = await handOver(path, { kind });
    pauseReading(slow);
    const stalled = await handOver(path, { kind });
    pauseReading(stalled);
    let received = 0;
    for (let round = 0; round < 9; round++) {
      await delay(SEND_TIMEOUT_MS / 3);
      received += (slow.answer.socket.read() as Buffer | null)?.length ?? 0;
    }
    t.deepEqual(errors, ['BKR_ERR_SEND_TIMEOUT']);
    t.deepEqual(ends, ['resolved']);
    slow.answer.socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    slow.answer.socket.resume();
    await slow.readToEnd();
    t.true(received > TOTAL);
    t.deepEqual(errors, ['BKR_ERR_SEND_TIMEOUT']);
    await until('both have ended', () => ends.length === 2);
    await stalled.close();
  });

  for (const [options, expected] of [
    [{}, 60_000],
    [{ tcpUserTimeoutMs: 4711 }, 4711],
    [{ tcpUserTimeoutMs: 0 }, 0],
  ] as [HandoverServerOptions, number][]) {
    test(`${kind}: TCP_USER_TIMEOUT is ${expected}, and the sender’s settings are undone`, async (t) => {
      const { path, server } = await serve(t, options, (request, response) => {
        const { IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_NODELAY, TCP_CORK } = native.constants;
        const fd = server.connectionOf(request.socket)?.writeFd ?? -1;
        const values = [TCP_USER_TIMEOUT, TCP_NODELAY, TCP_CORK].map((name) =>
          native.getOption(fd, IPPROTO_TCP, name),
        );
        response.end(JSON.stringify(values));
      });
      const client = await handOver(path, { kind });
      t.deepEqual(JSON.parse((await client.readToEnd()).split('\r\n\r\n')[1] ?? ''), [expected, 1, 0]);
    });
  }
}

test('an upgraded connection whose client takes nothing is closed as well', async (t) => {
  const { path, server, errors } = await serve(t, { sendTimeoutMs: SEND_TIMEOUT_MS });
  server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
    socket.write(Buffer.alloc(TOTAL));
  });
  const client = await handOver(path, { headers: { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'bytes' } });
  pauseReading(client);
  await until('the server gives up', () => errors.length > 0);
  t.deepEqual(errors, ['BKR_ERR_SEND_TIMEOUT']);
  await client.close();
});

/** Hands over the near end of a pair of UNIX sockets. @returns the client's end */
async function unixClient(path: string): Promise<number> {
  const [near, far] = native.socketpair();
  const sender = new WireSender(path);
  await sender.send(versionZero(), near);
  sender.close();
  native.closeFd(near);
  return far;
}

const read = (fd: number, bytes: Buffer): number => Math.max(0, native.read(fd, bytes));

for (const [way, handler] of Object.entries(ways)) {
  test(`a client of a UNIX socket, ${way}: closed if it takes nothing, served if it takes a little`, async (t) => {
    const { path, errors } = await serve(t, { sendTimeoutMs: SEND_TIMEOUT_MS }, handler);
    const slow = await unixClient(path);
    const stalled = await unixClient(path);
    // The kernel tells the progress of a UNIX socket in steps of its buffers.
    const bytes = Buffer.alloc(65_536);
    let received = 0;
    for (let round = 0; round < 9; round++) {
      await delay(SEND_TIMEOUT_MS / 3);
      received += read(slow, bytes);
    }
    t.deepEqual(errors, ['BKR_ERR_SEND_TIMEOUT']);
    const large = Buffer.alloc(1_000_000);
    await until('the slow one has it all', () => {
      for (let count = read(slow, large); count > 0; count = read(slow, large)) received += count;
      return received > TOTAL;
    });
    t.deepEqual(errors, ['BKR_ERR_SEND_TIMEOUT']);
    native.closeFd(slow);
    native.closeFd(stalled);
  });

  test(`a client of a UNIX socket, ${way}: however steadily it reads, it is not mistaken for one that does not`, async (t) => {
    const { path, errors } = await serve(t, { sendTimeoutMs: 500 }, handler);
    const client = await unixClient(path);
    const bytes = Buffer.alloc(100_000);
    let received = 0;
    while (received < TOTAL && errors.length === 0) {
      received += read(client, bytes);
      await delay(5);
    }
    t.deepEqual(errors, []);
    native.closeFd(client);
  });
}
