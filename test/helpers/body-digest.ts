// Bodies that can be made again from a number, and a handler that answers with the SHA-256 of the one it got, and how it came.
import { createCipheriv, createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connectionInfo } from '@fdpass/backend-runtime';

/** What arrived. */
export interface Digest {
  readonly bytes: number;
  readonly sha256: string;
}

/** What {@link answerDigest} answers, as JSON. */
export interface Arrived extends Digest {
  readonly method: string;
  readonly url: string;
  readonly handover: string;
  readonly requestNumber: number;
  readonly earlyBytes: number;
}

/** `size` bytes in which no part is like another; the same for the same `seed`. */
export function bodyOf(size: number, seed = 0): Buffer {
  const key = createHash('sha256').update(`body ${seed}`).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

export function digestOf(body: Buffer | string): Digest {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/** Answers when the whole body is here; not at all if it breaks off. */
export async function answerDigest(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  } catch {
    return;
  }
  const { handover, requestNumber, earlyBytes } = connectionInfo(request);
  const arrived: Arrived = {
    method: request.method ?? '',
    url: request.url ?? '',
    handover,
    requestNumber,
    earlyBytes,
    bytes,
    sha256: hash.digest('hex'),
  };
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(arrived));
}

/** @param chunkBytes of each chunk but the last */
export function chunked(body: Buffer, chunkBytes = 8192): Buffer {
  const parts: (Buffer | string)[] = [];
  for (let at = 0; at < body.length; at += chunkBytes) {
    const chunk = body.subarray(at, at + chunkBytes);
    parts.push(`${chunk.length.toString(16)}\r\n`, chunk, '\r\n');
  }
  parts.push('0\r\n\r\n');
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}
