// How sendFile() ends when things go otherwise than planned: clients that leave before, during and in the queue, files that
// become shorter. It settles every time, and closes its file once.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sendFile } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { RawClient } from '../helpers/raw-client.js';
import { serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];
const LARGE = 20_000_000;
const SECOND = 'GET /file HTTP/1.1\r\nHost: example.test\r\n\r\n';

async function temporaryFile(t: ExecutionContext, size: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'file.bin');
  await writeFile(path, Buffer.alloc(size, 'x'));
  return path;
}

/** Calls sendFile, and keeps how each call ended: 'done', or the code it was rejected with. */
class Endings extends Array<string> {
  readonly send = (response: ServerResponse, path: string): void => {
    sendFile(response, path).then(
      () => this.push('done'),
      (error: NodeJS.ErrnoException) => this.push(error.code ?? error.message),
    );
  };

  async all(count: number): Promise<readonly string[]> {
    await until(`${count} calls have ended`, () => this.length >= count);
    return this;
  }
}

/** The file is larger than what the kernel takes while a client does not read: some of it is still to be sent. */
async function shorten(file: string, { socket }: RawClient): Promise<void> {
  socket.pause();
  await until('the answer has begun', () => socket.readableLength > 0);
  await truncate(file, 100);
  socket.resume();
}

for (const kind of KINDS) {
  test(`${kind}: a client that leaves in the middle ends the call, and the file is closed once`, async (t) => {
    const file = await temporaryFile(t, LARGE);
    const endings = new Endings();
    const { path } = await serve(t, {}, (_request, response) => endings.send(response, file));
    for (let round = 1; round <= 10; round++) {
      const client = await handOver(path, { kind });
      await client.readUntil('xxxx');
      await client.close();
      await endings.all(round);
    }
    t.deepEqual([...endings], Array(10).fill('done'));
  });

  for (const isKnown of [false, true]) {
    const when = isKnown ? 'and the server knows' : 'just now';
    test(`${kind}: a client that has left before the call, ${when}, ends it`, async (t) => {
      const file = await temporaryFile(t, LARGE);
      const endings = new Endings();
      const { path, server } = await serve(t, {}, (request, response) => {
        const send = (): void => endings.send(response, file);
        request.socket.once('close', async () => {
          if (isKnown) await until('the server knows', () => server.stats().connections === 0);
          send();
        });
        request.socket.destroy();
      });
      const client = await handOver(path, { kind });
      t.deepEqual([...(await endings.all(1))], ['done']);
      await client.close();
    });
  }

  test(`${kind}: a file that becomes shorter ends the connection and rejects the call`, async (t) => {
    const file = await temporaryFile(t, LARGE);
    const endings = new Endings();
    const { path } = await serve(t, {}, (_request, response) => endings.send(response, file));
    const client = await handOver(path, { kind });
    await shorten(file, client.answer);
    t.true((await client.readToEnd()).length < LARGE);
    t.deepEqual([...(await endings.all(1))], ['BKR_ERR_SEND_FILE']);
  });
}

for (const kind of ['full', 'partial'] as const) {
  test(`${kind}: a client that leaves while answers are queued behind another ends every call`, async (t) => {
    const file = await temporaryFile(t, LARGE);
    const endings = new Endings();
    let queued = 0;
    const warnings: string[] = [];
    const warn = ({ name }: Error): void => void warnings.push(name);
    process.on('warning', warn);
    const { path, server } = await serve(t, { keepAlive: { scope: '/' } }, (request, response) => {
      if (request.url !== '/file') return;
      queued++;
      endings.send(response, file);
    });
    const client = await handOver(path, { kind, earlyBytes: SECOND.repeat(20) });
    await until('the other requests are there', () => queued === 20);
    client.answer.socket.resetAndDestroy();
    await client.close();
    t.deepEqual([...(await endings.all(20))], Array(20).fill('done'));
    await until('the connection is closed', () => server.stats().connections === 0);
    process.off('warning', warn);
    t.false(warnings.includes('MaxListenersExceededWarning'));
  });

  test(`${kind}: queued behind another answer, the file comes after it and before the next`, async (t) => {
    const file = await temporaryFile(t, 1000);
    const endings = new Endings();
    const { path } = await serve(t, { keepAlive: { scope: '/' } }, (request, response) => {
      if (request.url === '/file') endings.send(response, file);
      else setTimeout(() => response.end(`<${request.url}>`), 20);
    });
    const client = await handOver(path, {
      kind,
      target: '/1',
      earlyBytes: SECOND + SECOND.replace('/file', '/3'),
    });
    t.regex(await client.readUntil('</3>'), /<\/1>HTTP[^<]+\r\n\r\nx{1000}HTTP[^<]+<\/3>$/);
    await client.close();
  });
}

test('node:http: the same endings where there is no handover', async (t) => {
  const file = await temporaryFile(t, LARGE);
  const endings = new Endings();
  const server = createHttpServer((_request, response) => endings.send(response, file));
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const leaving = await RawClient.connect(port);
  await leaving.send(SECOND);
  await leaving.readUntil('xxxx');
  await leaving.close();
  t.deepEqual([...(await endings.all(1))], ['done']);

  const patient = await RawClient.connect(port);
  await patient.send(SECOND);
  await shorten(file, patient);
  t.true((await patient.readToEnd()).length < LARGE);
  t.is((await endings.all(2))[1], 'BKR_ERR_SEND_FILE');
});

test('a status set before is kept, whatever the request asks for', async (t) => {
  const file = await temporaryFile(t, 10);
  const { path } = await serve(t, {}, (_request, response) => {
    response.statusCode = 404;
    void sendFile(response, file);
  });
  const headers = { HTTP_IF_NONE_MATCH: '*', HTTP_RANGE: 'bytes=0-3' };
  t.regex(
    await (await handOver(path, { headers })).readToEnd(),
    /^HTTP\/1\.1 404 Not Found\r\n(.+\r\n)+\r\nx{10}$/,
  );
});

test('a FIFO is refused at once, though nobody writes to it', async (t) => {
  const fifo = `${await temporaryFile(t, 0)}.fifo`;
  await promisify(execFile)('mkfifo', [fifo]);
  const endings = new Endings();
  const { path } = await serve(t, {}, async (_request, response) => {
    endings.send(response, fifo);
    await endings.all(1);
    response.writeHead(500).end();
  });
  await (await handOver(path)).readToEnd();
  t.deepEqual([...endings], ['BKR_ERR_SEND_FILE']);
});
