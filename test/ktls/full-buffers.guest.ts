// Answers to a client that reads late, when the kernel has no room: files by sendfile(2), and the close_notify behind an answer, which
// waits until the client has taken something, or until that takes too long.
import { createReadStream, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { sendFile } from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { type Handler, temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import {
  downloadChunk,
  type FrontOptions,
  sha256,
  startFront,
  VERSIONS,
  withFront,
} from './passing-front.js';
import { type Step, startPython, type TlsVersion } from './tls-clients.js';

const native = loadNative();
/** asm-generic/socket.h, which the addon has no names for. */
const [SOL_SOCKET, SO_SNDBUF, SO_SNDBUFFORCE] = [1, 7, 32] as const;
/** Fits into the kernel of this side, not into the client's. */
const BODY = Buffer.alloc(2 ** 20, downloadChunk);
const ROOM = 2 ** 23;
/** More than the kernels of both sides keep. Each line says where in the file it is. */
const CONTENT = Array.from({ length: 800_000 }, (_, nth) => String(nth).padStart(9)).join('\n');

const READ_ON: Step = ['read_to_end'];

/** nginx in front of `handler`, and a client that has read the head of an answer and waits; then it does `then`. */
async function startLateReader(
  t: ExecutionContext,
  version: TlsVersion,
  options: FrontOptions,
  handler: Handler,
  then: Step,
) {
  const front = await startFront(t, { ...options, answers: { '/answer': handler } });
  const client = startPython(front.port, version, [
    ['write', 'GET /answer HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n'],
    ['send'],
    ['read_until', '\r\n\r\n'],
    ['await_word'],
    then,
  ]);
  return { front, client };
}

const bodyOf = (received: string): Buffer =>
  Buffer.from(received.slice(received.indexOf('\r\n\r\n') + 4), 'latin1');

/** What the answers of a connection are written to. */
const descriptorOf = (socket: Socket): number =>
  (socket as unknown as { sink: { _handle: { fd: number } } }).sink._handle.fd;

/** Ends when the kernel has everything and has no room left. */
async function fillAndEnd({ socket }: IncomingMessage, response: ServerResponse): Promise<void> {
  const fd = descriptorOf(socket);
  native.setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, ROOM);
  response.writeHead(200, { 'Content-Length': BODY.length });
  await new Promise((written) => response.write(BODY, written));
  // What it holds already stays: there is room again when nearly all of it is taken.
  native.setOption(fd, SOL_SOCKET, SO_SNDBUF, 1);
  response.end();
}

/** Counts what the addon sends by sendfile(2), and how often it finds no room, until the test ends. */
function watchSendfile(t: ExecutionContext): { bytes: number; blocked: number } {
  const counted = { bytes: 0, blocked: 0 };
  const { sendfile } = native;
  native.sendfile = (outFd, inFd, offset, length, callback) =>
    sendfile(outFd, inFd, offset, length, (error, bytes, wouldBlock) => {
      counted.bytes += bytes;
      counted.blocked += wouldBlock ? 1 : 0;
      callback(error, bytes, wouldBlock);
    });
  t.teardown(() => {
    native.sendfile = sendfile;
  });
  return counted;
}

async function writeContent(t: ExecutionContext): Promise<string> {
  const file = join(await temporaryFolder(t), 'content');
  writeFileSync(file, CONTENT);
  return file;
}

for (const { version, kind } of VERSIONS) {
  const kernel = { tx: 1, rx: kind === 'full' ? 1 : 0 };
  const as = (title: string): string => `${version}, ${kind}: ${title}`;

  withFront(as('a file is not copied, and waits for room'), async (t) => {
    const counted = watchSendfile(t);
    const file = await writeContent(t);
    const answer: Handler = (_request, response) => sendFile(response, file);
    const { front, client } = await startLateReader(t, version, { kernel }, answer, READ_ON);
    await until('there is no room', () => counted.blocked > 0);
    t.true(counted.bytes < CONTENT.length);
    client.goOn();
    const { received, ended } = await client.result;
    t.is(sha256(bodyOf(received)), sha256(CONTENT));
    t.is(ended, 'close_notify');
    t.is(counted.bytes, CONTENT.length);
    t.deepEqual(front.errors, []);
  });

  withFront(as('close_notify waits for room'), async (t) => {
    const { front, client } = await startLateReader(t, version, { kernel }, fillAndEnd, READ_ON);
    await until('the answer has ended', () => front.sockets[0]?.writableEnded === true);
    const socket = front.sockets[0] as Socket;
    // It would be sent by now.
    for (let turns = 0; turns < 100; turns += 1) await setImmediate();
    t.is(socket.writableLength, 0);
    t.true(native.writeQueueBytes(descriptorOf(socket)) > 0);
    t.false(socket.writableFinished);
    client.goOn();
    const { received, ended } = await client.result;
    t.is(sha256(bodyOf(received)), sha256(BODY));
    t.is(ended, 'close_notify');
    t.true(socket.writableFinished);
    t.deepEqual(front.errors, []);
  });

  withFront(as('close_notify does not wait for room longer than sendTimeoutMs'), async (t) => {
    const app = { sendTimeoutMs: 500, tcpUserTimeoutMs: 0 };
    const { front, client } = await startLateReader(t, version, { kernel, app }, fillAndEnd, ['close']);
    await until('the client is asked for', () => front.sockets.length === 1);
    const isOver = (): boolean => front.server.stats().connections === 0;
    await until('the application gives up', isOver, 10_000).catch(() => {});
    t.deepEqual(front.errors, ['BKR_ERR_SEND_TIMEOUT']);
    client.goOn();
    await client.result;
  });
}

withFront('TLSv1.2, full: a file that is copied is seen to be', async (t) => {
  const counted = watchSendfile(t);
  const file = await writeContent(t);
  const copy: Handler = (_request, response) => pipeline(createReadStream(file), response, () => {});
  const kernel = { tx: 1, rx: 1 };
  const { client } = await startLateReader(t, 'TLSv1.2', { kernel }, copy, READ_ON);
  client.goOn();
  t.is((await client.result).ended, 'close_notify');
  t.is(counted.bytes, 0);
});
