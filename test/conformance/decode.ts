// Runs the message decoder over bytes cut into chunks and puts what it did into one comparable value. For vectors, captures and
// fuzzing; expectations belong to the tests.

import { WireError } from '#scgi/errors.js';
import type { HandoverKind } from '#scgi/handover.js';
import { type WireLimits, wireLimits } from '#scgi/limits.js';
import { decodeWholeMessage, kindOf, type Message, MessageDecoder } from '#scgi/message.js';

/** What became of the bytes; equal values mean equal behaviour, however the bytes were cut. */
export type Outcome =
  | { kind: 'incomplete' }
  | { kind: 'error'; code: string }
  | {
      kind: 'message';
      facts: Pick<Message, 'dialect' | 'version' | 'ktls' | 'contentLength' | 'keepAlive'>;
      way: Way;
      headers: [name: string, value: string][];
      earlyBytes: string;
      rest: string;
    };

/** How it came. */
export interface Way {
  kind: HandoverKind;
  /** 0 if it was not passed on. */
  hops: number;
  /** By a router's word. */
  firstVersion?: 0 | 1;
  /** pid, uid and gid. */
  firstSender?: string;
  relayLength?: number;
}

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
      const outcome = outcomeOf(message, chunks.slice(index + 1));
      return { outcome, certainAt: decoder.bytesReceived };
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return { outcome: { kind: 'error', code: error.code }, certainAt: decoder.bytesReceived };
    }
  }
  return { outcome: { kind: 'incomplete' }, certainAt: decoder.bytesReceived };
}

function outcomeOf(message: Message, behind: readonly Buffer[]): Outcome {
  const { dialect, version, ktls, contentLength, keepAlive } = message;
  const { headers, earlyBytes, rest } = message;
  return {
    kind: 'message',
    facts: { dialect, version, ktls, contentLength, keepAlive },
    way: wayOf(message),
    headers: [...headers.entries()],
    earlyBytes: earlyBytes.toString('latin1'),
    rest: Buffer.concat([rest, ...behind]).toString('latin1'),
  };
}

function wayOf(message: Message): Way {
  const { via, relayLength } = message;
  const way: Way = { kind: kindOf(message), hops: via?.hops ?? 0 };
  if (via !== undefined) {
    way.firstVersion = via.version;
    way.firstSender = `${via.sender.pid} ${via.sender.uid} ${via.sender.gid}`;
  }
  if (relayLength !== undefined) way.relayLength = relayLength;
  return way;
}

/**
 * The way of a message that came whole, among bytes of others. Where that way leaves the verdict to the decoder of pieces, so does this:
 * but a whole message it must take.
 */
export function decodeWhole(bytes: Buffer, limits: WireLimits = wireLimits()): Outcome {
  const others = Buffer.from('0:,7:,00:1,:');
  const batch = Buffer.concat([others, bytes, others]);
  const end = others.length + bytes.length;
  try {
    const message = decodeWholeMessage(batch, others.length, end, limits);
    if (message !== undefined) return outcomeOf(message, []);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return { kind: 'error', code: error.code };
  }
  const { outcome } = decodeChunks([bytes], limits);
  if (outcome.kind === 'message') throw new Error('a whole message was not recognized');
  if (outcome.kind === 'error' && !/_NETSTRING_|_MESSAGE_TOO_LARGE$/.test(outcome.code)) {
    throw new Error(`a whole netstring was not recognized: ${outcome.code}`);
  }
  return outcome;
}

/** The bytes one by one. */
export const singleBytes = (bytes: Buffer): Buffer[] =>
  Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));

/** The bytes in two chunks, for every place they can be cut, an empty chunk at either end included. */
export function* everySplit(bytes: Buffer): Generator<[Buffer, Buffer]> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
}
