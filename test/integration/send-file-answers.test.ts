// What sendFile() answers: whole files, sections, ranges and conditions, the same on every kind of handover and on a plain
// http.Server. How it ends when things go wrong is in send-file-endings.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import {
  Agent,
  createServer as createHttpServer,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { createServer, sendFile } from '@fdpass/backend-runtime';
import { openGateway } from '@fdpass/backend-runtime/testing';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';

guardDescriptors(test);

const SUBJECTS = ['plain http', 'full', 'partial', 'relay'] as const;
type Subject = (typeof SUBJECTS)[number];
type Handler = (response: ServerResponse, folder: string) => Promise<void>;

interface Answer {
  status: number | undefined;
  headers: NodeJS.Dict<string | string[]>;
  body: Buffer;
}

interface Site {
  folder: string;
  ask(headers?: Record<string, string>, method?: string): Promise<Answer>;
}

async function start(t: ExecutionContext, subject: Subject, handler: Handler): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-test-'));
  const listener = (_request: unknown, response: ServerResponse): void => {
    handler(response, folder).catch((error: NodeJS.ErrnoException) => {
      response.statusCode = error.code === 'ENOENT' ? 404 : 500;
      response.end(error.code);
    });
  };
  const isPlain = subject === 'plain http';
  const server: Server = isPlain
    ? createHttpServer(listener)
    : createServer({ keepAlive: { scope: '/' } }, listener);
  if (isPlain) server.listen(0, '127.0.0.1');
  else server.listen({ path: join(folder, 'app.sock') });
  await once(server, 'listening');
  const gateway = isPlain ? undefined : await openGateway(server, { kind: subject });
  const port = gateway?.port ?? (server.address() as AddressInfo).port;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(async () => {
    agent.destroy();
    await gateway?.close();
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
    await rm(folder, { recursive: true });
  });
  return {
    folder,
    ask: async (headers = {}, method = 'GET') => {
      const sent = request({ host: '127.0.0.1', port, path: '/', method, headers, agent }).end();
      const [response] = await once(sent, 'response');
      return { status: response.statusCode, headers: response.headers, body: await buffer(response) };
    },
  };
}

const sendData: Handler = (response, folder) => sendFile(response, join(folder, 'data.txt'));
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

for (const subject of SUBJECTS) {
  for (const size of [0, 1, 65_537, 20_000_000]) {
    test(`${subject}: a file of ${size} bytes arrives whole, and the connection goes on`, async (t) => {
      const { folder, ask } = await start(t, subject, sendData);
      const bytes = randomBytes(size);
      await writeFile(join(folder, 'data.txt'), bytes);
      for (let round = 0; round < 2; round++) {
        const { status, headers, body } = await ask();
        t.is(status, 200);
        t.is(headers['content-length'], String(size));
        t.is(sha256(body), sha256(bytes));
      }
    });
  }

  test(`${subject}: a file comes with its type, its validators and the offer of ranges; headers set before are kept`, async (t) => {
    const { folder, ask } = await start(t, subject, (response, folder) => {
      response.setHeader('Cache-Control', 'max-age=60');
      return sendFile(response, join(folder, 'data.txt'));
    });
    await writeFile(join(folder, 'data.txt'), LETTERS);
    const { mtime } = await stat(join(folder, 'data.txt'));
    const { headers } = await ask();
    t.is(headers['content-type'], 'text/plain; charset=utf-8');
    t.is(headers['last-modified'], mtime.toUTCString());
    t.is(headers['accept-ranges'], 'bytes');
    t.is(headers['cache-control'], 'max-age=60');
    t.regex(String(headers.etag), /^W\/".+"$/);
  });

  test(`${subject}: HEAD says what GET would, without a body`, async (t) => {
    const { folder, ask } = await start(t, subject, sendData);
    await writeFile(join(folder, 'data.txt'), LETTERS);
    const { status, headers, body } = await ask({}, 'HEAD');
    t.deepEqual([status, headers['content-length'], body.length], [200, '26', 0]);
  });

  const ranges: [range: string, status: number, contentRange: string | undefined, body: string][] = [
    ['bytes=0-3', 206, 'bytes 0-3/26', 'abcd'],
    ['bytes=24-', 206, 'bytes 24-25/26', 'yz'],
    ['bytes=-2', 206, 'bytes 24-25/26', 'yz'],
    ['bytes=20-1000', 206, 'bytes 20-25/26', 'uvwxyz'],
    ['bytes=26-', 416, 'bytes */26', ''],
    ['bytes=0-1,4-5', 200, undefined, LETTERS],
    ['lines=1-2', 200, undefined, LETTERS],
  ];
  test(`${subject}: ranges`, async (t) => {
    const { folder, ask } = await start(t, subject, sendData);
    await writeFile(join(folder, 'data.txt'), LETTERS);
    for (const [range, status, contentRange, body] of ranges) {
      const answer = await ask({ Range: range });
      t.deepEqual(
        [answer.status, answer.headers['content-range'], answer.body.toString()],
        [status, contentRange, body],
        range,
      );
    }
  });

  test(`${subject}: conditions`, async (t) => {
    const { folder, ask } = await start(t, subject, (response, folder) => {
      response.setHeader('ETag', '"strong"');
      return sendFile(response, join(folder, 'data.txt'));
    });
    await writeFile(join(folder, 'data.txt'), LETTERS);
    const { headers } = await ask();
    const lastModified = String(headers['last-modified']);
    const long = 'Thu, 01 Jan 1970 00:00:00 GMT';
    const cases: [headers: Record<string, string>, status: number][] = [
      [{ 'If-None-Match': '"strong"' }, 304],
      [{ 'If-None-Match': '"other"' }, 200],
      [{ 'If-Modified-Since': lastModified }, 304],
      [{ 'If-Modified-Since': long }, 200],
      [{ 'If-Match': '"strong"' }, 200],
      [{ 'If-Match': '"other"' }, 412],
      [{ 'If-Unmodified-Since': long }, 412],
      [{ Range: 'bytes=0-0', 'If-Range': '"strong"' }, 206],
      [{ Range: 'bytes=0-0', 'If-Range': '"other"' }, 200],
      [{ Range: 'bytes=0-0', 'If-Range': lastModified }, 206],
    ];
    for (const [conditions, status] of cases) {
      const answer = await ask(conditions);
      t.is(answer.status, status, JSON.stringify(conditions));
      if (status === 304) t.is(answer.body.length, 0);
    }
  });

  test(`${subject}: a section of a file is an answer of its own, ranges within it`, async (t) => {
    const { folder, ask } = await start(t, subject, (response, folder) =>
      sendFile(response, join(folder, 'data.txt'), { start: 2, end: 5 }),
    );
    await writeFile(join(folder, 'data.txt'), LETTERS);
    t.is((await ask()).body.toString(), 'cdef');
    const { headers, body } = await ask({ Range: 'bytes=1-2' });
    t.deepEqual([headers['content-range'], body.toString()], ['bytes 1-2/4', 'de']);
  });

  test(`${subject}: what was written before comes first`, async (t) => {
    const { folder, ask } = await start(t, subject, async (response, folder) => {
      response.setHeader('Content-Type', 'text/x-first');
      await sendFile(response, join(folder, 'data.txt'));
    });
    await writeFile(join(folder, 'data.txt'), LETTERS);
    const answers = await Promise.all([ask(), ask(), ask()]);
    for (const { headers, body } of answers) {
      t.is(headers['content-type'], 'text/x-first');
      t.is(body.toString(), LETTERS);
    }
  });

  test(`${subject}: no such file, or a folder: rejected before anything is answered`, async (t) => {
    const missing = await start(t, subject, (response, folder) =>
      sendFile(response, join(folder, 'nothing')),
    );
    t.is((await missing.ask()).status, 404);
    const directory = await start(t, subject, (response, folder) => sendFile(response, folder));
    t.is((await directory.ask()).body.toString(), 'BKR_ERR_SEND_FILE');
  });
}
