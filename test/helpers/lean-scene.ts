// One scene played twice: where requests are answered without a socket and a parser if they can be, and where they never are. What is
// seen of it must be the same; which of the two it was must not be visible but here.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { HandoverServerOptions } from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { HandoverSocket } from '#runtime/handover-socket.js';
import { type HandedClient, type HandOverOptions, handOver } from './hand-over.js';
import { type Served, serve } from './serve.js';
import { until } from './until.js';

const native = loadNative();

type Handler = (request: IncomingMessage, response: ServerResponse, scene: Scene) => unknown;

export interface Scene extends Served {
  readonly t: ExecutionContext;
  readonly isLean: boolean;
  /** What was seen, in order. */
  readonly seen: string[];
  /** Called for each request; a scene may set another one. */
  handler: Handler;
  hand(target: string, options?: HandOverOptions): Promise<HandedClient>;
  /** Resolves when `seen` has a line that begins so. */
  saw(line: string, count?: number): Promise<void>;
  /** Resolves when the server has read everything that the client has sent, unless it does not want to. */
  settled(client: HandedClient): Promise<void>;
  /** Requests that came without a socket so far. */
  leanCount: number;
}

export const request = (target: string, fields = '', method = 'GET'): string =>
  `${method} ${target} HTTP/1.1\r\nHost: example.test\r\n${fields}\r\n`;

export const LAST = request('/last', 'Connection: close\r\n');

/** Whether nobody has wanted more of its socket so far. */
export const hasNoSocket = ({ socket }: IncomingMessage): boolean =>
  Object.getPrototypeOf(socket) !== HandoverSocket.prototype;

/** An answer's bytes, without what differs from one second to the next. */
export const withoutDate = (bytes: string): string => bytes.replaceAll(/Date: [^\r]+/g, 'Date: now');

/** What can be said of both at any time. */
export function flags(request: IncomingMessage, response: ServerResponse, isReading = false): string {
  const set = (names: readonly string[], of: object): string =>
    names.filter((name) => (of as Record<string, unknown>)[name]).join(' ');
  const ofResponse = [
    'headersSent',
    'writableEnded',
    'writableFinished',
    'finished',
    'destroyed',
    'closed',
    'errored',
  ];
  // When a request that nobody reads is over differs between releases of Node.js.
  const ofRequest = ['aborted', 'errored', ...(isReading ? ['readableEnded', 'destroyed', 'closed'] : [])];
  const socket = response.socket === null ? 'no ' : '';
  return `[${set(ofResponse, response)}] ${socket}socket, request [${set(ofRequest, request)}]`;
}

const RESPONSE_EVENTS = ['prefinish', 'finish', 'close', 'error', 'drain'];
const REQUEST_EVENTS = ['end', 'close', 'error', 'aborted'];

/** Notes every event of the two. @param both those of the request, too: whoever listens to them reads it */
export function note(scene: Scene, request: IncomingMessage, response: ServerResponse, both = false): void {
  const notice = (line: string): void => void scene.seen.push(`${line} ${flags(request, response, both)}`);
  for (const event of RESPONSE_EVENTS) {
    response.on(event, (error?: NodeJS.ErrnoException) =>
      notice(`response ${event}${event === 'error' ? ` ${error?.code}` : ''}`),
    );
  }
  if (!both) return;
  for (const event of REQUEST_EVENTS) {
    request.on(event, (error?: NodeJS.ErrnoException) =>
      notice(`request ${event}${event === 'error' ? ` ${error?.code}` : ''}`),
    );
  }
}

/** Bytes on their way, and in the socket. Closed in between: none. */
function unread(clientFd: number, fd: number): number {
  try {
    return native.writeQueueBytes(clientFd) + native.readQueueBytes(fd);
  } catch {
    return 0;
  }
}

async function play<Seen>(
  t: ExecutionContext,
  isLean: boolean,
  options: HandoverServerOptions,
  act: (scene: Scene) => Promise<Seen>,
): Promise<{ result: Seen; scene: Scene }> {
  const seen: string[] = [];
  let latest: Socket | undefined;
  const served = await serve(
    t,
    { keepAlive: { scope: '/' }, ...options, lean: isLean },
    (request, response) => {
      if (hasNoSocket(request)) scene.leanCount++;
      latest = request.socket;
      return scene.handler(request, response, scene);
    },
  );
  const scene: Scene = {
    ...served,
    ...{ t, isLean, seen, leanCount: 0 },
    handler: (_request, response) => response.end('served'),
    async hand(target, handed = {}) {
      const client = await handOver(served.path, {
        target,
        ...handed,
        headers: { SERVER_PROTOCOL: 'HTTP/1.1', ...handed.headers },
      });
      t.teardown(() => client.close());
      return client;
    },
    async settled(client) {
      const isRead = (): boolean => {
        const clientFd = (client.answer.socket as Socket & { _handle?: { fd: number } | null })._handle?.fd;
        const fd = served.server.connectionOf(latest)?.writeFd;
        if (clientFd === undefined || fd === undefined) return true;
        return client.answer.socket.writableLength + unread(clientFd, fd) === 0;
      };
      await until('all is read', isRead, 500).catch(() => {});
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    },
    saw: (line, count = 1) =>
      until(
        `it saw ${line}: ${JSON.stringify(seen)}`,
        () => seen.filter((each) => each.startsWith(line)).length >= count,
      ),
  };
  return { result: await act(scene), scene };
}

/** @param act what happens; returns what is compared, beside what was seen */
export function bothWays<Seen>(
  test: (title: string, implementation: (t: ExecutionContext) => Promise<void>) => void,
  title: string,
  act: (scene: Scene) => Promise<Seen>,
  { options = {}, leanCount }: { options?: HandoverServerOptions; leanCount?: number } = {},
): void {
  test(title, async (t) => {
    const [lean, ordinary] = [await play(t, true, options, act), await play(t, false, options, act)];
    const { length } = ordinary.scene.seen;
    t.deepEqual(
      [lean.result, lean.scene.seen.slice(0, length + 5)],
      [ordinary.result, ordinary.scene.seen],
      '- without a socket, + with one',
    );
    t.deepEqual(lean.scene.errors, ordinary.scene.errors);
    t.is(ordinary.scene.leanCount, 0);
    if (leanCount === undefined) t.true(lean.scene.leanCount > 0, 'no request came without a socket');
    else t.is(lean.scene.leanCount, leanCount, 'requests without a socket');
  });
}
