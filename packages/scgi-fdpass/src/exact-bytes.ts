// Collects exactly so many bytes out of chunks: the netstring's payload, the early bytes. It knows no format.

/** A first buffer is no smaller than this, so that bytes coming one by one do not make it grow often. */
const MIN_BUFFER_BYTES = 1024;

/**
 * Collects `length` bytes. When one chunk holds them all they are a slice of that chunk, without a copy. Otherwise they are
 * copied into a buffer that doubles: memory follows what has arrived, not what a sender has merely announced.
 */
export class ExactBytes {
  readonly #length: number;
  #buffer: Buffer;
  #received = 0;

  constructor(length: number) {
    this.#length = length;
    this.#buffer = Buffer.alloc(0);
  }

  /** True when all bytes are there. */
  get complete(): boolean {
    return this.#received === this.#length;
  }

  /** The bytes; only meaningful once {@link complete}. */
  get bytes(): Buffer {
    return this.#buffer;
  }

  /** Takes what is still missing from `chunk` beginning at `offset`, and returns the offset behind it. */
  take(chunk: Buffer, offset: number): number {
    const count = Math.min(this.#length - this.#received, chunk.length - offset);
    const end = offset + count;
    if (count > 0 && count === this.#length) {
      this.#buffer = chunk.subarray(offset, end);
    } else if (count > 0) {
      this.#reserve(this.#received + count);
      chunk.copy(this.#buffer, this.#received, offset, end);
    }
    this.#received += count;
    return end;
  }

  #reserve(needed: number): void {
    if (needed <= this.#buffer.length) return;
    const size = needed === this.#length ? needed : Math.max(needed * 2, MIN_BUFFER_BYTES);
    const larger = Buffer.allocUnsafe(Math.min(size, this.#length));
    this.#buffer.copy(larger, 0, 0, this.#received);
    this.#buffer = larger;
  }
}
