// Clients that leave before they are done, at every stage and in every way, through a real nginx: the application hears of it,
// and nobody keeps a descriptor.
import type { IncomingMessage, ServerResponse } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { WebSocketServer } from 'ws';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { answerDigest, bodyOf, digestOf } from '../helpers/body-digest.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type ImpatientNginx, impatientNginx } from '../helpers/impatient-nginx.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { arrivedIn, openClient, untilRead } from '../helpers/nginx-client.js';
import type { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const HOST = 'Host: example.test\r\n';
const GET = `GET / HTTP/1.1\r\n${HOST}\r\n`;
const POST = `POST / HTTP/1.1\r\n${HOST}Content-Length: 1000000\r\n\r\n`;
const UPGRADE =
  `GET /socket HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n` +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

/** Ends of a client, by what it does to its connection. */
const ENDS: Readonly<Record<string, (client: RawClient) => Promise<unknown>>> = {
  'a reset': (client) => {
    client.socket.resetAndDestroy();
    return client.close();
  },
  'a close': (client) => client.close(),
};

interface Watched extends ImpatientNginx {
  /** Handlers that were called and have not been told of the end. */
  open: number;
  begun: number;
  /** Each is told, and nginx has let go of each client. */
  over(): Promise<void>;
}

/** A server whose handlers never end an answer: a large one, a trickle, a body, a WebSocket. */
async function start(t: ExecutionContext): Promise<Watched> {
  const large = bodyOf(8_000_000);
  const handler = (request: IncomingMessage, response: ServerResponse): unknown => {
    if (request.url === '/served') return answerDigest(request, response);
    watched.begun++;
    watched.open++;
    response.on('close', () => watched.open--);
    request.on('error', () => {});
    request.resume();
    if (request.url === '/large') return response.write(large);
    return response.write('begun');
  };
  const front = await impatientNginx(t, { handler }, 30);
  const sockets = new WebSocketServer({ noServer: true });
  front.server.on('upgrade', (request, socket, head) => {
    watched.begun++;
    watched.open++;
    sockets.handleUpgrade(request, socket, head, (opened) => {
      opened.on('error', () => {});
      opened.on('close', () => watched.open--);
      opened.send('begun');
    });
  });
  const watched: Watched = {
    ...front,
    begun: 0,
    open: 0,
    over: async () => {
      await until('the handlers know of the end', () => watched.open === 0);
      await front.letGo();
      await until('the server has no connection', () => front.server.stats().connections === 0);
    },
  };
  return watched;
}

/** A request of its own is served as if nothing had been. */
async function stillServes(t: ExecutionContext, front: ImpatientNginx): Promise<void> {
  const client = await openClient(t, front);
  const body = bodyOf(5000);
  const head = `POST /served HTTP/1.1\r\n${HOST}Content-Length: ${body.length}\r\n\r\n`;
  t.like(arrivedIn(await exchange(client, head + body.toString('latin1'))), digestOf(body));
  await client.close();
}

const stages: Readonly<Record<string, readonly [request: string, isRelayed?: true]>> = {
  'within its body': [`${POST}only so much`],
  'within a chunk of its body': [
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nff\r\nonly so much`,
  ],
  'while it is answered': [GET],
  'while much is on its way to it': [`GET /large HTTP/1.1\r\n${HOST}\r\n`],
  'after pipelining more': [GET + GET + GET],
  'of a WebSocket': [UPGRADE],
  'while it is answered through the relay': ['GET /large HTTP/1.0\r\n\r\n', true],
};

for (const [what, [request, isRelayed = false]] of Object.entries(stages)) {
  for (const [how, end] of Object.entries(ENDS)) {
    withNginx(`${how} ${what}`, async (t) => {
      const front = await start(t);
      const clients = await Promise.all(Array.from({ length: 10 }, () => openClient(t, front)));
      await Promise.all(clients.map((client) => client.send(request)));
      await Promise.all(clients.map((client) => client.readUntil('\r\n\r\n')));
      t.is(front.begun, clients.length);
      t.is(front.open, clients.length);
      await Promise.all(clients.map(end));
      await front.over();
      await stillServes(t, front);
      t.like(front.server.stats(), isRelayed ? { relay: 10, full: 1 } : { relay: 0, full: 11 });
    });
  }
}

for (const [how, end] of Object.entries(ENDS)) {
  withNginx(`${how} at once behind the request: with it, and before anybody has read it`, async (t) => {
    const front = await start(t);
    for (let round = 0; round < 30; round++) {
      const clients = await Promise.all(Array.from({ length: 10 }, () => openClient(t, front)));
      await Promise.all(clients.map((client) => client.send(round % 2 === 0 ? GET : `${POST}body`)));
      await Promise.all(clients.map(end));
    }
    await front.over();
    await stillServes(t, front);
  });

  withNginx(`${how} within the head, before and after nginx has read it`, async (t) => {
    const front = await start(t);
    const clients = await Promise.all(Array.from({ length: 20 }, () => openClient(t, front)));
    await Promise.all(clients.map((client) => client.send(GET.slice(0, -2))));
    await Promise.all(clients.slice(10).map((client) => untilRead(client)));
    await Promise.all(clients.map(end));
    await front.over();
    t.is(front.begun, 0);
    await stillServes(t, front);
  });
}

withNginx('a client that ends its side after the request gets its answer', async (t) => {
  const front = await start(t);
  const body = bodyOf(100_000);
  const clients = await Promise.all(Array.from({ length: 10 }, () => openClient(t, front)));
  const head = `POST /served HTTP/1.1\r\n${HOST}Content-Length: ${body.length}\r\n\r\n`;
  for (const client of clients) client.socket.end(Buffer.concat([Buffer.from(head), body]));
  for (const client of clients) {
    t.like(arrivedIn(await readAnswer(client)), { handover: 'full', ...digestOf(body) });
    t.is(await client.readToEnd(), '');
  }
});
