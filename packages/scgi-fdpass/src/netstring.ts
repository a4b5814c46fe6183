// Netstrings: `<length>:<payload>,` (https://cr.yp.to/proto/netstrings.txt). Knows nothing of what the payload means.

import { WireError } from './errors.js';
import { ExactBytes } from './exact-bytes.js';
import { defaultWireLimits, type WireLimits } from './limits.js';

const DIGIT_ZERO = 0x30;
const DIGIT_NINE = 0x39;
const COLON = 0x3a;
const COMMA = 0x2c;

/** Wraps `payload` into a netstring, in one new buffer. */
export function encodeNetstring(payload: Uint8Array): Buffer {
  const prefix = `${payload.length}:`;
  const encoded = Buffer.allocUnsafe(prefix.length + payload.length + 1);
  encoded.write(prefix, 0, 'latin1');
  encoded.set(payload, prefix.length);
  encoded[encoded.length - 1] = COMMA;
  return encoded;
}

/** A piece of a buffer: its first byte, and the one behind its last. */
export interface Span {
  begin: number;
  end: number;
}

/**
 * Looks for one netstring that is whole in `bytes` from `begin` to `end`, and notes where its payload is.
 *
 * @returns false if it is not whole or not well-formed: a {@link NetstringDecoder} tells which
 */
export function findNetstring(
  bytes: Uint8Array,
  begin: number,
  end: number,
  { maxMessageBytes, maxLengthDigits }: Readonly<Pick<WireLimits, 'maxMessageBytes' | 'maxLengthDigits'>>,
  payload: Span,
): boolean {
  const longest = Math.min(end, begin + maxLengthDigits);
  let length = 0;
  let at = begin;
  for (; at < longest; at++) {
    const digit = (bytes[at] as number) - DIGIT_ZERO;
    if (digit < 0 || digit > 9) break;
    if (length === 0 && at > begin) return false;
    length = length * 10 + digit;
    if (length > maxMessageBytes) return false;
  }
  const payloadBegin = at + 1;
  const payloadEnd = payloadBegin + length;
  if (at === begin || payloadEnd >= end || bytes[at] !== COLON || bytes[payloadEnd] !== COMMA) return false;
  payload.begin = payloadBegin;
  payload.end = payloadEnd;
  return true;
}

/**
 * Decodes one netstring from chunks cut anywhere. Each rule is judged at the first byte that breaks it: a length above the
 * limit before any payload is awaited. Chunks are kept by reference, so their memory must not be written to again.
 */
export class NetstringDecoder {
  readonly #limits: Readonly<Pick<WireLimits, 'maxMessageBytes' | 'maxLengthDigits'>>;
  #length = 0;
  #digits = 0;
  #collected: ExactBytes | undefined;
  #payload: Buffer | undefined;
  #failure: WireError | undefined;

  constructor(limits: Readonly<Pick<WireLimits, 'maxMessageBytes' | 'maxLengthDigits'>> = defaultWireLimits) {
    this.#limits = limits;
  }

  /** The payload once the netstring is complete, undefined before. */
  get payload(): Buffer | undefined {
    return this.#payload;
  }

  /**
   * Takes the next bytes; returns what follows the netstring (perhaps nothing: an empty buffer) when it is complete, and
   * undefined while it is not. After an error every further call throws the same error.
   *
   * @throws SCGI_ERR_NETSTRING_LENGTH not 1 to `maxLengthDigits` digits without leading zeros and a colon
   * @throws SCGI_ERR_MESSAGE_TOO_LARGE the length is above `maxMessageBytes`
   * @throws SCGI_ERR_NETSTRING_COMMA no comma behind the payload
   * @throws SCGI_ERR_DECODER_DONE called after completion
   */
  push(chunk: Buffer): Buffer | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#payload !== undefined) throw new WireError('SCGI_ERR_DECODER_DONE');

    let offset = this.#collected === undefined ? this.#readLength(chunk) : 0;
    const collected = this.#collected;
    if (collected === undefined) return undefined;

    offset = collected.take(chunk, offset);
    if (!collected.complete || offset === chunk.length) return undefined;
    if (chunk[offset] !== COMMA) throw this.#fail(new WireError('SCGI_ERR_NETSTRING_COMMA'));

    this.#payload = collected.bytes;
    return chunk.subarray(offset + 1);
  }

  /** Reads digits up to and with the colon; returns the offset behind what it read. */
  #readLength(chunk: Buffer): number {
    const { maxMessageBytes, maxLengthDigits } = this.#limits;
    for (let offset = 0; offset < chunk.length; offset++) {
      const byte = chunk[offset] as number;
      if (byte === COLON && this.#digits > 0) {
        this.#collected = new ExactBytes(this.#length);
        return offset + 1;
      }
      const isDigit = byte >= DIGIT_ZERO && byte <= DIGIT_NINE;
      const afterLeadingZero = this.#digits > 0 && this.#length === 0;
      if (!isDigit || afterLeadingZero || this.#digits === maxLengthDigits) {
        throw this.#fail(new WireError('SCGI_ERR_NETSTRING_LENGTH', maxLengthDigits));
      }
      this.#digits++;
      this.#length = this.#length * 10 + (byte - DIGIT_ZERO);
      if (this.#length > maxMessageBytes) {
        throw this.#fail(new WireError('SCGI_ERR_MESSAGE_TOO_LARGE', maxMessageBytes));
      }
    }
    return chunk.length;
  }

  #fail(error: WireError): WireError {
    this.#failure = error;
    return error;
  }
}
