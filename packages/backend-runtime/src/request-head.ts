// From SCGI headers to the HTTP/1.1 request head that http.Server parses. Pure. Judges what must not reach a parser; what
// a header means is the parser's and the application's business.
import type { FullHandover, PartialHandover, RelayHandover, ScgiHeaders } from '@fdpass/scgi-fdpass';
import { RuntimeError } from './errors.js';

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** No controls and no space: what RFC 9112 section 3 leaves of a target. Bytes above 0x7f are let through as nginx does. */
const TARGET = /^[\x21-\x7e\x80-\xff]+$/;
/** A field value is one line (RFC 9110 section 5.5). */
const FIELD_VALUE = /^[^\0\r\n]*$/;

/** httpoxy: CGI programs take HTTP_PROXY for their proxy setting. */
const NEVER_PASSED = new Set(['HTTP_PROXY']);

/**
 * In a relay the web server has done the framing and the connection is its own: these are hop-by-hop leftovers (nginx sends
 * HTTP_TRANSFER_ENCODING=chunked beside a body it has de-chunked already).
 */
const NOT_RELAYED = new Set([
  ...NEVER_PASSED,
  'HTTP_TRANSFER_ENCODING',
  'HTTP_CONTENT_LENGTH',
  'HTTP_CONTENT_TYPE',
  'HTTP_EXPECT',
  'HTTP_CONNECTION',
  'HTTP_UPGRADE',
  'HTTP_KEEP_ALIVE',
  'HTTP_TE',
]);

/**
 * A field name as RFC 3875 section 4.1.18 writes it: token characters in upper case, `_` for `-`. Only so does one field have one
 * name: HTTP_Host beside HTTP_HOST would be a second Host that no rule for HTTP_HOST sees.
 */
const CGI_FIELD_NAME = /^HTTP_[!#$%&'*+.^_`|~0-9A-Z]+$/;

/** Methods whose request says `Content-Length: 0` when it has no body (RFC 9110 section 8.6). */
const EXPECTS_BODY = new Set(['POST', 'PUT', 'PATCH']);

/** SCGI names repeat from request to request; the bounds are for hostile clients. */
const MAX_KNOWN_NAMES = 1024;
const MAX_KNOWN_NAME_LENGTH = 64;
const fieldNames = new Map<string, string>();

/** What the head is made from. */
type HeadSource =
  | Pick<FullHandover | PartialHandover, 'kind' | 'headers' | 'version'>
  | Pick<RelayHandover, 'kind' | 'headers' | 'contentLength'>;

/**
 * The request head of a handover, in latin1 (bytes 1:1), ending in an empty line.
 * @throws `BKR_ERR_REQUEST_HEAD` (to be answered 400), `BKR_ERR_HTTP_VERSION` (505), `BKR_ERR_RELAYED_UPGRADE` (426)
 */
export function requestHead(handover: HeadSource): string {
  return handover.kind === 'relay' ? relayedHead(handover) : passedHead(handover);
}

function passedHead({ headers, version }: Pick<FullHandover, 'headers' | 'version'>): string {
  // The public module passes HTTP/1.1 only, and does not say so.
  const protocol = version === 1 ? (headers.get('SERVER_PROTOCOL') ?? 'HTTP/1.1') : 'HTTP/1.1';
  if (protocol !== 'HTTP/1.1' && protocol !== 'HTTP/1.0') throw new RuntimeError('BKR_ERR_HTTP_VERSION');
  if (headers.has('HTTP_CONTENT_LENGTH') && headers.has('HTTP_TRANSFER_ENCODING')) {
    throw new RuntimeError('BKR_ERR_REQUEST_HEAD', 'both Content-Length and Transfer-Encoding');
  }
  return `${requestLine(headers, protocol)}${fieldLines(headers, NEVER_PASSED)}\r\n`;
}

function relayedHead({ headers, contentLength }: Pick<RelayHandover, 'headers' | 'contentLength'>): string {
  // Other upgrades (h2c) are offers a server may pass over.
  if (headers.get('HTTP_UPGRADE')?.toLowerCase() === 'websocket')
    throw new RuntimeError('BKR_ERR_RELAYED_UPGRADE');
  // Without Host it can only have been HTTP/1.0; as 1.1 the parser would refuse it.
  const protocol = headers.has('HTTP_HOST') ? 'HTTP/1.1' : 'HTTP/1.0';
  let framing = '';
  if (contentLength !== 0 || EXPECTS_BODY.has(headers.get('REQUEST_METHOD') ?? '')) {
    framing += `Content-Length: ${contentLength}\r\n`;
  }
  const contentType = headers.get('CONTENT_TYPE') ?? headers.get('HTTP_CONTENT_TYPE') ?? '';
  if (contentType !== '') framing += `Content-Type: ${checkedValue('CONTENT_TYPE', contentType)}\r\n`;
  return `${requestLine(headers, protocol)}${fieldLines(headers, NOT_RELAYED)}${framing}Connection: close\r\n\r\n`;
}

function requestLine(headers: ScgiHeaders, protocol: string): string {
  const method = headers.get('REQUEST_METHOD') ?? '';
  const target = headers.get('REQUEST_URI') ?? '';
  if (!TOKEN.test(method)) throw new RuntimeError('BKR_ERR_REQUEST_HEAD', 'REQUEST_METHOD is no token');
  if (!TARGET.test(target)) {
    throw new RuntimeError(
      'BKR_ERR_REQUEST_HEAD',
      'REQUEST_URI is empty, or has a space or a control character',
    );
  }
  return `${method} ${target} ${protocol}\r\n`;
}

function fieldLines(headers: ScgiHeaders, left: ReadonlySet<string>): string {
  let lines = '';
  for (const [name, value] of headers.entries()) {
    if (!name.startsWith('HTTP_') || left.has(name)) continue;
    const field = fieldName(name);
    if (field === undefined) {
      throw new RuntimeError('BKR_ERR_REQUEST_HEAD', 'a header name is no token in the form of CGI');
    }
    lines += `${field}: ${checkedValue(name, value)}\r\n`;
  }
  return lines;
}

function checkedValue(name: string, value: string): string {
  if (!FIELD_VALUE.test(value)) {
    throw new RuntimeError('BKR_ERR_REQUEST_HEAD', `${name} has a line break in its value`);
  }
  return value;
}

/**
 * HTTP_USER_AGENT -> User-Agent. What had an underscore in its own name cannot be told apart; nginx drops such headers.
 * @returns undefined if it is no token in the form of CGI
 */
export function fieldName(name: string): string | undefined {
  const known = fieldNames.get(name);
  if (known !== undefined) return known;
  if (!CGI_FIELD_NAME.test(name)) return undefined;
  const words = name.slice('HTTP_'.length).split('_');
  const built = words.map((word) => word.charAt(0) + word.slice(1).toLowerCase()).join('-');
  if (fieldNames.size < MAX_KNOWN_NAMES && name.length <= MAX_KNOWN_NAME_LENGTH) {
    fieldNames.set(copyOf(name), copyOf(built));
  }
  return built;
}

/** A string cut out of a message keeps the whole message in memory. */
const copyOf = (text: string): string => Buffer.from(text, 'latin1').toString('latin1');
