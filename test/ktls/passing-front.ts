// nginx with TLS and the module in front of a server of ours in this process: one application for all suites, and after each test a
// look at what nginx still has open and at what the kernel did.
import { deepStrictEqual, doesNotMatch } from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import {
  connectionInfo,
  createServer,
  type HandoverServer,
  type HandoverServerOptions,
  sendFile,
  type TlsFacts,
} from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { WebSocketServer } from 'ws';
import { openDescriptors } from '../helpers/descriptors.js';
import { condition, needs, program } from '../helpers/requirements.js';
import { closed, type Handler } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import { kernelTls, watchKernelTls } from './kernel-tls.js';
import { kernelDecryptsTls13, modulePath } from './nginx-under-test.js';
import type { TlsVersion } from './tls-clients.js';
import { startTlsNginx, type TlsNginx, type TlsNginxOptions, tlsFolder } from './tls-nginx.js';

/** Declares a test that needs all of this. */
export const withFront = needs(
  test,
  kernelTls,
  program('nginx', 'nginx-light'),
  program('curl'),
  program('openssl'),
  program('python3'),
  condition(existsSync(modulePath), 'the nginx module: native/nginx/build.sh'),
);

/** What is handed over, by the version of TLS. */
export const VERSIONS: readonly { version: TlsVersion; kind: 'full' | 'partial' }[] = [
  { version: 'TLSv1.2', kind: 'full' },
  { version: 'TLSv1.3', kind: kernelDecryptsTls13() ? 'full' : 'partial' },
];

/** Those versions with a partial handover. */
export const PARTIAL_VERSIONS = VERSIONS.filter(({ kind }) => kind === 'partial');

/** What the application answers, as JSON, about a request and its body. */
export interface Facts {
  readonly method: string;
  readonly url: string;
  readonly handover: 'full' | 'partial' | 'relay';
  readonly tls: TlsFacts | undefined;
  readonly isEncrypted: boolean;
  readonly earlyBytes: number;
  readonly requestNumber: number;
  readonly variables: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly sha256: string;
}

export const sha256 = (bytes: Buffer | string): string =>
  createHash('sha256')
    .update(bytes as Buffer)
    .digest('hex');

/** Byte `i` of every download. */
export const downloadChunk = Buffer.from(Array.from({ length: 65_536 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));

export interface Front extends TlsNginx {
  readonly server: HandoverServer;
  /** How connections of the application ended, in order: `end`, or the code of an error. */
  readonly upgradeEnds: string[];
  /** Codes of the server's `'handoverError'` and `'clientError'`, in order. */
  readonly errors: string[];
  /** Of each connection that was closed: whether the client's side ended without a close_notify. */
  readonly truncations: (boolean | undefined)[];
  /** The application's connections, in order. */
  readonly sockets: Socket[];
  readonly progress: Progress;
  /** Lets requests for `/held` go on: until then nobody reads their bodies. */
  release(): void;
}

/** What the application has done so far. */
interface Progress {
  /** Requests for `/held`. */
  held: number;
  /** Bytes of downloads that were asked for. */
  produced: number;
}

export interface FrontOptions extends Partial<Omit<TlsNginxOptions, 'main' | 'http'>> {
  /** What is in the http block, given the application's path. */
  http?: (app: string) => string;
  /** What is in `location /` besides the fallback. @default fd_pass to the application */
  pass?: string;
  /** @default true */
  hasFallback?: boolean;
  /** The application's options. */
  app?: HandoverServerOptions;
  /** What the application answers to requests for these paths. */
  answers?: Readonly<Record<string, Handler>>;
  /** Whether the application has a listener to `'clientError'`, which destroys; if not, http.Server answers. @default 'listened' */
  clientErrors?: 'listened' | 'left';
  /** Sessions the kernel encrypts and decrypts in this test, and records it cannot decrypt. */
  kernel: { tx: number; rx: number; decryptErrors?: number };
}

/** The application: tells what it got, sends `/download/<bytes>`, echoes WebSocket messages. */
async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  progress: Progress,
  released: Promise<void>,
): Promise<void> {
  const [, size] = /^\/download\/(\d+)$/.exec(request.url ?? '') ?? [];
  if (size !== undefined) {
    response.setHeader('Content-Length', size);
    Readable.from(download(Number(size), progress)).pipe(response);
    return;
  }
  const [, untilClose] = /^\/until-close\/(\d+)$/.exec(request.url ?? '') ?? [];
  if (untilClose !== undefined) {
    response.removeHeader('Transfer-Encoding');
    Readable.from(download(Number(untilClose), progress)).pipe(response);
    return;
  }
  if (request.url === '/file') return sendFile(response, fileURLToPath(import.meta.url));
  if (request.url === '/held') {
    progress.held += 1;
    await released;
  }
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of request) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  const { handover, tls, earlyBytes, requestNumber, variables } = connectionInfo(request);
  const { method, url, socket } = request;
  response.end(
    JSON.stringify({
      method,
      url,
      handover,
      tls,
      isEncrypted: (socket as Socket & { encrypted?: true }).encrypted === true,
      earlyBytes,
      requestNumber,
      variables,
      bytes,
      sha256: hash.digest('hex'),
    }),
  );
}

function* download(size: number, progress: Progress): Generator<Buffer> {
  for (let left = size; left > 0; left -= downloadChunk.length) {
    const chunk = downloadChunk.subarray(0, left);
    progress.produced += chunk.length;
    yield chunk;
  }
}

/**
 * Starts both; they end with the test, and the kernel's counters and nginx's descriptors are compared then. In no test may anything
 * come back on the UNIX connection of a partial handover: nginx would say so.
 */
export async function startFront(t: ExecutionContext, options: FrontOptions): Promise<Front> {
  const folder = tlsFolder(t);
  const app = join(folder, 'app.sock');
  const upgradeEnds: string[] = [];
  const progress: Progress = { held: 0, produced: 0 };
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { answers = {}, clientErrors = 'listened' } = options;
  const server = createServer(
    { keepAlive: { scope: '/' }, logger: { warn() {}, error() {} }, ...options.app },
    (request, response) => {
      const ownAnswer = answers[request.url ?? ''];
      if (ownAnswer !== undefined) return ownAnswer(request, response);
      answer(request, response, progress, released).catch(() => response.destroy());
      return undefined;
    },
  );
  const webSockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', (error: NodeJS.ErrnoException) => upgradeEnds.push(error.code ?? error.message));
    socket.on('end', () => upgradeEnds.push('end'));
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('message', (data, isBinary) => webSocket.send(data, { binary: isBinary }));
      webSocket.on('error', () => {});
    });
  });
  const errors: string[] = [];
  const truncations: Front['truncations'] = [];
  server.on('handoverError', ({ code }) => errors.push(code));
  if (clientErrors === 'listened') {
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      errors.push(error.code ?? error.message);
      socket.destroy();
    });
  }
  // Else a connection that a test keeps ends after 5 seconds, which on a busy machine is the middle of a test.
  server.keepAliveTimeout = 100_000;
  const sockets: Socket[] = [];
  server.on('connection', (socket) => {
    sockets.push(socket);
    socket.on('close', () => truncations.push(connectionInfo(socket).tls?.truncated));
  });
  server.listen({ path: app, mode: 0o666 });
  await once(server, 'listening');
  t.teardown(() => closed(server));

  const { pass = `fd_pass unix:${app};`, hasFallback = true, http, kernel, ...rest } = options;
  const nginx = await startTlsNginx(t, folder, {
    ...rest,
    http: http?.(app) ?? '',
    main: `load_module ${modulePath};`,
    server: `client_max_body_size 100m;
      location / { ${pass} ${hasFallback ? 'fd_pass_fallback @relay;' : ''} }
      location @relay { include /etc/nginx/scgi_params; scgi_pass unix:${app}; }
      ${rest.server ?? ''}`,
  });
  const moved = watchKernelTls();
  const [worker = 0] = nginx.workers();
  const before = openDescriptors(worker).size;
  t.teardown(async () => {
    deepStrictEqual(moved(), { decryptErrors: 0, ...kernel }, 'what the kernel did');
    doesNotMatch(nginx.errorLog(), /the backend wrote to the connection/);
    // A worker that has ended left nothing.
    if (nginx.workers().includes(worker)) {
      await until('nginx has closed what it had opened', () => openDescriptors(worker).size === before);
    }
  });
  return { ...nginx, server, upgradeEnds, errors, truncations, sockets, progress, release };
}
