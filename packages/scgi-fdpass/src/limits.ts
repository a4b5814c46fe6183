// The limits of the wire codecs: what one sender may make the receiver hold in memory. Deadlines and the number of
// descriptors and connections belong to the receiver.

import { WireError } from './errors.js';

/** What one message may cost; past a limit the connection it came on is refused and closed. */
export interface WireLimits {
  /** Bytes of the netstring's payload, that is of all SCGI headers together. @default 262144 */
  maxMessageBytes: number;
  /** Number of SCGI headers in a message, CONTENT_LENGTH and SCGI counted; those that routers add are not. @default 512 */
  maxHeaders: number;
  /** Bytes of one SCGI header value; the same bound holds for a name. @default 65536 */
  maxHeaderValueBytes: number;
  /** Digits in the netstring's length. @default 8 */
  maxLengthDigits: number;
  /**
   * Early bytes behind the netstring (fd_pass dialect only; a plain body is streamed, not held). A message that was passed on may have
   * {@link ONE_READ_BYTES} more. @default 65536
   */
  maxEarlyBytes: number;
}

/** The defaults: room for the largest head nginx passes on (32 KiB) many times over. */
export const defaultWireLimits: Readonly<WireLimits> = Object.freeze({
  maxMessageBytes: 262_144,
  maxHeaders: 512,
  maxHeaderValueBytes: 65_536,
  maxLengthDigits: 8,
  maxEarlyBytes: 65_536,
});

/**
 * Most bytes that a receiver reads at once (Batch::kReadBytes of the addon). It may have read so many behind a message whose sender
 * goes on; passed on they are early bytes.
 */
export const ONE_READ_BYTES = 65_536;

/** No limit may be set higher: a message is decoded as one string, and V8 refuses strings of 512 MiB and more. */
export const MAX_LIMIT = 268_435_456;

/**
 * Fills in the defaults and checks each limit: an integer from 1 to {@link MAX_LIMIT}.
 *
 * @throws SCGI_ERR_LIMIT_OPTION
 */
export function wireLimits(partial: Partial<WireLimits> = {}): WireLimits {
  return {
    maxMessageBytes: limit(partial, 'maxMessageBytes'),
    maxHeaders: limit(partial, 'maxHeaders'),
    maxHeaderValueBytes: limit(partial, 'maxHeaderValueBytes'),
    maxLengthDigits: limit(partial, 'maxLengthDigits'),
    maxEarlyBytes: limit(partial, 'maxEarlyBytes'),
  };
}

function limit(partial: Partial<WireLimits>, name: keyof WireLimits): number {
  // undefined is what an option that was passed through without being set looks like; null is a mistake.
  return integerOption(
    name,
    partial[name] === undefined ? defaultWireLimits[name] : partial[name],
    1,
    MAX_LIMIT,
  );
}

/** Checks an option that shall be an integer. @throws SCGI_ERR_LIMIT_OPTION */
export function integerOption(name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw new WireError('SCGI_ERR_LIMIT_OPTION', name, min, max);
}
