// One message of the wire: netstring, SCGI headers, and behind them the early bytes of the fd_pass dialect. It owns the
// two dialects and the version; descriptors, deadlines and the acknowledgement belong to the receiver and the sender.

import { WireError } from './errors.js';
import { ExactBytes } from './exact-bytes.js';
import type { HandoverKind } from './handover.js';
import { defaultWireLimits, ONE_READ_BYTES, type WireLimits } from './limits.js';
import { encodeNetstring, findNetstring, NetstringDecoder, type Span } from './netstring.js';
import {
  decodeScgiHeaders,
  decodeScgiText,
  encodeScgiHeaders,
  type ScgiHeaders,
  SINGLETON_NAMES,
} from './scgi-headers.js';
import { readRelayLength, readVia, type Via } from './via.js';

/** `fd_pass`: a descriptor comes beside the message. `plain`: ordinary SCGI, the body follows and the answer goes back. */
export type Dialect = 'fd_pass' | 'plain';

/** Whether the kernel decrypts what the client sends: `none` without TLS, `full` if it does, `partial` if the sender must. */
export type KtlsReceive = 'none' | 'full' | 'partial';

/** A decoded message. */
export interface Message {
  readonly dialect: Dialect;
  /** 1: the sender, or the router, forwards early bytes and waits for the acknowledgement. 0: it does neither; always so in `plain`. */
  readonly version: 0 | 1;
  readonly headers: ScgiHeaders;
  /** CONTENT_LENGTH: in `fd_pass` the number of early bytes, in `plain` the length of the body, which follows. */
  readonly contentLength: number;
  /** What the sender had read past the request head; empty in `plain`. */
  readonly earlyBytes: Buffer;
  /** What came behind the message in the last chunk: in `plain` the first body bytes, in a partial handover client bytes. */
  readonly rest: Buffer;
  /** From KTLS_RX; always `none` in a relay, which has no client's descriptor. */
  readonly ktls: KtlsReceive;
  /** FD_PASS_KEEPALIVE=1 in a full handover of version 1: the sender would like to send more messages on its connection. */
  readonly keepAlive: boolean;
  /** Set if the message was passed on, which only version 1 can be. */
  readonly via: Via | undefined;
  /** The body's length, if it is a relay that was passed on: FD_PASS_RELAY. */
  readonly relayLength: number | undefined;
}

/** The kind of handover a message is. */
export const kindOf = ({
  dialect,
  ktls,
  relayLength,
}: Pick<Message, 'dialect' | 'ktls' | 'relayLength'>): HandoverKind =>
  dialect === 'plain' || relayLength !== undefined ? 'relay' : ktls === 'partial' ? 'partial' : 'full';

const NO_BYTES = Buffer.alloc(0);
const DIALECT_VALUES: Readonly<Record<Dialect, string>> = { fd_pass: '1+fd_pass', plain: '1' };

type MessageHead = Omit<Message, 'earlyBytes' | 'rest'>;

/**
 * Decodes one message from chunks cut anywhere. What arrives whole in one chunk is sliced, not copied, so a chunk's memory
 * must not be written to again.
 */
export class MessageDecoder {
  readonly #limits: Readonly<WireLimits>;
  readonly #netstring: NetstringDecoder;
  #head: MessageHead | undefined;
  #earlyBytes = new ExactBytes(0);
  #done = false;
  #failure: unknown;
  #bytesReceived = 0;

  constructor(limits: Readonly<WireLimits> = defaultWireLimits) {
    this.#limits = limits;
    this.#netstring = new NetstringDecoder(limits);
  }

  /** Bytes pushed so far, those of `rest` included: 0 tells a sender that never spoke from one that stopped midway. */
  get bytesReceived(): number {
    return this.#bytesReceived;
  }

  /**
   * Takes the next bytes; returns the message when it is complete, and undefined while it is not. In `fd_pass` it is complete
   * with its last early byte, in `plain` with the netstring. After an error every further call throws the same error.
   *
   * @throws SCGI_ERR_NETSTRING_LENGTH, SCGI_ERR_NETSTRING_COMMA, SCGI_ERR_MESSAGE_TOO_LARGE
   * @throws SCGI_ERR_TOO_MANY_HEADERS, SCGI_ERR_HEADERS_MALFORMED, SCGI_ERR_HEADER_TOO_LARGE, SCGI_ERR_DUPLICATE_HEADER
   * @throws SCGI_ERR_CONTENT_LENGTH_FIRST, SCGI_ERR_CONTENT_LENGTH_VALUE, SCGI_ERR_DIALECT_MISSING, SCGI_ERR_DIALECT
   * @throws SCGI_ERR_VERSION, SCGI_ERR_VIA, SCGI_ERR_RELAY, SCGI_ERR_KTLS_RX, SCGI_ERR_EARLY_BYTES_TOO_LARGE
   * @throws SCGI_ERR_DECODER_DONE called after completion
   */
  push(chunk: Buffer): Message | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#done) throw new WireError('SCGI_ERR_DECODER_DONE');
    this.#bytesReceived += chunk.length;
    try {
      return this.#advance(chunk);
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  #advance(chunk: Buffer): Message | undefined {
    let bytes: Buffer | undefined = chunk;
    if (this.#head === undefined) {
      bytes = this.#netstring.push(chunk);
      if (bytes === undefined) return undefined;
      this.#head = readHead(decodeScgiHeaders(this.#netstring.payload as Buffer, this.#limits), this.#limits);
      if (this.#head.dialect === 'fd_pass') this.#earlyBytes = new ExactBytes(this.#head.contentLength);
    }
    const end = this.#earlyBytes.take(bytes, 0);
    if (!this.#earlyBytes.complete) return undefined;
    this.#done = true;
    return messageOf(this.#head, this.#earlyBytes.bytes, bytes.subarray(end));
  }
}

/** Filled in and read again at once. */
const payload: Span = { begin: 0, end: 0 };

/**
 * Decodes a message that is whole in `bytes` from `begin` to `end`, as nearly all are, without the objects that pieces need.
 *
 * @returns undefined if it is not whole, or if its netstring is malformed: a {@link MessageDecoder} tells which, and then judges it
 * @throws what {@link MessageDecoder.push} throws for the headers
 */
export function decodeWholeMessage(
  bytes: Buffer,
  begin: number,
  end: number,
  limits: Readonly<WireLimits>,
): Message | undefined {
  if (!findNetstring(bytes, begin, end, limits, payload)) return undefined;
  const text = bytes.toString('latin1', payload.begin, payload.end);
  const head = readHead(decodeScgiText(text, limits), limits);
  const earlyBegin = payload.end + 1;
  const earlyEnd = head.dialect === 'fd_pass' ? earlyBegin + head.contentLength : earlyBegin;
  if (earlyEnd > end) return undefined;
  return messageOf(
    head,
    earlyEnd === earlyBegin ? NO_BYTES : bytes.subarray(earlyBegin, earlyEnd),
    earlyEnd === end ? NO_BYTES : bytes.subarray(earlyEnd, end),
  );
}

/** Without a spread: it is made for each handover. */
const messageOf = (head: MessageHead, earlyBytes: Buffer, rest: Buffer): Message => ({
  dialect: head.dialect,
  version: head.version,
  headers: head.headers,
  contentLength: head.contentLength,
  earlyBytes,
  rest,
  ktls: head.ktls,
  keepAlive: head.keepAlive,
  via: head.via,
  relayLength: head.relayLength,
});

function readHead(headers: ScgiHeaders, limits: Readonly<WireLimits>): MessageHead {
  const dialect = readDialect(headers);
  const contentLength = readContentLength(headers);
  // Without a descriptor there is nothing to acknowledge, no early bytes, no kTLS and no router: what an operator's scgi_param
  // says about them is not looked at.
  if (dialect === 'plain') {
    return {
      dialect,
      version: 0,
      headers,
      contentLength,
      ktls: 'none',
      keepAlive: false,
      via: undefined,
      relayLength: undefined,
    };
  }

  const version = readVersion(headers);
  // Routers speak version 1; in version 0 these can only be an operator's.
  const via = version === 1 ? readVia(headers) : undefined;
  const relayLength = version === 1 ? readRelayLength(headers, via) : undefined;
  const ktls = relayLength === undefined ? readKtls(headers) : 'none';
  const maxEarlyBytes = limits.maxEarlyBytes + (via === undefined ? 0 : ONE_READ_BYTES);
  if (contentLength > maxEarlyBytes) throw new WireError('SCGI_ERR_EARLY_BYTES_TOO_LARGE', maxEarlyBytes);
  // A wish, not a rule of the message: any other value is none.
  const keepAlive =
    version === 1 &&
    ktls !== 'partial' &&
    relayLength === undefined &&
    headers.get('FD_PASS_KEEPALIVE') === '1';
  return { dialect, version, headers, contentLength, ktls, keepAlive, via, relayLength };
}

function readDialect(headers: ScgiHeaders): Dialect {
  const value = headers.get('SCGI');
  if (value === DIALECT_VALUES.fd_pass) return 'fd_pass';
  if (value === DIALECT_VALUES.plain) return 'plain';
  throw new WireError('SCGI_ERR_DIALECT');
}

function readContentLength(headers: ScgiHeaders): number {
  const value = headers.get('CONTENT_LENGTH') ?? '';
  if (value === '0') return 0;
  const contentLength = /^[0-9]+$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(contentLength)) throw new WireError('SCGI_ERR_CONTENT_LENGTH_VALUE');
  return contentLength;
}

function readVersion(headers: ScgiHeaders): 0 | 1 {
  const value = headers.get('FD_PASS_VERSION');
  if (value === undefined) return 0;
  if (value === '1') return 1;
  throw new WireError('SCGI_ERR_VERSION');
}

function readKtls(headers: ScgiHeaders): KtlsReceive {
  const value = headers.get('KTLS_RX');
  if (value === undefined) return 'none';
  if (value === '1') return 'full';
  // Not the absence of kTLS but a handover in two halves: the sender goes on decrypting.
  if (value === '0') return 'partial';
  throw new WireError('SCGI_ERR_KTLS_RX');
}

/** What {@link encodeMessage} writes. */
export interface MessageToEncode {
  /** In the order they shall be sent, without CONTENT_LENGTH and SCGI. */
  readonly headers: Iterable<readonly [name: string, value: string]>;
  /** What follows the netstring; in `plain` the whole body. @default none */
  readonly earlyBytes?: Uint8Array;
  /** @default 'fd_pass' */
  readonly dialect?: Dialect;
}

/**
 * Encodes a message: CONTENT_LENGTH (the number of early bytes), SCGI, then the headers as given. It adds no
 * FD_PASS_VERSION.
 *
 * @throws SCGI_ERR_ENCODE_RESERVED the headers contain CONTENT_LENGTH or SCGI
 * @throws SCGI_ERR_ENCODE_DUPLICATE a name of SINGLETON_NAMES occurs twice: a receiver would refuse the message
 * @throws SCGI_ERR_ENCODE_NAME
 * @throws SCGI_ERR_ENCODE_VALUE
 */
export function encodeMessage({
  headers,
  earlyBytes = NO_BYTES,
  dialect = 'fd_pass',
}: MessageToEncode): Buffer {
  const entries: (readonly [string, string])[] = [
    ['CONTENT_LENGTH', String(earlyBytes.length)],
    ['SCGI', DIALECT_VALUES[dialect]],
  ];
  const seen = new Set<string>();
  for (const entry of headers) {
    const name = entry[0];
    if (name === 'CONTENT_LENGTH' || name === 'SCGI') throw new WireError('SCGI_ERR_ENCODE_RESERVED', name);
    if (SINGLETON_NAMES.has(name) && seen.size === seen.add(name).size) {
      throw new WireError('SCGI_ERR_ENCODE_DUPLICATE', name);
    }
    entries.push(entry);
  }
  const netstring = encodeNetstring(encodeScgiHeaders(entries));
  return earlyBytes.length === 0 ? netstring : Buffer.concat([netstring, earlyBytes]);
}
