// Connections that the application ends: politely where nothing is cut off by it, as at the end of an idle one, and so that the client
// sees it where something is.
import type { ServerResponse } from 'node:http';
import type { ExecutionContext } from 'ava';
import { until } from '../helpers/until.js';
import { type Front, startFront, VERSIONS, withFront } from './passing-front.js';
import { python, type Step } from './tls-clients.js';

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: example.test\r\n\r\n`;
const UPGRADE = get('/').replace(
  '\r\n\r\n',
  '\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
);

/** How the application ends the only connection. */
const idleEnds: Record<string, (front: Front) => void> = {
  'closeIdleConnections()': ({ server }) => server.closeIdleConnections(),
  'close()': ({ server }) => void server.close(),
};
async function startBeginner(t: ExecutionContext, kernel: { tx: number; rx: number }) {
  const begun: ServerResponse[] = [];
  const done: ServerResponse[] = [];
  const front = await startFront(t, {
    kernel,
    answers: {
      '/short': (_request, response) => {
        response.on('close', () => done.push(response));
        response.end('short}');
      },
      '/begun': (_request, response) => response.write('begun', () => begun.push(response)),
    },
  });
  return { front, begun, done };
}

const askAndWait = (request: string, answer: string): Step[] => [
  ['write', request],
  ['send'],
  ['read_until', answer],
  ['read_to_end'],
];

const appIsIdle = (front: Front): Promise<void> =>
  until('the application has no connection', () => front.server.stats().connections === 0);

for (const { version, kind } of VERSIONS) {
  const kernel = { tx: 1, rx: kind === 'full' ? 1 : 0 };
  const as = (title: string): string => `${version}, ${kind}: ${title}`;

  withFront(as('an idle connection ends by keepAliveTimeout: with close_notify'), async (t) => {
    const { front } = await startBeginner(t, kernel);
    front.server.keepAliveTimeout = 200;
    const { ended } = await python(front.port, version, askAndWait(get('/short'), 'short}'));
    t.is(ended, 'close_notify');
    await appIsIdle(front);
    t.deepEqual(front.errors, []);
  });

  for (const [how, end] of Object.entries(idleEnds)) {
    withFront(as(`an idle connection ends by ${how}: with close_notify`), async (t) => {
      const { front, done } = await startBeginner(t, kernel);
      const client = python(front.port, version, askAndWait(get('/short'), 'short}'));
      await until('it is idle', () => done.length === 1);
      end(front);
      t.is((await client).ended, 'close_notify');
      await appIsIdle(front);
      t.deepEqual(front.errors, []);
    });
  }

  withFront(as('an answer is destroyed in the middle: without close_notify'), async (t) => {
    const { front, begun } = await startBeginner(t, kernel);
    const client = python(front.port, version, askAndWait(get('/begun'), 'begun'));
    await until('the answer has begun', () => begun.length === 1);
    begun[0]?.destroy();
    t.is((await client).ended, 'end without close_notify');
    await appIsIdle(front);
  });

  withFront(as('an upgraded connection is destroyed: without close_notify'), async (t) => {
    const { front } = await startBeginner(t, kernel);
    const client = python(front.port, version, askAndWait(UPGRADE, '\r\n\r\n'));
    await until('it is upgraded', () => (front.sockets[0]?.bytesWritten ?? 0) > 0);
    front.sockets[0]?.destroy();
    t.is((await client).ended, 'end without close_notify');
    await appIsIdle(front);
  });
}
