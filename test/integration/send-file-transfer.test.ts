// How sendFile() moves a file: large ones byte for byte, to slow clients, many at once, past 4 GiB, and while the server closes.
import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type HandoverServerOptions, sendFile } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { type Served, serve, temporaryFolder } from '../helpers/serve.js';
import { unlessStalled } from '../helpers/unless-stalled.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];
const MIB = 1024 * 1024;

interface Fixture extends Served {
  file: string;
  sha256: string;
  /** How each call of sendFile ended: 'done' or its error's code. */
  endings: string[];
}

/** A server whose route /file sends a file of random bytes, and every other one says 'served'. */
async function start(
  t: ExecutionContext,
  bytes: number,
  options: HandoverServerOptions = { keepAlive: { scope: '/' } },
): Promise<Fixture> {
  const file = join(await temporaryFolder(t), 'file');
  const content = randomFillSync(Buffer.allocUnsafe(bytes));
  await writeFile(file, content);
  const endings: string[] = [];
  const served = await serve(t, options, (request, response) => {
    if (request.url !== '/file') return response.end('served');
    return sendFile(response, file).then(
      () => endings.push('done'),
      (error: NodeJS.ErrnoException) => {
        endings.push(error.code ?? '');
        response.destroy();
      },
    );
  });
  return { ...served, file, sha256: createHash('sha256').update(content).digest('hex'), endings };
}

const CLOSE = { HTTP_CONNECTION: 'close' };

/** Reads one answer to the end of the connection without keeping its body. */
async function digest(
  client: HandedClient,
  pauseMs = 0,
): Promise<{ head: string; bytes: number; sha256: string }> {
  const { socket } = client.answer;
  socket.removeAllListeners('data');
  const hash = createHash('sha256');
  let head = '';
  let bytes = 0;
  let isBody = false;
  const take = (chunk: Buffer): void => {
    if (!isBody) {
      head += chunk.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end === -1) return;
      isBody = true;
      chunk = Buffer.from(head.slice(end + 4), 'latin1');
      head = head.slice(0, end);
    }
    hash.update(chunk);
    bytes += chunk.length;
  };
  let taken = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    take(chunk);
    taken += chunk.length;
    if (pauseMs > 0 && taken > 2 * MIB) {
      taken = 0;
      await delay(pauseMs);
    }
  }
  await client.close();
  return { head, bytes, sha256: hash.digest('hex') };
}

for (const kind of KINDS) {
  test.serial(`${kind}: 64 MiB arrive byte for byte at a client that reads in fits and starts`, async (t) => {
    const { path, sha256, endings } = await start(t, 64 * MIB);
    const client = await handOver(path, { kind, target: '/file', headers: CLOSE });
    const answer = await digest(client, 10);
    t.is(answer.bytes, 64 * MIB);
    t.is(answer.sha256, sha256);
    t.regex(answer.head, /Content-Length: 67108864/i);
    await until('the call has ended', () => endings.length === 1);
    t.deepEqual(endings, ['done']);
  });

  test.serial(`${kind}: a piece past 4 GiB`, async (t) => {
    const file = join(await temporaryFolder(t), 'sparse');
    const handle = await open(file, 'w');
    const offset = 4.5 * 1024 * MIB;
    await handle.write('past four gigabytes', offset);
    await handle.close();
    const { path } = await serve(t, {}, (_request, response) => sendFile(response, file));
    const client = await handOver(path, { kind, headers: { HTTP_RANGE: `bytes=${offset - 2}-` } });
    const answer = await client.readToEnd();
    t.regex(answer, new RegExp(`^Content-Range: bytes ${offset - 2}-${offset + 18}/${offset + 19}`, 'm'));
    t.true(answer.endsWith('\r\n\r\n\0\0past four gigabytes'));
  });

  test.serial(
    `${kind}: 24 downloads at once all arrive, and a small request among them does not wait for them`,
    async (t) => {
      const { path, sha256 } = await start(t, 4 * MIB);
      const slow = await Promise.all(
        Array.from({ length: 24 }, () => handOver(path, { kind, target: '/file', headers: CLOSE })),
      );
      for (const client of slow) client.answer.socket.pause();
      // All of them are under way and wait for their clients.
      await delay(50);
      const quick = await handOver(path, { kind, headers: CLOSE });
      t.regex(await quick.readToEnd(), /served$/);
      for (const answer of await Promise.all(slow.map((client) => digest(client)))) {
        t.is(answer.bytes, 4 * MIB);
        t.is(answer.sha256, sha256);
      }
    },
  );

  test.serial(`${kind}: a file that grows meanwhile is sent as long as it was`, async (t) => {
    const { path, file, sha256 } = await start(t, 16 * MIB);
    const client = await handOver(path, { kind, target: '/file', headers: CLOSE });
    client.answer.socket.pause();
    await until('it has begun', () => client.answer.socket.readableLength > 0);
    await appendFile(file, Buffer.alloc(MIB));
    const answer = await digest(client);
    t.is(answer.bytes, 16 * MIB);
    t.is(answer.sha256, sha256);
  });

  test.serial(`${kind}: close() lets a download finish`, async (t) => {
    const { path, server, sha256, endings } = await start(t, 16 * MIB);
    const client = await handOver(path, { kind, target: '/file' });
    client.answer.socket.pause();
    await until('it has begun', () => client.answer.socket.readableLength > 0);
    const closing = once(server, 'close');
    server.close();
    t.is((await digest(client)).sha256, sha256);
    await closing;
    await until('the call has ended', () => endings.length === 1);
    t.deepEqual(endings, ['done']);
  });

  test.serial(`${kind}: destroy() ends a download, and the call with it`, async (t) => {
    const { path, server, endings } = await start(t, 16 * MIB);
    const client = await handOver(path, { kind, target: '/file' });
    client.answer.socket.pause();
    await until('it has begun', () => client.answer.socket.readableLength > 0);
    server.destroy();
    await until('the call has ended', () => endings.length === 1);
    t.deepEqual(endings, ['done']);
    await client.close();
  });

  test.serial(
    `${kind}: an idle timeout is put off by every piece, and comes when there is none`,
    async (t) => {
      const { path, server, endings } = await start(t, 48 * MIB);
      server.setTimeout(200);
      // A client that stands still for longer than the rest of the timeout is one that takes nothing.
      const tookMs = await unlessStalled(100, async () => {
        endings.length = 0;
        const moving = await handOver(path, { kind, target: '/file', headers: CLOSE });
        const began = performance.now();
        const { bytes } = await digest(moving, 60);
        if (bytes !== 48 * MIB) throw new Error(`it was closed after ${bytes} bytes`);
        return performance.now() - began;
      });
      t.true(tookMs > 400, 'it takes longer than the timeout');
      const standing = await handOver(path, { kind, target: '/file', headers: CLOSE });
      standing.answer.socket.pause();
      await until('the timeout closes it', () => server.stats().connections === 0, 5000);
      await until('both calls have ended', () => endings.length === 2);
      await standing.close();
    },
  );
}

for (const kind of ['full', 'partial'] as const) {
  test.serial(`${kind}: after a file the connection serves on`, async (t) => {
    const { path } = await start(t, 3 * MIB);
    const file = 'GET /file HTTP/1.1\r\nHost: example.test\r\n\r\n';
    const small = 'GET /small HTTP/1.1\r\nHost: example.test\r\n\r\n';
    const client = await handOver(path, { kind, target: '/file', earlyBytes: small + file });
    await client.send(small + file + small.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    const { head, bytes } = await digest(client);
    t.regex(head, /^HTTP\/1\.1 200 OK\r\n/);
    const answers = 3 * (3 * MIB) + 3 * 'served'.length;
    // The heads of the five answers behind the first are in between.
    t.true(bytes > answers && bytes < answers + 5 * 400, `${bytes - answers} bytes of heads`);
  });
}
