// sendFile(): a file as an answer, with validators, ranges and HEAD (RFC 9110 sections 8.8, 13, 14), by sendfile(2) where
// the connection is adopted, through a stream elsewhere (relay, plain http.Server, inject).
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import etag from 'etag';
import fresh from 'fresh';
import { contentType } from 'mime-types';
import parseRange from 'range-parser';
import type { Connection } from './connection.js';
import { RuntimeError } from './errors.js';
import { becameShorter, FileTransfer } from './file-transfer.js';
import { addResponseBytes } from './request-account.js';
import { HandoverServer } from './server.js';

export interface SendFileOptions {
  /** First byte of the file to send. @default 0 */
  start?: number;
  /** Last byte of the file to send, included. @default the file's last */
  end?: number;
}

/** What sendFile needs of a Fastify reply. */
interface ReplyLike {
  readonly raw: ServerResponse;
  getHeaders(): Record<string, number | string | string[] | undefined>;
  hijack(): unknown;
}

interface ByteRange {
  readonly start: number;
  /** Included; one less than start for nothing. */
  readonly end: number;
}

/**
 * Answers with a file: 200, 206 for a range, 304, 412 or 416. Headers set before are kept (Content-Type, Cache-Control, ...), and
 * so is another status than 200 (a page for 404): then neither conditions nor ranges are looked at. A Fastify reply is hijacked.
 * Resolves when the answer is written, or when the client went away in the middle.
 * @throws system errors of opening the file (ENOENT, EACCES), before anything is answered; `BKR_ERR_SEND_FILE` if it is no regular
 * file or `start`, `end` are no range of it
 */
export async function sendFile(
  to: ServerResponse | ReplyLike,
  path: string,
  options: SendFileOptions = {},
): Promise<void> {
  // Opening a FIFO without O_NONBLOCK would wait for somebody to write to it.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new RuntimeError('BKR_ERR_SEND_FILE', 'not a regular file');
    const section = fileSection(stats.size, options);
    const response = responseOf(to);
    describe(response, path, stats);
    await answer(response, file, section);
  } finally {
    await file.close();
  }
}

function responseOf(to: ServerResponse | ReplyLike): ServerResponse {
  if (!('raw' in to)) return to;
  for (const [name, value] of Object.entries(to.getHeaders())) {
    if (value !== undefined) to.raw.setHeader(name, value);
  }
  to.hijack();
  return to.raw;
}

function fileSection(size: number, { start = 0, end = size - 1 }: SendFileOptions): ByteRange {
  const isRange = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end >= start - 1;
  if (!isRange || end >= size) {
    throw new RuntimeError('BKR_ERR_SEND_FILE', `start and end must be a range of the file's ${size} bytes`);
  }
  return { start, end };
}

function describe(response: ServerResponse, path: string, stats: Stats): void {
  const defaults = {
    'Accept-Ranges': 'bytes',
    'Content-Type': contentType(basename(path)) || 'application/octet-stream',
    'Last-Modified': stats.mtime.toUTCString(),
    ETag: etag(stats),
  };
  for (const [name, value] of Object.entries(defaults)) {
    if (!response.hasHeader(name)) response.setHeader(name, value);
  }
}

async function answer(response: ServerResponse, file: FileHandle, section: ByteRange): Promise<void> {
  const size = section.end - section.start + 1;
  let start = 0;
  let end = size - 1;
  // Conditions and ranges are for answers that would be 200 without them (RFC 9110 sections 13.2.1 and 14.2).
  if (response.statusCode === 200) {
    const { req: request } = response;
    if (failsPrecondition(request, response)) return answerEmpty(response, 412);
    if (isFresh(request, response)) return answerEmpty(response, 304);
    const range = requestedRange(request, response, size);
    if (range === 'unsatisfiable') {
      response.setHeader('Content-Range', `bytes */${size}`);
      return answerEmpty(response, 416);
    }
    if (range !== undefined) {
      ({ start, end } = range);
      response.statusCode = 206;
      response.setHeader('Content-Range', `bytes ${start}-${end}/${size}`);
    }
  }
  const length = end - start + 1;
  response.setHeader('Content-Length', length);
  if (response.req.method === 'HEAD' || length === 0) return void response.end();
  await sendBody(response, file, section.start + start, length);
}

function answerEmpty(response: ServerResponse, status: number): void {
  response.statusCode = status;
  for (const name of ['Content-Type', 'Content-Length', 'Content-Encoding']) response.removeHeader(name);
  if (status !== 304) response.setHeader('Content-Length', 0);
  response.end();
}

/** If-Match and If-Unmodified-Since (RFC 9110 sections 13.1.1 and 13.1.4). */
function failsPrecondition({ headers }: IncomingMessage, response: ServerResponse): boolean {
  const ifMatch = headers['if-match'];
  if (ifMatch !== undefined) {
    const tag = String(response.getHeader('ETag'));
    // The comparison is strong, and ours are weak tags when made from a file's facts.
    return (
      ifMatch !== '*' && !ifMatch.split(',').some((each) => each.trim() === tag && !tag.startsWith('W/'))
    );
  }
  const unmodifiedSince = Date.parse(headers['if-unmodified-since'] ?? '');
  return !Number.isNaN(unmodifiedSince) && lastModifiedMs(response) > unmodifiedSince;
}

function isFresh({ method, headers }: IncomingMessage, response: ServerResponse): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false;
  const etagHeader = String(response.getHeader('ETag'));
  return fresh(headers, { etag: etagHeader, 'last-modified': String(response.getHeader('Last-Modified')) });
}

/** Several ranges at once are answered with the whole, as RFC 9110 section 14.2 allows. */
function requestedRange(
  { method, headers }: IncomingMessage,
  response: ServerResponse,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  if (method !== 'GET' || headers.range === undefined || !isRangeFresh(headers['if-range'], response)) return;
  const ranges = parseRange(size, headers.range, { combine: true });
  if (ranges === -1) return 'unsatisfiable';
  if (ranges === -2 || ranges.type !== 'bytes' || ranges.length !== 1) return undefined;
  return ranges[0];
}

function isRangeFresh(ifRange: string | string[] | undefined, response: ServerResponse): boolean {
  if (typeof ifRange !== 'string') return true;
  if (ifRange.includes('"')) return ifRange === response.getHeader('ETag') && !ifRange.startsWith('W/');
  return lastModifiedMs(response) <= Date.parse(ifRange);
}

const lastModifiedMs = (response: ServerResponse): number =>
  Date.parse(String(response.getHeader('Last-Modified')));

async function sendBody(
  response: ServerResponse,
  file: FileHandle,
  offset: number,
  length: number,
): Promise<void> {
  const socket = await socketOf(response);
  if (socket.destroyed) return;
  const connection = adoptedConnection(socket);
  try {
    if (connection === undefined) await sendStream(response, file, offset, length);
    else await sendAdopted(response, connection, file, offset, length);
  } catch (error) {
    // The head promised more than came: only closing tells the client.
    response.destroy();
    if (!GONE.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

async function sendAdopted(
  response: ServerResponse,
  connection: Connection,
  file: FileHandle,
  offset: number,
  length: number,
): Promise<void> {
  response.flushHeaders();
  // Past the response, which would count what it writes itself.
  const onBytes = (bytes: number): void => addResponseBytes(response, bytes);
  await new FileTransfer(connection, file.fd, offset, length, onBytes).run();
  response.end();
}

async function sendStream(
  response: ServerResponse,
  file: FileHandle,
  offset: number,
  length: number,
): Promise<void> {
  // By the handle, which knows when it is closed: a stream on its descriptor would close that a second time.
  const stream = file.createReadStream({ start: offset, end: offset + length - 1 });
  await pipeline(
    stream,
    async function* whole(chunks: AsyncIterable<Buffer>) {
      yield* chunks;
      if (stream.bytesRead < length) throw becameShorter();
    },
    response,
  );
}

/** A response queued behind others (pipelining) gets its socket later. */
async function socketOf(response: ServerResponse): Promise<Socket> {
  const { socket } = response.req;
  if (response.socket === null && !socket.destroyed) {
    await new Promise<void>((resolve) => {
      response.once('socket', () => resolve());
      response.once('close', () => resolve());
      // http.Server itself tells a queued response nothing when its connection closes; a handover server does.
      if (!isHandedOver(socket)) socket.once('close', () => resolve());
    });
  }
  return response.socket ?? socket;
}

/** The connection sendfile(2) can be used on. */
function adoptedConnection(socket: Socket): Connection | undefined {
  if (!isHandedOver(socket)) return undefined;
  const connection = socket.server.connectionOf(socket);
  return connection?.facts.handover === 'relay' ? undefined : connection;
}

const isHandedOver = (socket: Socket & { server?: unknown }): socket is Socket & { server: HandoverServer } =>
  socket.server instanceof HandoverServer;

/** How writing fails when the client has gone away, or its network has. */
const GONE: ReadonlySet<string> = new Set([
  'EPIPE',
  'ECONNRESET',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_PREMATURE_CLOSE',
]);
