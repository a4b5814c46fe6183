// The socket of a relay: a plain SCGI connection as an HTTP connection of exactly one request. Its body is CONTENT_LENGTH
// bytes long, and the answer leaves in CGI form.
import { CgiAnswer } from './cgi-answer.js';
import { SplitSocket, type SplitSocketOptions } from './split-socket.js';

export interface RelaySocketOptions extends Omit<SplitSocketOptions, 'sink'> {
  /** Bytes of the request body still to be read from the source. */
  bodyBytes: number;
}

type WriteCallback = (error?: Error | null) => void;

export class RelaySocket extends SplitSocket {
  readonly #answer = new CgiAnswer();
  #bodyBytes: number;

  constructor(options: RelaySocketOptions) {
    super({ ...options, sink: options.source });
    this.#bodyBytes = options.bodyBytes;
  }

  /** What follows the body is nothing of ours: to the parser it would be a second request. */
  protected override receive(chunk: Buffer): boolean {
    const body = chunk.subarray(0, this.#bodyBytes);
    this.#bodyBytes -= body.length;
    return body.length === 0 ? true : super.receive(body);
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
