// Reads HTTP/1.1 answers off a raw connection, strictly enough to see that each one is whole and where it ends. Knows
// nothing of who sent them.
import { once } from 'node:events';
import type { RawClient } from './raw-client.js';

export interface Answer {
  readonly status: number;
  readonly reason: string;
  /** Names in lower case; repeated fields joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
  /** Decoded if it was chunked; latin1. */
  readonly body: string;
  readonly isChunked: boolean;
  readonly trailers: Readonly<Record<string, string>>;
}

/** @param isHead it has no body, whatever its headers say @returns undefined while it is not whole */
function parseAnswer(
  received: string,
  isHead: boolean,
  isAtEnd: boolean,
): { answer: Answer; rest: string } | undefined {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd === -1) return undefined;
  const [statusLine = '', ...lines] = received.slice(0, headEnd).split('\r\n');
  const [, status = '', reason = ''] = /^HTTP\/1\.1 (\d{3}) ?(.*)$/.exec(statusLine) ?? [];
  if (status === '') throw new Error(`not a status line: ${JSON.stringify(statusLine)}`);
  const headers = fields(lines);
  const rest = received.slice(headEnd + 4);
  const answer = { status: Number(status), reason, headers, body: '', isChunked: false, trailers: {} };
  if (isHead || status.startsWith('1') || status === '204' || status === '304') return { answer, rest };
  if (headers['transfer-encoding'] === 'chunked') {
    const chunked = decodeChunked(rest);
    if (chunked === undefined) return undefined;
    const { body, trailers } = chunked;
    return { answer: { ...answer, body, trailers, isChunked: true }, rest: chunked.rest };
  }
  const length = headers['content-length'];
  if (length === undefined) return isAtEnd ? { answer: { ...answer, body: rest }, rest: '' } : undefined;
  if (rest.length < Number(length)) return undefined;
  return { answer: { ...answer, body: rest.slice(0, Number(length)) }, rest: rest.slice(Number(length)) };
}

function fields(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  return headers;
}

function decodeChunked(
  coded: string,
): { body: string; trailers: Record<string, string>; rest: string } | undefined {
  let body = '';
  let at = 0;
  for (;;) {
    const lineEnd = coded.indexOf('\r\n', at);
    if (lineEnd === -1) return undefined;
    const size = Number.parseInt(coded.slice(at, lineEnd), 16);
    at = lineEnd + 2;
    if (size === 0) break;
    if (coded.length < at + size + 2) return undefined;
    body += coded.slice(at, at + size);
    at += size + 2;
  }
  if (coded.startsWith('\r\n', at)) return { body, trailers: {}, rest: coded.slice(at + 2) };
  const end = coded.indexOf('\r\n\r\n', at);
  if (end === -1) return undefined;
  return { body, trailers: fields(coded.slice(at, end).split('\r\n')), rest: coded.slice(end + 4) };
}

/**
 * Waits for `count` whole answers, the interim ones (1xx) among them, and takes them off `client.received`.
 * @throws if the connection ends before
 */
export async function readAnswers(client: RawClient, count: number, isHead = false): Promise<Answer[]> {
  const answers: Answer[] = [];
  while (answers.length < count) {
    const isAtEnd = client.socket.readableEnded || client.socket.destroyed;
    const parsed = parseAnswer(client.received, isHead, isAtEnd);
    if (parsed !== undefined) {
      answers.push(parsed.answer);
      client.received = parsed.rest;
    } else if (isAtEnd) {
      const how = `${client.error ?? 'politely'} after ${answers.length} of ${count} answers`;
      throw new Error(`the connection ended ${how}, then: ${client.received}`);
    } else {
      await nextEvent(client);
    }
  }
  return answers;
}

/** One answer to what was sent. */
export async function readAnswer(client: RawClient, isHead = false): Promise<Answer> {
  const [answer] = await readAnswers(client, 1, isHead);
  return answer as Answer;
}

/** Sends a request and reads its answer. */
export async function exchange(client: RawClient, request: string, isHead = false): Promise<Answer> {
  await client.send(request);
  return readAnswer(client, isHead);
}

async function nextEvent({ socket }: RawClient): Promise<void> {
  const abort = new AbortController();
  const { signal } = abort;
  try {
    await Promise.race(['data', 'end', 'close'].map((event) => once(socket, event, { signal })));
  } catch {
    // 'error' comes before 'close'; the next look sees the socket destroyed.
  } finally {
    abort.abort();
  }
}
