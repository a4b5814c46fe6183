// What the stats count of requests, answers and connections: exactly, for all kinds of handover, with and without a socket.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { leaveUncounted, type PairSnapshot, sendFile } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test from 'ava';
import express from 'express';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { type Handler, temporaryFolder } from '../helpers/serve.js';
import { serveWithStats } from '../helpers/stats-scene.js';
import { until } from '../helpers/until.js';
import { versionZero, WireSender } from '../helpers/wire-sender.js';

guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];
const HTTP_1_1 = { SERVER_PROTOCOL: 'HTTP/1.1' };
/** Kept open by default: a relay is one request. */
const request = (target: string, extra = '', method = 'GET'): string =>
  `${method} ${target} HTTP/1.1\r\nHost: example.test\r\n${extra}\r\n`;

interface Answer {
  readonly answer: Handler;
  readonly bytes: number;
  readonly status?: number;
  readonly method?: string;
}

const ANSWERS: Readonly<Record<string, Answer>> = {
  'a string': { answer: (_request, response) => response.end('hello'), bytes: 5 },
  'a string beyond ASCII': { answer: (_request, response) => response.end('grüße'), bytes: 7 },
  'a string in latin1': { answer: (_request, response) => response.end('grüße', 'latin1'), bytes: 5 },
  'a string in hexadecimal': { answer: (_request, response) => response.end('c0ffee', 'hex'), bytes: 3 },
  bytes: { answer: (_request, response) => response.end(Buffer.alloc(100_000)), bytes: 100_000 },
  'a view of bytes': {
    answer: (_request, response) => response.end(new Uint8Array(10).subarray(2, 7)),
    bytes: 5,
  },
  'nothing at all': { answer: (_request, response) => response.end(), bytes: 0 },
  'a callback alone': { answer: (_request, response) => response.end(() => {}), bytes: 0 },
  'a length that is announced': {
    answer: (_request, response) => response.writeHead(201, { 'Content-Length': 5 }).end('hello'),
    bytes: 5,
    status: 201,
  },
  'several writes, in chunks': {
    answer: (_request, response) => {
      response.write('one');
      response.write(Buffer.from('two'));
      response.end('three');
    },
    bytes: 11,
  },
  'writes that come later': {
    answer: (_request, response) => {
      response.write('one');
      setImmediate(() => response.end('two'));
    },
    bytes: 6,
  },
  'a stream': {
    answer: (_request, response) => pipeline(Readable.from(['a'.repeat(70_000), 'b'.repeat(5)]), response),
    bytes: 70_005,
  },
  'a write behind the end': {
    answer: (_request, response) => {
      response.on('error', () => {});
      response.end('hello');
      response.write('too late');
      response.end('too late');
    },
    bytes: 5,
  },
  '204, whatever is written': {
    answer: (_request, response) => response.writeHead(204).end('none'),
    bytes: 0,
    status: 204,
  },
  '304, whatever is written': {
    answer: (_request, response) => {
      response.statusCode = 304;
      response.end('none');
    },
    bytes: 0,
    status: 304,
  },
  'HEAD, whatever is written': {
    answer: (_request, response) => response.end('none'),
    bytes: 0,
    method: 'HEAD',
  },
  'an early hint, a server error': {
    answer: (_request, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' }, () => {
        response.writeHead(503).end('sorry');
      });
    },
    bytes: 5,
    status: 503,
  },
};

const codeOf = (status: number): keyof PairSnapshot['requests'] =>
  `${Math.floor(status / 100)}xx` as keyof PairSnapshot['requests'];

for (const kind of KINDS) {
  for (const lean of kind === 'full' ? [true, false] : [true]) {
    const how = lean ? kind : `${kind}, not lean`;
    for (const [name, { answer, bytes, status = 200, method = 'GET' }] of Object.entries(ANSWERS)) {
      test(`${how}: ${name}`, async (t) => {
        const { path, counted } = await serveWithStats(t, answer, { lean });
        const client = await handOver(path, { kind, method, headers: HTTP_1_1 });
        const { requests, responsePayloadBytes, responseSize, duration, upgraded } = await counted(1);
        t.is(requests[codeOf(status)], 1);
        t.is(responsePayloadBytes, bytes);
        t.is(responseSize.sum, bytes);
        t.is(
          duration.counts.reduce((sum, count) => sum + count),
          1,
        );
        t.is(upgraded.sum, 0);
        await client.close();
      });
    }
  }

  test(`${kind}: the body of a request, however it comes`, async (t) => {
    const { path, counted, settled } = await serveWithStats(t, async (incoming, response) => {
      let bytes = 0;
      for await (const chunk of incoming) bytes += chunk.length;
      response.end(`got ${bytes}.`);
    });
    const first = await handOver(path, {
      kind,
      method: 'POST',
      headers: { ...HTTP_1_1, HTTP_CONTENT_LENGTH: '10' },
      earlyBytes: '0123456789',
    });
    await first.readUntil('got 10.');
    t.is((await counted(1)).requestPayloadBytes, 10);
    if (kind !== 'relay') {
      await first.send(`${request('/', 'Transfer-Encoding: chunked\r\n', 'POST')}5\r\nabcde\r\n`);
      await first.send('3;extension=1\r\nfgh\r\n0\r\nTrailer: x\r\n\r\n');
      await first.readUntil('got 8.');
      await first.send(request('/', `Content-Length: ${300_000}\r\n`, 'POST'));
      await first.send('x'.repeat(300_000));
      await first.readUntil('got 300000.');
      const { requestPayloadBytes, requestSize, responsePayloadBytes } = await counted(3);
      t.is(requestPayloadBytes, 300_018);
      t.is(requestSize.sum, 300_018);
      t.deepEqual(requestSize.counts, [0, 2, 0, 0, 0, 1, 0, 0, 0]);
      t.is(responsePayloadBytes, 'got 10.got 8.got 300000.'.length);
    }
    await first.close();
    t.deepEqual((await settled()).connections, { full: 0, partial: 0, relay: 0 });
  });

  test(`${kind}: connections open now, and handovers`, async (t) => {
    const { path, stats, pair, settled } = await serveWithStats(t, () => {});
    const clients = [await handOver(path, { kind }), await handOver(path, { kind })];
    await until('both are there', async () => (await stats.snapshot()).handovers[0]?.[kind] === 2);
    t.is((await pair()).connections[kind], 2);
    for (const client of clients) await client.close();
    const { connections, requests } = await settled();
    t.deepEqual(connections, { full: 0, partial: 0, relay: 0 });
    t.is(requests.unknown, 2, 'there was no answer');
  });
}

test('requests in a pipeline, on a connection that was promoted, behind one without a socket', async (t) => {
  const { path, counted } = await serveWithStats(t, (incoming, response) => response.end(incoming.url));
  const client = await handOver(path, { target: '/1', headers: HTTP_1_1 });
  await client.readUntil('/1');
  await client.send(request('/22') + request('/333') + request('/4444'));
  await client.readUntil('/4444');
  const { requests, responsePayloadBytes } = await counted(4);
  t.is(requests['2xx'], 4);
  t.is(responsePayloadBytes, 2 + 3 + 4 + 5);
  await client.close();
});

test('a request that the server answers itself is counted as it is answered', async (t) => {
  const { path, counted } = await serveWithStats(t, (_request, response) => response.end('hello'));
  const client = await handOver(path, { headers: HTTP_1_1 });
  await client.readUntil('hello');
  await client.send('GET / HTTP/1.1\r\nHost: another.test\r\n\r\n');
  await client.readToEnd();
  const { requests, responsePayloadBytes } = await counted(2);
  t.is(requests['4xx'], 1);
  t.is(responsePayloadBytes, 'hello421\n'.length);
  await client.close();
});

test('a client that leaves before the answer is of no class, one that leaves in the middle of the class it has', async (t) => {
  const { path, counted, server } = await serveWithStats(t, (incoming, response) => {
    if (incoming.url === '/begun') response.writeHead(200).write('begun');
  });
  const silent = await handOver(path, { headers: HTTP_1_1 });
  const begun = await handOver(path, { target: '/begun', headers: HTTP_1_1 });
  await begun.readUntil('begun');
  await until('both are there', () => server.stats().connections === 2);
  await silent.close();
  await begun.close();
  const { requests, responsePayloadBytes } = await counted(2);
  t.is(requests.unknown, 1);
  t.is(requests['2xx'], 1);
  t.is(responsePayloadBytes, 5);
});

test('sendFile() and Express, which exchanges the prototypes', async (t) => {
  const file = join(await temporaryFolder(t), 'file');
  await writeFile(file, 'x'.repeat(123_456));
  const app = express();
  app.get('/json', (_request, response) => void response.json({ hello: 'world' }));
  app.get('/file', (_request, response) => void sendFile(response, file));
  const { path, counted } = await serveWithStats(t, app as unknown as Handler);
  const client = await handOver(path, { target: '/json', headers: HTTP_1_1 });
  await client.readUntil('world');
  t.is((await counted(1)).responsePayloadBytes, 17);
  await client.send(request('/file'));
  await until('all of it is there', () => client.received.length > 123_456);
  t.is((await counted(2)).responsePayloadBytes, 17 + 123_456);
  await client.send(request('/file', 'Range: bytes=10-19\r\n'));
  await client.readUntil('206 Partial');
  t.is((await counted(3)).responsePayloadBytes, 17 + 123_456 + 10);
  await client.close();
});

test('an upgraded connection is a request of its own when it ends: its bytes both ways, and how long it was', async (t) => {
  const { path, server, counted } = await serveWithStats(t, () => {});
  server.on('upgrade', (_request, socket, head) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n');
    socket.write(head);
    socket.on('data', (chunk: Buffer) => socket.write(chunk)).on('end', () => socket.end());
  });
  const client = await handOver(path, {
    headers: { ...HTTP_1_1, HTTP_UPGRADE: 'echo', HTTP_CONNECTION: 'upgrade' },
    earlyBytes: 'head',
  });
  await client.readUntil('head');
  await client.send('and more');
  await client.readUntil('and more');
  client.end();
  await client.readToEnd();
  const { requests, requestPayloadBytes, responsePayloadBytes, upgraded, duration } = await counted(1);
  t.is(requests['1xx'], 1);
  t.is(requestPayloadBytes, 'headand more'.length);
  t.is(responsePayloadBytes, client.received.length);
  t.is(
    upgraded.counts.reduce((sum, count) => sum + count),
    1,
  );
  t.true(upgraded.sum > 0);
  t.is(duration.sum, 0);
});

test('server-sent events are no latency', async (t) => {
  const { path, counted } = await serveWithStats(t, (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: 1\n\n');
    setImmediate(() => response.end('data: 2\n\n'));
  });
  const client = await handOver(path, { headers: HTTP_1_1 });
  await client.readUntil('data: 2');
  const { responsePayloadBytes, upgraded, duration } = await counted(1);
  t.is(responsePayloadBytes, 18);
  t.is(
    upgraded.counts.reduce((sum, count) => sum + count),
    1,
  );
  t.deepEqual(
    duration.counts.filter((count) => count > 0),
    [],
  );
  await client.close();
});

test('what is left out is not counted, in neither bytes nor duration', async (t) => {
  const { path, stats, pair, counted } = await serveWithStats(t, (incoming, response) => {
    if (incoming.url === '/health') leaveUncounted(response);
    response.end('fine');
  });
  const client = await handOver(path, { target: '/health', headers: HTTP_1_1 });
  await client.readUntil('fine');
  await client.send(request('/'));
  await until('it is counted', async () => (await stats.snapshot()).pairs[0]?.requests['2xx'] === 1);
  t.is((await counted(1)).responsePayloadBytes, 4);
  t.is((await pair()).responseSize.sum, 4);
  await client.close();
});

test('the bytes on the wire, from the handover on, while the connection is open and when it is gone', async (t) => {
  const { path, pair, settled } = await serveWithStats(t, (incoming, response) =>
    response.end('x'.repeat(Number(incoming.url?.slice(1)))),
  );
  const client = await handOver(path, { target: '/1000', headers: HTTP_1_1 });
  await client.readUntil('x'.repeat(1000));
  t.deepEqual((await pair()).wireBytes, { in: 0, out: client.received.length });
  const later = request('/50000');
  await client.send(later);
  await client.readUntil('x'.repeat(50_000));
  t.deepEqual((await pair()).wireBytes, { in: later.length, out: client.received.length });
  const last = request('/7', 'Connection: close\r\n');
  await client.send(last);
  await client.readToEnd();
  t.deepEqual((await settled()).wireBytes, { in: later.length + last.length, out: client.received.length });
});

test('the bytes on the wire of a partial handover and of an upgraded connection; a relay has none', async (t) => {
  const { path, stats } = await serveWithStats(t, (_request, response) => response.end('hello'));
  for (const kind of ['partial', 'relay'] as const) {
    const client = await handOver(path, { kind, headers: { ...HTTP_1_1, HTTP_CONNECTION: 'close' } });
    await client.readToEnd();
    await client.close();
    await until(
      'it is counted',
      async () => (await stats.snapshot()).pairs.length > (kind === 'relay' ? 1 : 0),
    );
    if (kind === 'partial') {
      await until(
        'all of it is counted',
        async () => (await stats.snapshot()).pairs[0]?.wireBytes.out === client.received.length,
      );
    }
  }
  t.deepEqual((await stats.snapshot()).pairs[1]?.wireBytes, { in: 0, out: 0 });
});

test('handovers that fail are counted by their code', async (t) => {
  const { path, stats, errors } = await serveWithStats(t, () => {});
  const sender = new WireSender(path);
  await sender.send(versionZero());
  await until('it is refused', () => errors.length === 1);
  t.deepEqual((await stats.snapshot()).handoverErrors, { [errors[0] as string]: 1 });
  sender.close();
});

test('observers are told once that the descriptor is about to be closed, while the kernel can still be asked', async (t) => {
  const { path, server } = await serveWithStats(t, (incoming, response) => {
    if (incoming.url !== '/silent') response.end('hello');
  });
  const told: string[] = [];
  server.use((handover, next) => {
    handover.observe({
      onClosing: () =>
        told.push(
          `closing ${handover.kind} ${handover.info.tcpInfo?.state !== undefined || handover.kind === 'relay'}`,
        ),
      onClose: () => told.push('close'),
    });
    next();
  });
  for (const kind of KINDS) {
    for (const leaves of [true, false]) {
      told.length = 0;
      const target = leaves ? '/silent' : '/';
      const client = await handOver(path, { kind, target, headers: HTTP_1_1 });
      if (leaves) {
        await until('it is there', () => server.stats().connections === 1);
        await client.close();
      } else {
        await client.readUntil('hello');
        client.end();
        await client.readToEnd();
      }
      await until('it is closed', () => told.includes('close'));
      t.deepEqual(told, [`closing ${kind} true`, 'close'], `${kind}, ${leaves}`);
    }
  }
});

test('an upgrade that a guard denies is a request with that status, and no upgraded connection', async (t) => {
  const { path, server, counted } = await serveWithStats(t, () => {});
  server.on('upgrade', (_request, socket) => socket.destroy());
  server.use((handover, next) => {
    handover.guard(() => 403);
    next();
  });
  const client = await handOver(path, {
    headers: { ...HTTP_1_1, HTTP_UPGRADE: 'echo', HTTP_CONNECTION: 'upgrade' },
  });
  await client.readUntil('403');
  await client.close();
  const { requests, upgraded, responsePayloadBytes } = await counted(1);
  t.is(requests['4xx'], 1);
  t.is(responsePayloadBytes, 0);
  t.true(upgraded.counts.every((count) => count === 0));
});

test('the bytes on the wire of a handover that another middleware rejects', async (t) => {
  const { path, server, settled } = await serveWithStats(t, () => {});
  server.use((handover) => handover.reject(403));
  for (const kind of ['full', 'partial'] as const) {
    const client = await handOver(path, { kind, headers: HTTP_1_1 });
    const answer = await client.readToEnd();
    await client.close();
    const { wireBytes, requests } = await settled();
    t.is(wireBytes.out, answer.length * (kind === 'full' ? 1 : 2));
    t.is(requests['4xx'], 0, 'it is no request');
  }
});

test('the bytes on the wire are counted also if a socket is asked for behind the last answer, and the end is none', async (t) => {
  const { path, settled } = await serveWithStats(t, (incoming, response) => {
    response.on('finish', () => incoming.socket.on('close', () => {}));
    response.setHeader('Connection', 'close').end('x'.repeat(5000));
  });
  const client = await handOver(path, { headers: HTTP_1_1 });
  const answer = await client.readToEnd();
  client.end();
  await client.close();
  t.deepEqual((await settled()).wireBytes, { in: 0, out: answer.length });
});

test('the bytes on the wire never fall while a slow client reads', async (t) => {
  const { path, stats, settled } = await serveWithStats(t, (_request, response) => {
    response.setHeader('Connection', 'close').end('x'.repeat(3_000_000));
  });
  const client = await handOver(path, {
    method: 'POST',
    headers: { ...HTTP_1_1, HTTP_CONTENT_LENGTH: '10' },
  });
  client.answer.socket.pause();
  let before = 0;
  const look = async (): Promise<void> => {
    const out = (await stats.snapshot()).pairs[0]?.wireBytes.out ?? 0;
    t.true(out >= before, `${out} after ${before}`);
    before = out;
  };
  await until('all of it is on its way', async () => {
    await look();
    return before > 3_000_000;
  });
  client.answer.socket.resume();
  await until('all of it is there', async () => {
    await look();
    return client.received.length > 3_000_000;
  });
  await client.close();
  t.is((await settled()).wireBytes.out, client.received.length);
});
