// Clients of the demo application that do, between them, everything the stats tell apart: every class of status, bodies both ways, a
// WebSocket, an event stream, a relay, a handover that fails. Leaves no connection behind.
import { once } from 'node:events';
import { connect } from 'node:net';
import { Agent, request } from 'undici';
import { WebSocket } from 'ws';
import { encodeMessage } from '#scgi/message.js';
import type { ServedDemo } from './served-demo.js';

/** The least that `/download` may not be asked for, so that it answers 503: for the demo's `download.maxBytes`. */
export const MAX_DOWNLOAD_BYTES = 100_000;

/** A new connection for each request, so that each is a handover. */
async function requests(origin: string): Promise<void> {
  const dispatcher = new Agent({ pipelining: 0 });
  const upload = { method: 'POST', body: 'x'.repeat(5000) } as const;
  try {
    for (const [path, options] of [
      ['/hello', {}],
      ['/echo', upload],
      [`/download?bytes=${MAX_DOWNLOAD_BYTES}`, {}],
      ['/nowhere', {}],
      [`/download?bytes=${MAX_DOWNLOAD_BYTES + 1}`, {}],
    ] as const) {
      const { body } = await request(`${origin}${path}`, { dispatcher, ...options });
      await body.dump({ limit: Number.POSITIVE_INFINITY });
    }
  } finally {
    await dispatcher.destroy();
  }
}

async function chat(port: number): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`);
  await once(socket, 'open');
  socket.send('hello');
  await once(socket, 'message');
  socket.close();
  await once(socket, 'close');
}

/** Leaves after the first event: such a stream has no end of its own. */
async function eventStream(origin: string): Promise<void> {
  const dispatcher = new Agent();
  const { body } = await request(`${origin}/clock`, { dispatcher });
  await once(body, 'data');
  body.on('error', () => {}).destroy();
  await dispatcher.destroy();
}

/** Leaves in the middle of its request: there is no answer to count. */
async function halfRequest(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  socket.write('POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf', () => socket.destroy());
  await once(socket, 'close');
}

/** What a web server sends that passes no descriptor. */
function relayed(): Buffer {
  const headers: [string, string][] = [
    ['REQUEST_METHOD', 'GET'],
    ['REQUEST_URI', '/hello'],
    ['SERVER_PROTOCOL', 'HTTP/1.0'],
    ['REMOTE_ADDR', '192.0.2.7'],
    ['REMOTE_PORT', '4711'],
    ['SERVER_ADDR', '192.0.2.1'],
    ['SERVER_PORT', '80'],
    ['HTTP_HOST', 'h'],
  ];
  return encodeMessage({ headers, dialect: 'plain' });
}

async function sendTo(socketPath: string, message: Buffer | string): Promise<void> {
  const socket = connect(socketPath).on('error', () => {});
  socket.write(message);
  socket.resume();
  await once(socket, 'close');
}

/** Everything once. @param demo behind a front door */
export async function useDemo({ origin, port, socketPath = '' }: ServedDemo): Promise<void> {
  await Promise.all([
    requests(origin),
    chat(port),
    eventStream(origin),
    halfRequest(port),
    sendTo(socketPath, relayed()),
    sendTo(socketPath, 'no netstring'),
  ]);
}
