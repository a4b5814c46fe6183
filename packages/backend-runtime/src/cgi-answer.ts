// From the HTTP/1.1 answer that http.ServerResponse writes to the CGI answer a plain SCGI sender expects (RFC 3875 section
// 6): `Status:` for the status line, no interim answers, no hop-by-hop headers, no chunked coding. Incremental, pure.

const HEAD_END = Buffer.from('\r\n\r\n');
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})(?: ([^\r\n]*))?$/;
/** Hop-by-hop, or taken: a handler's own `Status` would be a second one. */
const NOT_PASSED = new Set([
  'status',
  'connection',
  'keep-alive',
  'proxy-connection',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const CHUNKED = /\bchunked\b/i;
const NOTHING = Buffer.alloc(0);

/** Decodes chunked coding as our own server writes it: no extensions, trailers dropped. */
class ChunkedDecoder {
  #line = '';
  #remaining = 0;
  #state: 'size' | 'data' | 'data-end' | 'trailer' = 'size';

  push(bytes: Buffer): Buffer[] {
    const data: Buffer[] = [];
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === 'data') {
        const piece = bytes.subarray(at, at + this.#remaining);
        data.push(piece);
        at += piece.length;
        this.#remaining -= piece.length;
        if (this.#remaining === 0) this.#state = 'data-end';
        continue;
      }
      const lineEnd = bytes.indexOf(0x0a, at);
      this.#line += bytes.toString('latin1', at, lineEnd === -1 ? bytes.length : lineEnd);
      if (lineEnd === -1) return data;
      at = lineEnd + 1;
      this.#onLine(this.#line.trim());
      this.#line = '';
    }
    return data;
  }

  #onLine(line: string): void {
    if (this.#state === 'data-end') {
      this.#state = 'size';
    } else if (this.#state === 'size') {
      this.#remaining = Number.parseInt(line, 16);
      this.#state = this.#remaining > 0 ? 'data' : 'trailer';
    }
  }
}

/** Translates one answer; feed it everything that is written, in order. */
export class CgiAnswer {
  #head: Buffer = NOTHING;
  #headIsDone = false;
  #chunked: ChunkedDecoder | undefined;

  /** @returns what goes over the UNIX connection now; may be empty */
  push(bytes: Buffer): Buffer[] {
    if (this.#headIsDone) return this.#chunked === undefined ? [bytes] : this.#chunked.push(bytes);
    this.#head = this.#head.length === 0 ? bytes : Buffer.concat([this.#head, bytes]);
    for (;;) {
      const end = this.#head.indexOf(HEAD_END);
      if (end === -1) return [];
      const lines = this.#head.toString('latin1', 0, end).split('\r\n');
      const rest = this.#head.subarray(end + HEAD_END.length);
      const status = STATUS_LINE.exec(lines[0] ?? '');
      if (status?.[1]?.startsWith('1')) {
        this.#head = rest;
        continue;
      }
      this.#headIsDone = true;
      this.#head = NOTHING;
      const head = this.#translate(status?.[1] ?? '502', status?.[2] ?? '', lines.slice(1));
      return rest.length === 0 ? [head] : [head, ...this.push(rest)];
    }
  }

  #translate(status: string, reason: string, fields: readonly string[]): Buffer {
    let head = `Status: ${status}${reason === '' ? '' : ` ${reason}`}\r\n`;
    for (const field of fields) {
      const name = field.slice(0, field.indexOf(':')).toLowerCase();
      // http.ServerResponse sends chunks if the handler's own field says so, and not for `identity`.
      if (name === 'transfer-encoding' && CHUNKED.test(field)) this.#chunked = new ChunkedDecoder();
      if (!NOT_PASSED.has(name)) head += `${field}\r\n`;
    }
    return Buffer.from(`${head}\r\n`, 'latin1');
  }
}
