// SCGI headers: NAME NUL VALUE NUL, over and over, and which names may occur only once. It owns neither the netstring around
// them nor the meaning of their values. Source: https://python.ca/scgi/protocol.txt

import { WireError } from './errors.js';
import { defaultWireLimits, type WireLimits } from './limits.js';
import { NamesByPlace } from './names-by-place.js';
import { SingletonJudge } from './singleton-judge.js';
import { ROUTER_HEADERS, ROUTER_NAMES } from './via.js';

/**
 * Names that may occur only once: every name the two packages draw a conclusion from. SCGI forbids all duplicates, but web
 * servers send a request's repeated headers as they came, so the rest may repeat. Here a second value would leave it open
 * which one a proxy, this receiver and the application believe.
 */
export const SINGLETON_NAMES: ReadonlySet<string> = new Set([
  // The message itself
  'CONTENT_LENGTH',
  'SCGI',
  'FD_PASS_VERSION',
  'FD_PASS_KEEPALIVE',
  'FD_PASS_LOCATION',
  ...ROUTER_NAMES,
  // The connection
  'HTTPS',
  'KTLS_RX',
  'REMOTE_ADDR',
  'REMOTE_PORT',
  'SERVER_ADDR',
  'SERVER_PORT',
  // The request
  'REQUEST_METHOD',
  'REQUEST_URI',
  'REQUEST_SCHEME',
  'QUERY_STRING',
  'SERVER_NAME',
  'SERVER_PROTOCOL',
  'CONTENT_TYPE',
  'AUTH_TYPE',
  'REMOTE_USER',
  // Routing and framing of the request (RFC 9112, sections 3.2 and 6)
  'HTTP_HOST',
  'HTTP_CONTENT_LENGTH',
  'HTTP_TRANSFER_ENCODING',
]);

/** More headers than this are found by a Map; of fewer, a search costs less than making one. */
const MAX_SEARCHED_HEADERS = 48;

/** The SCGI headers of one message, in the order they came. Values are latin1 strings: one character for each byte. */
export class ScgiHeaders {
  /** Names at even places, values at odd ones. */
  readonly #pairs: readonly string[];
  /** Name to the place of its first value. A Map, so that no name can reach a prototype. */
  #first: ReadonlyMap<string, number> | undefined;

  /** Use {@link decodeScgiHeaders}: it checks what this takes for granted. */
  constructor(pairs: readonly string[]) {
    this.#pairs = pairs;
  }

  /** Number of headers, repeated names counted each time. */
  get size(): number {
    return this.#pairs.length / 2;
  }

  /** The first value of `name`; undefined if there is none. An empty value is an empty string. */
  get(name: string): string | undefined {
    const place = this.#placeOf(name);
    return place === -1 ? undefined : this.#pairs[place];
  }

  /** All values of `name` in the order they came. */
  getAll(name: string): string[] {
    const values: string[] = [];
    const place = this.#placeOf(name);
    if (place === -1) return values;
    for (let at = place; at < this.#pairs.length; at += 2) {
      if (this.#pairs[at - 1] === name) values.push(this.#pairs[at] as string);
    }
    return values;
  }

  /** True if `name` occurs, even with an empty value. */
  has(name: string): boolean {
    return this.#placeOf(name) !== -1;
  }

  /** Every header in the order they came: names at even places, values at odd ones. */
  get pairs(): readonly string[] {
    return this.#pairs;
  }

  /** Every header in the order they came. */
  *entries(): IterableIterator<[name: string, value: string]> {
    for (let at = 0; at < this.#pairs.length; at += 2) {
      yield [this.#pairs[at] as string, this.#pairs[at + 1] as string];
    }
  }

  /** Where the first value of `name` is; -1 if there is none. */
  #placeOf(name: string): number {
    const pairs = this.#pairs;
    if (pairs.length > MAX_SEARCHED_HEADERS * 2) {
      this.#first ??= firstPlaces(pairs);
      return this.#first.get(name) ?? -1;
    }
    for (let at = 0; at < pairs.length; at += 2) {
      if (pairs[at] === name) return at + 1;
    }
    return -1;
  }
}

function firstPlaces(pairs: readonly string[]): Map<string, number> {
  const first = new Map<string, number>();
  for (let at = 0; at < pairs.length; at += 2) {
    const name = pairs[at] as string;
    if (!first.has(name)) first.set(name, at + 1);
  }
  return first;
}

const singletons = new SingletonJudge(SINGLETON_NAMES);
const names = new NamesByPlace(SINGLETON_NAMES);

/**
 * Decodes a netstring's payload. Judged in this order: count, then each header in turn (shape, size, duplicate), then that
 * CONTENT_LENGTH is first and SCGI is there.
 *
 * @throws SCGI_ERR_TOO_MANY_HEADERS
 * @throws SCGI_ERR_HEADERS_MALFORMED
 * @throws SCGI_ERR_HEADER_TOO_LARGE
 * @throws SCGI_ERR_DUPLICATE_HEADER a name of {@link SINGLETON_NAMES} occurs twice
 * @throws SCGI_ERR_CONTENT_LENGTH_FIRST
 * @throws SCGI_ERR_DIALECT_MISSING
 */
export function decodeScgiHeaders(
  payload: Buffer,
  limits: Readonly<Pick<WireLimits, 'maxHeaders' | 'maxHeaderValueBytes'>> = defaultWireLimits,
): ScgiHeaders {
  return decodeScgiText(payload.toString('latin1'), limits);
}

/** {@link decodeScgiHeaders} of a payload that is a string already, one character for each byte. */
export function decodeScgiText(
  text: string,
  { maxHeaders, maxHeaderValueBytes }: Readonly<Pick<WireLimits, 'maxHeaders' | 'maxHeaderValueBytes'>>,
): ScgiHeaders {
  const pairs: string[] = [];
  // Stops at a limit: a payload of nothing but NUL makes no large array. A message with as many headers as may be can be passed on.
  const most = (maxHeaders + ROUTER_HEADERS) * 2;
  let length = 0;
  let begin = 0;
  while (begin < text.length) {
    const name = names.at(length / 2, text, begin);
    if (name === undefined) break;
    if (length === most) throw new WireError('SCGI_ERR_TOO_MANY_HEADERS', maxHeaders);
    pairs[length++] = name;
    begin += name.length + 1;
    const end = text.indexOf('\0', begin);
    if (end === -1) break;
    pairs[length++] = text.slice(begin, end);
    begin = end + 1;
  }

  if (length > maxHeaders * 2 && !new ScgiHeaders(pairs).has('FD_PASS_VIA')) {
    throw new WireError('SCGI_ERR_TOO_MANY_HEADERS', maxHeaders);
  }
  // Something behind the last NUL, or a name without its value, which the loop would take for a header: so it is looked at first.
  if (begin !== text.length || length % 2 !== 0) {
    throw new WireError('SCGI_ERR_HEADERS_MALFORMED', Math.floor(length / 2) + 1);
  }
  if (names.areJudged(length / 2) && text.length <= maxHeaderValueBytes) return new ScgiHeaders(pairs);
  judge(pairs, maxHeaderValueBytes);
  names.judged(length / 2);
  return new ScgiHeaders(pairs);
}

/** Judges each header in turn, and then the message. */
function judge(pairs: readonly string[], maxHeaderValueBytes: number): void {
  let hasDialect = false;
  singletons.begin();
  for (let at = 0; at < pairs.length; at += 2) {
    const name = pairs[at] as string;
    const value = pairs[at + 1] as string;
    const headerNumber = at / 2 + 1;
    if (name === '') throw new WireError('SCGI_ERR_HEADERS_MALFORMED', headerNumber);
    if (name.length > maxHeaderValueBytes) {
      throw new WireError('SCGI_ERR_HEADER_TOO_LARGE', headerNumber, 'name', maxHeaderValueBytes);
    }
    if (value.length > maxHeaderValueBytes) {
      throw new WireError('SCGI_ERR_HEADER_TOO_LARGE', headerNumber, 'value', maxHeaderValueBytes);
    }
    if (singletons.isRepeated(name)) throw new WireError('SCGI_ERR_DUPLICATE_HEADER', name);
    hasDialect ||= name === 'SCGI';
  }

  if (pairs[0] !== 'CONTENT_LENGTH') throw new WireError('SCGI_ERR_CONTENT_LENGTH_FIRST');
  if (!hasDialect) throw new WireError('SCGI_ERR_DIALECT_MISSING');
}

/**
 * Encodes headers in the order given, each character as one byte (latin1). It adds none and demands none: `encodeMessage`
 * does.
 *
 * @throws SCGI_ERR_ENCODE_NAME
 * @throws SCGI_ERR_ENCODE_VALUE
 */
export function encodeScgiHeaders(entries: Iterable<readonly [name: string, value: string]>): Buffer {
  let text = '';
  let headerNumber = 0;
  for (const [name, value] of entries) {
    headerNumber++;
    if (name === '' || !isEncodable(name)) throw new WireError('SCGI_ERR_ENCODE_NAME');
    if (!isEncodable(value)) throw new WireError('SCGI_ERR_ENCODE_VALUE', headerNumber);
    text += `${name}\0${value}\0`;
  }
  return Buffer.from(text, 'latin1');
}

function isEncodable(text: string): boolean {
  return !text.includes('\0') && !/[\u0100-\uffff]/.test(text);
}
