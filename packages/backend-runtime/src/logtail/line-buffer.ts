// Collects lines and sends them in datagrams of whole lines, from two pages: one is filled while the kernel has the other. What finds
// no room is dropped and counted; nobody waits for a collector.
import type { DatagramResult, DatagramSink } from './datagram-sink.js';

/** What became of a line: `dropped_too_long` does not fit into a datagram, `dropped_full` did not find room in the buffer. */
export type LineResult = DatagramResult | 'dropped_too_long';

export interface LineBufferOptions {
  /** Of one page. */
  readonly bufferBytes: number;
  readonly flushIntervalMs: number;
  /** Beside what the sink can carry. */
  readonly maxDatagramBytes: number;
}

/** How long `close()` lets a collector make room. */
const CLOSE_TIMEOUT_MS = 1000;

interface Datagram {
  readonly end: number;
  readonly lines: number;
}

/** What write() calls when it has checked its arguments, which takes as long as writing. */
interface Latin1Buffer extends Buffer {
  latin1Write(text: string, offset: number): number;
}

class Page {
  readonly bytes: Latin1Buffer;
  length = 0;
  /** Whole ones, before the one that is being filled. */
  datagrams: Datagram[] = [];
  datagramStart = 0;
  datagramLines = 0;
  /** The lines of that one. They are written to memory at once: for each by itself it would take twice as long. */
  text = '';
  /** Datagrams that the sink has and is not done with. */
  inFlight = 0;

  constructor(sizeBytes: number) {
    // Not of Node.js's pool: it stays for as long as the log.
    this.bytes = Buffer.allocUnsafeSlow(sizeBytes) as Latin1Buffer;
  }

  append(line: string): void {
    this.text += line;
    this.text += '\n';
    this.length += line.length + 1;
    this.datagramLines++;
  }

  endDatagram(): void {
    this.bytes.latin1Write(this.text, this.datagramStart);
    this.text = '';
    this.datagrams.push({ end: this.length, lines: this.datagramLines });
    this.datagramStart = this.length;
    this.datagramLines = 0;
  }

  reset(): void {
    this.length = 0;
    this.datagrams = [];
    this.datagramStart = 0;
  }
}

/** Larger ones cost the kernel more for each byte: 64 KiB at a time took 2 % more of a request's CPU time. */
const USUAL_DATAGRAM_BYTES = 16 * 1024;

export class LineBuffer {
  readonly #counts: Record<LineResult, number> = {
    sent: 0,
    dropped_full: 0,
    dropped_error: 0,
    dropped_too_long: 0,
  };
  readonly #sink: DatagramSink;
  readonly #maxDatagramBytes: number;
  readonly #usualDatagramBytes: number;
  readonly #bufferBytes: number;
  readonly #pages: readonly [Page, Page];
  readonly #timer: NodeJS.Timeout;
  #page: Page;
  #isTimerSet = false;
  #closing: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;

  /** Owns the sink. */
  constructor(sink: DatagramSink, { bufferBytes, flushIntervalMs, maxDatagramBytes }: LineBufferOptions) {
    this.#sink = sink;
    this.#bufferBytes = bufferBytes;
    this.#maxDatagramBytes = Math.min(sink.maxDatagramBytes, bufferBytes, maxDatagramBytes);
    this.#usualDatagramBytes = Math.min(this.#maxDatagramBytes, USUAL_DATAGRAM_BYTES);
    this.#pages = [new Page(bufferBytes), new Page(bufferBytes)];
    this.#page = this.#pages[0];
    this.#timer = setTimeout(() => this.#onTimer(), flushIntervalMs).unref();
    this.#isTimerSet = true;
  }

  /** Lines by what became of them; those that are still here are in none. */
  get counts(): Readonly<Record<LineResult, number>> {
    return this.#counts;
  }

  /** @param line in latin1, one character for each byte, without its line break */
  append(line: string): void {
    const bytes = line.length + 1;
    if (bytes > this.#maxDatagramBytes) return this.count('dropped_too_long');
    if (this.#closing !== undefined) return this.count('dropped_error');
    let page = this.#page;
    if (page.inFlight > 0 || page.length + bytes > this.#bufferBytes) {
      if (!this.#turnPage()) return this.count('dropped_full');
      page = this.#page;
    }
    // The first line of a datagram may be longer.
    if (page.datagramLines > 0 && page.length + bytes - page.datagramStart > this.#usualDatagramBytes)
      page.endDatagram();
    page.append(line);
    if (!this.#isTimerSet) {
      this.#isTimerSet = true;
      this.#timer.refresh();
    }
  }

  count(result: LineResult): void {
    this.#counts[result]++;
  }

  /** Sends what is there, without waiting for more. */
  flush(): void {
    if (this.#page.inFlight === 0 && this.#page.length > 0) this.#turnPage();
  }

  /** Sends what is there, waits up to a second for the kernel to take it, and closes the sink. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    this.flush();
    if (!this.#isIdle) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
        this.#onIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#sink.close();
  }

  get #isIdle(): boolean {
    return this.#pages.every(({ inFlight }) => inFlight === 0);
  }

  #onTimer(): void {
    this.#isTimerSet = false;
    this.flush();
  }

  /** Gives the page to the sink. @returns false if there is none to go on with */
  #turnPage(): boolean {
    if (this.#page.inFlight === 0) this.#send(this.#page);
    const next = this.#pages.find(({ inFlight }) => inFlight === 0);
    if (next === undefined) return false;
    this.#page = next;
    return true;
  }

  #send(page: Page): void {
    page.endDatagram();
    const { datagrams, bytes } = page;
    page.inFlight = datagrams.length;
    let start = 0;
    for (const { end, lines } of datagrams) {
      this.#sink.send(bytes.subarray(start, end), (result) => {
        this.#counts[result] += lines;
        if (--page.inFlight > 0) return;
        page.reset();
        if (this.#isIdle) this.#onIdle?.();
      });
      start = end;
    }
  }
}
