// What one request took and moved: when it began, and the bytes of its body and of its answer's, without heads and framing. Kept once
// for all observers that ask for it, on the response itself, because frameworks exchange the prototypes of what they get.
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface RequestAccount {
  /** performance.now() when the first observer asked, which is before guards and the request listener. */
  readonly startedMs: number;
  /** Bytes of the request's body that were read so far; a body that nobody reads stays in the kernel. */
  requestBytes: number;
  /** Bytes of the answer's body that the application has given so far; a client that leaves does not get all of them. */
  responseBytes: number;
  /** Milliseconds until this was first asked, which is when the answer is done; the same for all who ask. */
  readonly durationMs: number;
  /** Whether the application has written before it ended: a stream does. */
  isWritten: boolean;
}

type Method = (...args: unknown[]) => unknown;

class Account implements RequestAccount {
  readonly startedMs = performance.now();
  requestBytes = 0;
  responseBytes = 0;
  isWritten = false;
  #durationMs: number | undefined;

  get durationMs(): number {
    this.#durationMs ??= performance.now() - this.startedMs;
    return this.#durationMs;
  }
}

const ACCOUNT: unique symbol = Symbol('requestAccount');
const RESPONSE: unique symbol = Symbol('response');
/** What a response had of its own before its writing was counted. */
const UNCOUNTED_WRITE: unique symbol = Symbol('write');
const UNCOUNTED_END: unique symbol = Symbol('end');

/** A response as far as it is counted. Node.js knows in `_hasBody` whether an answer of this method and status has a body. */
interface Accounted {
  [ACCOUNT]?: Account | undefined;
  [UNCOUNTED_WRITE]?: Method | undefined;
  [UNCOUNTED_END]?: Method | undefined;
  readonly _hasBody: boolean;
  readonly statusCode: number;
  readonly writableEnded: boolean;
}
type AccountedRequest = IncomingMessage & { [RESPONSE]?: Accounted };

/** Says that whoever made the response calls {@link countAnswer} itself. */
export function countItself(response: object): void {
  // Its place is there then: one that came later would move all that a response has beyond its own fields.
  (response as Accounted)[ACCOUNT] = undefined;
}

/** Begins to count; must be called in `onRequest`. Idempotent. */
export function openAccount(request: IncomingMessage, response: ServerResponse): RequestAccount {
  const accounted = response as unknown as Accounted;
  const open = accounted[ACCOUNT];
  if (open !== undefined) return open;
  const account = new Account();
  if (!(ACCOUNT in accounted)) countMethods(response, accounted);
  accounted[ACCOUNT] = account;
  if (!request.complete && mayHaveBody(request)) {
    (request as AccountedRequest)[RESPONSE] = accounted;
    request.push = countedPush;
  }
  return account;
}

/** @returns undefined if nobody has opened it */
export const accountOf = (response: ServerResponse): RequestAccount | undefined =>
  (response as unknown as Accounted)[ACCOUNT];

/** The head of an answer as it was written; '' before that. Node.js has no public name for it. */
export const answerHead = (response: ServerResponse): string =>
  (response as ServerResponse & { readonly _header: string | null })._header ?? '';

/** Counts what is written past the response. */
export function addResponseBytes(response: ServerResponse, bytes: number): void {
  const account = (response as unknown as Accounted)[ACCOUNT];
  if (account !== undefined) account.responseBytes += bytes;
}

/** Counts one call of `end()` or `write()`, before it takes effect. */
export function countAnswer(response: object, isEnd: boolean, chunk: unknown, encoding: unknown): void {
  const accounted = response as Accounted;
  const account = accounted[ACCOUNT];
  if (account === undefined || accounted.writableEnded) return;
  if (!isEnd) account.isWritten = true;
  const bytes = sizeOf(chunk, encoding);
  // Whether there is a body is certain only with the head, which this chunk may be the first to bring about.
  if (bytes > 0 && accounted._hasBody && !isBodyless(accounted.statusCode)) account.responseBytes += bytes;
}

function countMethods(response: ServerResponse, accounted: Accounted): void {
  if (Object.hasOwn(response, 'write')) accounted[UNCOUNTED_WRITE] = response.write as Method;
  if (Object.hasOwn(response, 'end')) accounted[UNCOUNTED_END] = response.end as Method;
  response.write = countedWrite as unknown as ServerResponse['write'];
  response.end = countedEnd as unknown as ServerResponse['end'];
}

const mayHaveBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';

function countedWrite(this: Accounted, ...args: unknown[]): unknown {
  countAnswer(this, false, args[0], args[1]);
  return (this[UNCOUNTED_WRITE] ?? prototypeOf(this).write).apply(this, args);
}

function countedEnd(this: Accounted, ...args: unknown[]): unknown {
  countAnswer(this, true, args[0], args[1]);
  return (this[UNCOUNTED_END] ?? prototypeOf(this).end).apply(this, args);
}

function countedPush(this: AccountedRequest, chunk: unknown, encoding?: BufferEncoding): boolean {
  const account = this[RESPONSE]?.[ACCOUNT] as Account;
  account.requestBytes += sizeOf(chunk, encoding);
  const { push } = Object.getPrototypeOf(this) as IncomingMessage;
  return push.call(this, chunk, encoding);
}

const isBodyless = (status: number): boolean => status === 204 || status === 304;

function sizeOf(chunk: unknown, encoding: unknown): number {
  if (typeof chunk === 'string') return Buffer.byteLength(chunk, encoding as BufferEncoding);
  return chunk instanceof Uint8Array ? chunk.byteLength : 0;
}

const prototypeOf = (response: object): Record<'write' | 'end', Method> => Object.getPrototypeOf(response);
