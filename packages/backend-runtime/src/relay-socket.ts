// The socket of a relay: a plain SCGI connection as an HTTP connection of exactly one request. Its body is CONTENT_LENGTH
// bytes long, and the answer leaves in CGI form.
import type { Socket } from 'node:net';
import { CgiAnswer } from './cgi-answer.js';
import { RuntimeError } from './errors.js';
import { SplitSocket, type SplitSocketOptions } from './split-socket.js';

export interface RelaySocketOptions extends Omit<SplitSocketOptions, 'source' | 'sink'> {
  /** Read and written. The socket owns it. */
  source: Socket;
  /** Bytes of the whole request body. */
  contentLength: number;
  /** Bytes of it still to be read from the source. */
  bodyBytes: number;
}

type WriteCallback = (error?: Error | null) => void;

export class RelaySocket extends SplitSocket {
  readonly #answer = new CgiAnswer();
  readonly #contentLength: number;
  #bodyBytes: number;

  constructor(options: RelaySocketOptions) {
    super({ ...options, sink: options.source });
    this.#contentLength = options.contentLength;
    this.#bodyBytes = options.bodyBytes;
  }

  /** Bytes behind the body would be a second request to the parser, and are most likely the rest of a body that was cut. */
  protected override receive(chunk: Buffer): boolean {
    if (chunk.length > this.#bodyBytes) {
      this.destroy(new RuntimeError('BKR_ERR_RELAYED_BODY', this.#contentLength));
      return false;
    }
    this.#bodyBytes -= chunk.length;
    return super.receive(chunk);
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: WriteCallback): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
    const pieces = this.#answer.push(bytes);
    if (pieces.length === 0) return callback();
    super._write(
      pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces),
      'buffer' as BufferEncoding,
      callback,
    );
  }

  override _writev(
    chunks: Array<{ chunk: Buffer | string; encoding: BufferEncoding }>,
    callback: WriteCallback,
  ): void {
    const bytes = chunks.map(({ chunk, encoding }) =>
      typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk,
    );
    this._write(Buffer.concat(bytes), 'buffer' as BufferEncoding, callback);
  }
}
