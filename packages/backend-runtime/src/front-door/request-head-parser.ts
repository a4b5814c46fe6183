// Parses the head of an HTTP/1.x request, strictly (RFC 9112), and says where it ends. Pure: bytes in, strings out; it owns
// no descriptor and no deadline, and decides nothing about what the request means.
import { RuntimeError } from '../errors.js';
import { isAuthority, namesSameHost, targetAuthority } from './request-target.js';

/** A whole request head. Strings are latin1: one character for each byte. */
export interface RequestHead {
  method: string;
  /** The request target as it came. */
  target: string;
  protocol: 'HTTP/1.1' | 'HTTP/1.0';
  /** Host and port the client asks for: of an absolute-form target, else of the Host field; '' if it names none. */
  authority: string;
  /** Field names (as they came) at even places, values (without the whitespace around them) at odd ones. */
  fields: readonly string[];
  /** Bytes from the first byte of the connection to the end of the empty line that closes the head. */
  headBytes: number;
}

type RequestLine = Pick<RequestHead, 'method' | 'target' | 'protocol'>;

export interface RequestHeadLimits {
  /** Bytes of a head, leading empty lines counted. */
  maxHeadBytes: number;
  /** Field lines in a head. */
  maxFields: number;
}

/** Longer methods exist nowhere: RFC 9112 section 3 suggests 501 for them. */
const MAX_METHOD_LENGTH = 32;
const CR = 0x0d;
const TAB = 0x09;
const SPACE = 0x20;
const COLON = 0x3a;
/** First byte of a TLS record that carries a handshake (RFC 8446 section 5.1). */
const TLS_HANDSHAKE = 0x16;

/** 1 for the characters of a token (RFC 9110 section 5.6.2). */
const TOKEN = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  TOKEN[character.charCodeAt(0)] = 1;
}

/**
 * Reads one head, line by line: what is wrong with a line is reported as soon as the line is there, whatever follows it, so
 * that the result does not depend on how the bytes arrived.
 */
export class RequestHeadParser {
  readonly #limits: Readonly<RequestHeadLimits>;
  /** Where the first line that is not parsed yet begins. */
  #position = 0;
  #requestLine: RequestLine | undefined;
  #targetAuthority: string | undefined;
  #host: string | undefined;
  #contentLength: string | undefined;
  #transferEncoding: string | undefined;
  readonly #fields: string[] = [];

  constructor(limits: Readonly<RequestHeadLimits>) {
    this.#limits = limits;
  }

  /**
   * Goes on with the bytes of the connection so far: `bytes` from its very first one, `length` of them, each time more.
   *
   * @returns the head, or undefined while it is not whole
   * @throws RuntimeError BKR_ERR_FRONT_DOOR_BAD_REQUEST, _TLS, _URI_TOO_LONG, _HEAD_TOO_LARGE, _NOT_IMPLEMENTED, _VERSION
   */
  parse(bytes: Buffer, length: number): RequestHead | undefined {
    if (length > 0 && bytes[0] === TLS_HANDSHAKE) throw new RuntimeError('BKR_ERR_FRONT_DOOR_TLS');
    const { maxHeadBytes } = this.#limits;
    const text = bytes.toString('latin1', this.#position, Math.min(length, maxHeadBytes));
    let lineStart = 0;
    for (;;) {
      const lineFeed = text.indexOf('\n', lineStart);
      if (lineFeed === -1) break;
      // RFC 9112 section 2.2 allows to take a bare LF for a line end. Whoever else reads the same bytes may not: so not here.
      if (lineFeed === lineStart || text.charCodeAt(lineFeed - 1) !== CR)
        throw malformed('a line ends without CR');
      const line = text.slice(lineStart, lineFeed - 1);
      lineStart = lineFeed + 1;
      if (line !== '') this.#line(line);
      // Empty lines before the request line are ignored (RFC 9112 section 2.2).
      else if (this.#requestLine !== undefined)
        return this.#finish(this.#requestLine, this.#position + lineStart);
    }
    this.#position += lineStart;
    if (length >= maxHeadBytes) {
      throw this.#requestLine === undefined
        ? new RuntimeError('BKR_ERR_FRONT_DOOR_URI_TOO_LONG', maxHeadBytes)
        : new RuntimeError('BKR_ERR_FRONT_DOOR_HEAD_TOO_LARGE', maxHeadBytes, 'bytes');
    }
    return undefined;
  }

  #line(line: string): void {
    if (this.#requestLine === undefined) this.#parseRequestLine(line);
    else this.#parseField(line);
  }

  #parseRequestLine(line: string): void {
    const methodEnd = line.indexOf(' ');
    const targetEnd = line.indexOf(' ', methodEnd + 1);
    if (methodEnd < 1 || targetEnd === -1)
      throw malformed('the request line is not a method, a target and a version');
    const method = line.slice(0, methodEnd);
    if (!isToken(method)) throw malformed('the method is not a token');
    const version = line.slice(targetEnd + 1);
    if (version !== 'HTTP/1.1' && version !== 'HTTP/1.0') {
      if (/^HTTP\/[0-9]\.[0-9]$/.test(version)) throw new RuntimeError('BKR_ERR_FRONT_DOOR_VERSION');
      throw malformed('the request line does not end in an HTTP version');
    }
    if (method.length > MAX_METHOD_LENGTH) throw notImplemented('a method this long');
    // No proxy, so no tunnels: and nothing else may have a target in authority-form.
    if (method === 'CONNECT') throw notImplemented('CONNECT');
    const target = line.slice(methodEnd + 1, targetEnd);
    this.#targetAuthority = targetAuthority(target, method);
    this.#requestLine = { method, target, protocol: version };
  }

  #parseField(line: string): void {
    let nameEnd = 0;
    while (TOKEN[line.charCodeAt(nameEnd)] === 1) nameEnd++;
    if (nameEnd === 0 || line.charCodeAt(nameEnd) !== COLON) {
      const first = line.charCodeAt(0);
      throw first === SPACE || first === TAB
        ? malformed('a field line begins with whitespace (obsolete line folding)')
        : malformed('a field line does not begin with a token and a colon');
    }
    let start = nameEnd + 1;
    let end = line.length;
    while (start < end && isWhitespace(line.charCodeAt(start))) start++;
    while (end > start && isWhitespace(line.charCodeAt(end - 1))) end--;
    for (let at = start; at < end; at++) {
      const character = line.charCodeAt(at);
      if ((character < SPACE && character !== TAB) || character === 0x7f)
        throw malformed('a field value has a control character');
    }
    if (this.#fields.length >= this.#limits.maxFields * 2)
      throw new RuntimeError('BKR_ERR_FRONT_DOOR_HEAD_TOO_LARGE', this.#limits.maxFields, 'fields');
    const name = line.slice(0, nameEnd);
    const value = line.slice(start, end);
    this.#fields.push(name, value);
    this.#noteSingleton(name, value);
  }

  /** The fields this request's routing and framing hang on may not repeat: another reader might believe the other one. */
  #noteSingleton(name: string, value: string): void {
    if (name.length === 4 && name.toLowerCase() === 'host') {
      if (this.#host !== undefined) throw malformed('Host occurs twice');
      this.#host = value;
    } else if (name.length === 14 && name.toLowerCase() === 'content-length') {
      if (this.#contentLength !== undefined) throw malformed('Content-Length occurs twice');
      this.#contentLength = value;
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      if (this.#transferEncoding !== undefined) throw malformed('Transfer-Encoding occurs twice');
      this.#transferEncoding = value;
    }
  }

  #finish({ method, target, protocol }: RequestLine, headBytes: number): RequestHead {
    const authority = this.#checkHost(protocol);
    this.#checkFraming(protocol);
    return { method, target, protocol, authority, fields: this.#fields, headBytes };
  }

  /** RFC 9112 section 3.2: exactly one Host in HTTP/1.1, and the same as in an absolute-form target. */
  #checkHost(protocol: RequestHead['protocol']): string {
    const host = this.#host;
    if (host === undefined) {
      if (protocol === 'HTTP/1.1') throw malformed('Host is missing');
      return this.#targetAuthority ?? '';
    }
    if (!isAuthority(host)) throw malformed('Host is not a host and a port');
    if (this.#targetAuthority !== undefined && !namesSameHost(this.#targetAuthority, host))
      throw malformed('Host and the request target name different hosts');
    return host;
  }

  /** RFC 9112 section 6: one framing, and one that everybody on the way reads alike. */
  #checkFraming(protocol: RequestHead['protocol']): void {
    const length = this.#contentLength;
    if (length !== undefined && !(/^[0-9]+$/.test(length) && Number.isSafeInteger(Number(length))))
      throw malformed('Content-Length is not a number of bytes');
    if (this.#transferEncoding === undefined) return;
    if (length !== undefined) throw malformed('Content-Length and Transfer-Encoding exclude each other');
    if (protocol === 'HTTP/1.0') throw malformed('HTTP/1.0 has no Transfer-Encoding');
    const codings = this.#transferEncoding.toLowerCase().split(/[\t ]*,[\t ]*/);
    if (codings.pop() !== 'chunked' || codings.includes('chunked'))
      throw malformed('Transfer-Encoding does not end in chunked, once');
    // Node.js would hand the coded bytes to the handler as if they were the body.
    if (codings.length > 0) throw notImplemented('a transfer coding other than chunked');
  }
}

const malformed = (what: string): RuntimeError => new RuntimeError('BKR_ERR_FRONT_DOOR_BAD_REQUEST', what);
const notImplemented = (what: string): RuntimeError =>
  new RuntimeError('BKR_ERR_FRONT_DOOR_NOT_IMPLEMENTED', what);

const isWhitespace = (character: number): boolean => character === SPACE || character === TAB;

function isToken(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (TOKEN[text.charCodeAt(at)] !== 1) return false;
  return text !== '';
}
