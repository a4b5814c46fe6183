// Runs the message decoder over bytes cut into chunks and puts what it did into one comparable value. For vectors, captures and
// fuzzing; expectations belong to the tests.

import { WireError } from '#scgi/errors.js';
import type { WireLimits } from '#scgi/limits.js';
import { type Message, MessageDecoder } from '#scgi/message.js';

/** What became of the bytes; equal values mean equal behaviour, however the bytes were cut. */
export type Outcome =
  | { kind: 'incomplete' }
  | { kind: 'error'; code: string }
  | {
      kind: 'message';
      facts: Pick<Message, 'dialect' | 'version' | 'ktls' | 'contentLength'>;
      headers: [name: string, value: string][];
      earlyBytes: string;
      rest: string;
    };

/** An outcome and the number of bytes the decoder had been given when it was certain. */
export interface Decoded {
  outcome: Outcome;
  certainAt: number;
}

/** Pushes the chunks until the decoder is certain; chunks left over count as `rest`. Anything but a WireError is thrown on. */
export function decodeChunks(chunks: readonly Buffer[], limits?: WireLimits): Decoded {
  const decoder = new MessageDecoder(limits);
  for (const [index, chunk] of chunks.entries()) {
    try {
      const message = decoder.push(chunk);
      if (message === undefined) continue;
      const { dialect, version, ktls, contentLength, headers, earlyBytes, rest } = message;
      const outcome: Outcome = {
        kind: 'message',
        facts: { dialect, version, ktls, contentLength },
        headers: [...headers.entries()],
        earlyBytes: earlyBytes.toString('latin1'),
        rest: Buffer.concat([rest, ...chunks.slice(index + 1)]).toString('latin1'),
      };
      return { outcome, certainAt: decoder.bytesReceived };
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return { outcome: { kind: 'error', code: error.code }, certainAt: decoder.bytesReceived };
    }
  }
  return { outcome: { kind: 'incomplete' }, certainAt: decoder.bytesReceived };
}

/** The bytes one by one. */
export const singleBytes = (bytes: Buffer): Buffer[] =>
  Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));

/** The bytes in two chunks, for every place they can be cut, an empty chunk at either end included. */
export function* everySplit(bytes: Buffer): Generator<[Buffer, Buffer]> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
}
