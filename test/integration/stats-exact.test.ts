// A hundred thousand requests of known sizes and codes, on connections of all kinds: the sums are equal, to the byte.
import type { PairSnapshot } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { serveWithStats } from '../helpers/stats-scene.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const REQUESTS = 100_000;
const CLIENTS = 20;
const A_BATCH = 50;
const STATUSES = [200, 201, 301, 404, 422, 500, 503] as const;

/** Of the request with this number. */
const statusOf = (number: number): number => STATUSES[number % STATUSES.length] as number;
const answerBytesOf = (number: number): number => (number * 7919) % 2000;
const bodyBytesOf = (number: number): number => (number % 5 === 0 ? (number * 104_729) % 3000 : 0);

function requestOf(number: number): string {
  const body = 'x'.repeat(bodyBytesOf(number));
  if (body === '') return `GET /${number} HTTP/1.1\r\nHost: example.test\r\n\r\n`;
  const framed =
    number % 10 === 0
      ? `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
      : `Content-Length: ${body.length}\r\n\r\n${body}`;
  return `POST /${number} HTTP/1.1\r\nHost: example.test\r\n${framed}`;
}

/** Asks for the numbers from `begin`, some in a pipeline at a time and some one by one. */
async function ask(client: HandedClient, begin: number, count: number): Promise<void> {
  let answers = 0;
  let arrived = '';
  client.answer.socket.removeAllListeners('data');
  client.answer.socket.on('data', (chunk: Buffer) => {
    arrived += chunk.toString('latin1');
    const parts = arrived.split('HTTP/1.1 ');
    answers += parts.length - 1;
    // Perhaps the beginning of another.
    arrived = (parts.at(-1) as string).slice(-8);
  });
  for (let done = 0; done < count; ) {
    const size = Math.min(done % 3 === 0 ? A_BATCH : 1, count - done);
    let text = '';
    for (let at = 0; at < size; at++) text += requestOf(begin + done + at);
    await client.send(text);
    done += size;
    await until(`${done} answers`, () => answers >= done);
  }
}

test('the sums of a hundred thousand requests are equal to the byte', async (t) => {
  const { path, stats, server } = await serveWithStats(t, (request, response) => {
    const number = Number(request.url?.slice(1));
    if (!(number >= 0)) return void response.end();
    request.resume().on('end', () => {
      const body = 'y'.repeat(answerBytesOf(number));
      response.statusCode = statusOf(number);
      // In chunks, with a length, and as bytes.
      if (number % 3 === 0) response.write(body.slice(0, 10));
      if (number % 3 === 1) response.setHeader('Content-Length', body.length);
      const rest = number % 3 === 0 ? body.slice(10) : body;
      response.end(number % 2 === 0 ? rest : Buffer.from(rest));
    });
  });
  const each = REQUESTS / CLIENTS;
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, at) => {
      const kind: HandoverKind = at % 2 === 0 ? 'full' : 'partial';
      const client = await handOver(path, {
        kind,
        target: '/none',
        headers: { SERVER_PROTOCOL: 'HTTP/1.1' },
      });
      await client.readUntil('\r\n\r\n');
      await ask(client, at * each, each);
      await client.close();
    }),
  );
  await until('all connections are gone', () => server.stats().connections === 0);

  const expected = { '2xx': CLIENTS, '3xx': 0, '4xx': 0, '5xx': 0 };
  let requestBytes = 0;
  let answerBytes = 0;
  for (let number = 0; number < REQUESTS; number++) {
    expected[`${Math.floor(statusOf(number) / 100)}xx` as keyof typeof expected]++;
    requestBytes += bodyBytesOf(number);
    answerBytes += answerBytesOf(number);
  }
  const { pairs } = await stats.snapshot();
  t.is(pairs.length, 1);
  const [pair] = pairs as [PairSnapshot];
  t.deepEqual(pair.requests, { unknown: 0, '1xx': 0, ...expected });
  t.is(pair.requestPayloadBytes, requestBytes);
  t.is(pair.responsePayloadBytes, answerBytes);
  t.is(pair.requestSize.sum, requestBytes);
  t.is(pair.responseSize.sum, answerBytes);
  for (const { counts } of [pair.duration, pair.requestSize, pair.responseSize]) {
    t.is(
      counts.reduce((sum, count) => sum + count),
      REQUESTS + CLIENTS,
    );
  }
});
