// What a sender had read past the head is the next piece of the client's stream, whatever it is; and what becomes of a body
// whose sender dropped that piece.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { connectionInfo } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandOverOptions, handOver } from '../helpers/hand-over.js';
import { type Served, serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS = ['full', 'partial'] as const;

/** Answers with what it read. */
async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { earlyBytes } = connectionInfo(request);
  const body = await text(request);
  response.end(`${request.method} ${request.url} ${earlyBytes} early: ${body}\n`);
}

const POST: HandOverOptions = { method: 'POST', headers: { HTTP_CONTENT_LENGTH: '10' } };
const CHUNKED: HandOverOptions = { method: 'POST', headers: { HTTP_TRANSFER_ENCODING: 'chunked' } };
const chunks = '4\r\n0123\r\n6;extension\r\n456789\r\n0\r\nTrailer: value\r\n\r\n';

for (const kind of KINDS) {
  test(`${kind}: a body, cut at every byte between early bytes and the socket`, async (t) => {
    const { path } = await serve(t, {}, echo);
    for (let cut = 0; cut <= 10; cut++) {
      const client = await handOver(path, { kind, ...POST, earlyBytes: '0123456789'.slice(0, cut) });
      await client.send('0123456789'.slice(cut));
      t.true((await client.readToEnd()).endsWith(`\r\n\r\nPOST / ${cut} early: 0123456789\n`));
    }
  });

  test(`${kind}: chunk framing, cut at every byte`, async (t) => {
    const { path } = await serve(t, {}, echo);
    for (let cut = 0; cut <= chunks.length; cut++) {
      const client = await handOver(path, { kind, ...CHUNKED, earlyBytes: chunks.slice(0, cut) });
      await client.send(chunks.slice(cut));
      t.true(
        (await client.readToEnd()).endsWith(`\r\n\r\nPOST / ${cut} early: 0123456789\n`),
        `cut at ${cut}`,
      );
    }
  });

  test(`${kind}: a body and the next request behind it, cut at every byte`, async (t) => {
    const { path } = await serve(t, { keepAlive: { scope: '/' } }, echo);
    const stream = '0123456789GET /next HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n';
    for (let cut = 0; cut <= stream.length; cut++) {
      const client = await handOver(path, { kind, ...POST, earlyBytes: stream.slice(0, cut) });
      await client.send(stream.slice(cut));
      const answer = await client.readToEnd();
      t.true(answer.includes(`POST / ${cut} early: 0123456789\n`));
      t.true(answer.endsWith(`GET /next ${cut} early: \n`));
    }
  });

  test(`${kind}: 64 KiB of early bytes are served, one more is refused`, async (t) => {
    const { path, errors } = await serve(t, {}, echo);
    const most = 'x'.repeat(65_536);
    const headers = { HTTP_CONTENT_LENGTH: String(most.length + 5) };
    const client = await handOver(path, { kind, method: 'POST', headers, earlyBytes: most });
    await client.send('there');
    t.true((await client.readToEnd()).endsWith(`: ${most}there\n`));
    await t.throwsAsync(handOver(path, { kind, method: 'POST', headers, earlyBytes: `${most}x` }), {
      code: 'FDPASS_ERR_REFUSED',
    });
    t.deepEqual(errors, ['SCGI_ERR_EARLY_BYTES_TOO_LARGE']);
  });

  test(`${kind}: early bytes of an upgraded connection reach its listener`, async (t) => {
    const { path, server } = await serve(t);
    server.on('upgrade', (_request, socket, head) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
      socket.end(`early: ${head}`);
    });
    const headers = { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'frames' };
    const client = await handOver(path, { kind, headers, earlyBytes: 'first frame' });
    t.regex(await client.readToEnd(), /early: first frame$/);
  });

  test(`${kind}: nothing is lost between early bytes and a large upload behind them`, async (t) => {
    let length = 0;
    let isInOrder = true;
    const { path } = await serve(t, {}, async (request, response) => {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        for (const byte of chunk) isInOrder &&= byte === length++ % 251;
      }
      response.end(`${length}`);
    });
    const total = 3_000_000;
    const stream = Buffer.alloc(total, Buffer.from(Array.from({ length: 251 }, (_, nth) => nth)));
    const client = await handOver(path, {
      kind,
      method: 'POST',
      headers: { HTTP_CONTENT_LENGTH: String(total) },
      earlyBytes: stream.toString('latin1', 0, 40_000),
    });
    await client.send(stream.subarray(40_000));
    t.regex(await client.readToEnd(), /3000000$/);
    t.true(isInOrder);
  });
}

test('relay: a body that came with the message, cut at every byte', async (t) => {
  const { path } = await serve(t, {}, echo);
  const client = await handOver(path, { kind: 'relay', method: 'POST', earlyBytes: '0123456789' });
  t.regex(await client.readToEnd(), /POST \/ \d+ early: 0123456789\n$/);
});

// --- bodies that lost their beginning

const lostOptions = { earlyBodyTimeoutMs: 400 };

interface Lost extends Served {
  requestErrors: (string | undefined)[];
}

async function startLosing(t: ExecutionContext): Promise<Lost> {
  const requestErrors: (string | undefined)[] = [];
  const served = await serve(t, lostOptions, async (request, response) => {
    request.on('error', (error: NodeJS.ErrnoException) => requestErrors.push(error.code));
    try {
      response.end(await text(request));
    } catch {
      response.end('too late');
    }
  });
  return { ...served, requestErrors };
}

for (const kind of KINDS) {
  for (const [title, options, rest] of [
    ['a body that lost its end', POST, '01234'],
    ['a body of which nothing comes', POST, ''],
    ['a chunked body that does not end', CHUNKED, '4\r\n0123\r\n'],
  ] as const) {
    test(`${kind}, public module: ${title}: 408 once, one log line, and the handler hears of it`, async (t) => {
      const served = await startLosing(t);
      const began = performance.now();
      const client = await handOver(served.path, { kind, version: 0, ...options });
      if (rest !== '') await client.send(rest);
      const answer = await client.readToEnd();
      const tookMs = performance.now() - began;
      t.regex(
        answer,
        /^HTTP\/1\.1 408 Request Timeout\r\n(?:.+\r\n)*Connection: close\r\n(?:.+\r\n)*\r\n408 Request Timeout\n$/,
      );
      t.true(tookMs > 390 && tookMs < 4500, `${tookMs} ms`);
      await until('the handler hears of it', () => served.requestErrors.length > 0);
      t.deepEqual(served.requestErrors, ['BKR_ERR_BODY_LOST']);
      t.deepEqual(served.errors, ['BKR_ERR_BODY_LOST']);
      t.deepEqual(served.server.stats().errors, { BKR_ERR_BODY_LOST: 1 });
      t.is(served.lines.length, 1);
      t.regex(served.lines[0]?.message ?? '', /earlyBodyTimeoutMs.*408.*Cure/s);
      t.like(served.lines[0]?.facts, { err: { code: 'BKR_ERR_BODY_LOST' }, sender: { pid: process.pid } });
    });
  }

  test(`${kind}, public module: a body that comes slowly but comes is served`, async (t) => {
    const served = await startLosing(t);
    const client = await handOver(served.path, { kind, version: 0, ...POST });
    for (const byte of '0123456789') {
      await delay(60);
      await client.send(byte);
    }
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 200 OK\r\n.*0123456789$/s);
    t.deepEqual(served.errors, []);
  });

  test(`${kind}, public module: a handler that does not read what is there is not interrupted`, async (t) => {
    const served = await serve(t, lostOptions, async (_request, response) => {
      await delay(1000);
      response.end('never read');
    });
    const client = await handOver(served.path, { kind, version: 0, ...POST });
    await client.send('01234');
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 200 OK\r\n.*never read$/s);
    t.deepEqual(served.errors, []);
    t.deepEqual(served.lines, []);
  });

  test(`${kind}, public module: a handler that stops reading a large body is not interrupted`, async (t) => {
    const served = await serve(t, lostOptions, async (request, response) => {
      await new Promise((resolve) => request.once('data', resolve));
      request.pause();
      await delay(1000);
      request.resume();
      await new Promise((resolve) => request.once('end', resolve));
      response.end('read');
    });
    const length = 5_000_000;
    const headers = { HTTP_CONTENT_LENGTH: String(length) };
    const client = await handOver(served.path, { kind, version: 0, method: 'POST', headers });
    await client.send(Buffer.alloc(length));
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 200 OK\r\n.*read$/s);
    t.deepEqual(served.errors, []);
  });

  test(`${kind}, public module: a handler that answers early is not interrupted, nor is its answer`, async (t) => {
    const served = await serve(t, lostOptions, async (_request, response) => {
      response.write('begun, ');
      await delay(50);
      response.end('ended');
    });
    const client = await handOver(served.path, { kind, version: 0, ...POST });
    t.regex(await client.readToEnd(), /begun, .*ended/s);
    t.deepEqual(served.errors, []);
  });

  test(`${kind}, version 1: nothing was lost, so a slow body has all the time in the world`, async (t) => {
    const served = await startLosing(t);
    const client = await handOver(served.path, { kind, ...POST, earlyBytes: '01234' });
    await delay(1000);
    await client.send('56789');
    t.regex(await client.readToEnd(), /0123456789$/);
    t.deepEqual(served.errors, []);
  });

  test(`${kind}, public module: an answer that has begun when the body is given up is cut, not mixed with a 408`, async (t) => {
    const served = await serve(t, lostOptions, (request, response) => {
      response.write('begun');
      request.resume();
    });
    const client = await handOver(served.path, { kind, version: 0, ...POST });
    const answer = await client.readToEnd();
    t.regex(answer, /^HTTP\/1\.1 200 OK\r\n/);
    t.notRegex(answer, /408/);
    t.deepEqual(served.errors, ['BKR_ERR_BODY_LOST']);
  });

  test(`${kind}, public module: a client that waits for 100 Continue has not lost anything`, async (t) => {
    const served = await serve(t, lostOptions);
    served.server.on('checkContinue', async (request, response) => {
      await delay(1000);
      response.writeContinue();
      response.end(await text(request));
    });
    const client = await handOver(served.path, {
      kind,
      version: 0,
      method: 'POST',
      headers: { HTTP_CONTENT_LENGTH: '10', HTTP_EXPECT: '100-continue' },
    });
    await client.readUntil('100 Continue\r\n\r\n');
    await client.send('0123456789');
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n.*0123456789$/s);
    t.deepEqual(served.errors, []);
  });
}
