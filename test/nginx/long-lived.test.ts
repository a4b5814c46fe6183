// Connections that outlive every timer of nginx, which are set to one second here: WebSockets, event streams, and clients that take
// or give slowly. After the handover none of these timers applies.
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { WebSocket, WebSocketServer } from 'ws';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { answerDigest, bodyOf, digestOf } from '../helpers/body-digest.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type ImpatientNginx, impatientNginx, NGINX_TIMEOUT_MS } from '../helpers/impatient-nginx.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { arrivedIn, openClient } from '../helpers/nginx-client.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

/** Longer than nginx would wait. */
const SILENCE_MS = 1.6 * NGINX_TIMEOUT_MS;
const WEBSOCKET_LIFE_MS = 5 * NGINX_TIMEOUT_MS;

interface EchoFront extends ImpatientNginx {
  /** Close codes that the server saw. */
  readonly codes: number[];
}

/** A WebSocket server that sends every message back. */
async function echoing(t: ExecutionContext): Promise<EchoFront> {
  const front = await impatientNginx(t);
  const codes: number[] = [];
  const sockets = new WebSocketServer({ noServer: true });
  front.server.on('upgrade', (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (opened) => {
      opened.on('message', (data, isBinary) => opened.send(data, { binary: isBinary }));
      opened.on('close', (code) => codes.push(code));
    });
  });
  return { ...front, codes };
}

async function open(t: ExecutionContext, { url }: ImpatientNginx): Promise<WebSocket> {
  const socket = new WebSocket(url.replace('http', 'ws'));
  t.teardown(() => socket.terminate());
  await once(socket, 'open');
  return socket;
}

async function closed(socket: WebSocket): Promise<void> {
  const end = once(socket, 'close');
  socket.close(1000);
  await end;
}

const SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 300_000];

/** Sends a message of each size, one behind the other, and resolves when all came back as they were. */
async function echo(t: ExecutionContext, socket: WebSocket, round: number): Promise<void> {
  const expected = SIZES.map((size) => bodyOf(size, round));
  const received: Buffer[] = [];
  const take = (data: Buffer): void => void received.push(data);
  socket.on('message', take);
  for (const message of expected) socket.send(message);
  await until('all messages are back', () => received.length === expected.length);
  socket.off('message', take);
  t.deepEqual(received.map(digestOf), expected.map(digestOf));
}

async function ping(socket: WebSocket, payload: string): Promise<string> {
  const answer = once(socket, 'pong');
  socket.ping(payload);
  return String((await answer)[0]);
}

withNginx('WebSockets live on after every timer of nginx, busy or silent', async (t) => {
  const front = await echoing(t);
  const sockets = await Promise.all(Array.from({ length: 8 }, () => open(t, front)));
  await front.letGo();
  const endAt = performance.now() + WEBSOCKET_LIFE_MS;
  const live = async (socket: WebSocket, index: number): Promise<void> => {
    for (let round = 0; performance.now() < endAt; round++) {
      await echo(t, socket, round);
      t.is(await ping(socket, `ping ${index} ${round}`), `ping ${index} ${round}`);
      // Every other one is silent for longer than nginx's timers, the rest never for that long.
      await delay(index % 2 === 0 ? SILENCE_MS : 50);
    }
  };
  await Promise.all(sockets.map(live));
  t.true(sockets.every(({ readyState }) => readyState === WebSocket.OPEN));
  await Promise.all(sockets.map(closed));
  await until('the server has seen all of them close', () => front.codes.length === sockets.length);
  t.deepEqual(new Set(front.codes), new Set([1000]));
  t.deepEqual(front.errors, []);
});

withNginx(
  'a frame that comes in one segment with the upgrade request is no body, and not lost',
  async (t) => {
    const front = await echoing(t);
    const client = await openClient(t, front);
    const upgrade =
      'GET / HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
    // Text "hi", masked with zeros; then a close frame.
    await client.send(`${upgrade}\x81\x82\0\0\0\0hi\x88\x80\0\0\0\0`);
    const answer = await client.readToEnd();
    t.true(answer.startsWith('HTTP/1.1 101 '));
    t.true(answer.includes('\r\n\r\n\x81\x02hi\x88'));
  },
);

withNginx('an event stream goes on through long silences, and ends with its client', async (t) => {
  let ends = 0;
  const front = await impatientNginx(t, {
    handler: async (_request, response) => {
      response.on('close', () => ends++);
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      for (let id = 1; !response.destroyed; id++) {
        response.write(`id: ${id}\ndata: ${digestOf(`event ${id}`).sha256}\n\n`);
        await delay(id % 2 === 0 ? SILENCE_MS : 20);
      }
    },
  });
  const clients = await Promise.all(Array.from({ length: 5 }, () => openClient(t, front)));
  await Promise.all(
    clients.map((client) => client.send('GET /events HTTP/1.1\r\nHost: example.test\r\n\r\n')),
  );
  await Promise.all(clients.map((client) => client.readUntil('id: 1\n')));
  await front.letGo();
  for (const client of clients) {
    const last = `data: ${digestOf('event 6').sha256}\n\n`;
    await client.readUntil(last);
    t.deepEqual(
      client.received.match(/^id: \d+$/gm),
      [1, 2, 3, 4, 5, 6].map((id) => `id: ${id}`),
    );
  }
  await Promise.all(clients.map((client) => client.close()));
  await until('the handler knows that they are gone', () => ends === clients.length);
});

withNginx('a client that reads nothing for long gets all of a large answer', async (t) => {
  const content = bodyOf(20_000_000);
  const front = await impatientNginx(t, { handler: (_request, response) => response.end(content) });
  const socket = connect(front.port, front.host).pause();
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  socket.write('GET / HTTP/1.1\r\nHost: example.test\r\n\r\n');
  await front.letGo();
  const parts: Buffer[] = [];
  let received = 0;
  for (const target of [1_000_000, 6_000_000, Number.POSITIVE_INFINITY]) {
    await delay(SILENCE_MS);
    for await (const part of socket.iterator({ destroyOnReturn: false })) {
      parts.push(part);
      received += part.length;
      if (received > target) break;
    }
  }
  const answer = Buffer.concat(parts);
  t.deepEqual(digestOf(answer.subarray(answer.indexOf('\r\n\r\n') + 4)), digestOf(content));
});

withNginx('a client that pauses within its body is waited for', async (t) => {
  const front = await impatientNginx(t, { handler: answerDigest });
  const client = await openClient(t, front);
  const body = bodyOf(150_000);
  const head = `POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: ${body.length}\r\n\r\n`;
  await client.send(Buffer.concat([Buffer.from(head), body.subarray(0, 10)]));
  await front.letGo();
  for (const [from, to] of [
    [10, 11],
    [11, 80_000],
    [80_000, body.length],
  ]) {
    await delay(SILENCE_MS);
    await client.send(body.subarray(from, to));
  }
  t.like(arrivedIn(await readAnswer(client)), { handover: 'full', earlyBytes: 10, ...digestOf(body) });
});

withNginx('a connection in the keep-alive scope may be idle for as long as the backend allows', async (t) => {
  const front = await impatientNginx(t, { handler: answerDigest, server: { keepAlive: { scope: '/' } } });
  const client = await openClient(t, front);
  const get = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
  for (let n = 1; n <= 3; n++) {
    t.is(arrivedIn(await exchange(client, get)).requestNumber, n);
    await delay(SILENCE_MS);
  }
  await client.close();
});

withNginx('before the handover these timers apply: to a head, and to a body that is relayed', async (t) => {
  const front = await impatientNginx(t, { handler: answerDigest });
  const half = await openClient(t, front);
  await half.send('GET / HTTP/1.1\r\nHost: exam');
  t.is(await half.readToEnd(), '');
  const relayed = await openClient(t, front);
  await relayed.send('POST / HTTP/1.0\r\nContent-Length: 100\r\n\r\nnine');
  t.is(await relayed.readToEnd(), '');
});
