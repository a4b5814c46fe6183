// The front door's own answers, for requests it cannot hand over: writes one, and stays until the client had a chance to read
// it. Borrows the client's descriptor.

import { type FdPoller, native } from '../native.js';
import { rawAnswer } from '../raw-answer.js';

/** How long we wait for the client to close after the answer. */
const LINGER_MS = 5_000;
/** How much of the client's body we read and throw away meanwhile. */
const MAX_DISCARDED_BYTES = 8 * 1024 * 1024;
/** Bytes per wake-up, so that one fast client does not hold up the others. */
const MAX_DISCARDED_AT_ONCE = 1024 * 1024;

/** Used only within one call, so that one is enough. */
const discarded = Buffer.allocUnsafeSlow(64 * 1024);

export type AnswerStatus = 400 | 408 | 414 | 431 | 501 | 502 | 503 | 504 | 505;

/**
 * One answer on its way. close() with unread bytes in the receive queue sends a reset, and a reset makes the client lose the
 * answer: so our side of the connection is shut down, and the client's bytes are discarded until it closes too, within
 * bounds (RFC 9112 section 9.6).
 */
export class ErrorAnswer {
  readonly #fd: number;
  readonly #onDone: () => void;
  #poller: FdPoller | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #discarded = 0;

  constructor(fd: number, onDone: () => void) {
    this.#fd = fd;
    this.#onDone = onDone;
  }

  /** Calls `onDone` once, when the descriptor may be closed: perhaps at once, never after `stop()`. */
  send(status: AnswerStatus, method?: string): void {
    const answer = rawAnswer(status, { Date: new Date().toUTCString() });
    // The answer to HEAD has the same head and no body (RFC 9110 section 9.3.2).
    const text = method === 'HEAD' ? answer.slice(0, answer.indexOf('\r\n\r\n') + 4) : answer;
    const bytes = Buffer.from(text, 'latin1');
    this.#step(() => {
      // Nothing was written before, so the send buffer is empty: it all fits, or the client is not worth waiting for.
      if (native().write(this.#fd, bytes) !== bytes.length) return true;
      native().shutdown(this.#fd, 1);
      return this.#discard() || this.#wait();
    });
  }

  /** Lets go of the descriptor. Idempotent. */
  stop(): void {
    clearTimeout(this.#deadline);
    this.#poller?.close();
    this.#poller = undefined;
  }

  /** Runs one step; true, or a connection that is broken, ends it all. */
  #step(step: () => boolean): void {
    let done = true;
    try {
      done = step();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    }
    if (!done) return;
    this.stop();
    this.#onDone();
  }

  /** @returns whether the client closed, or sent more than we are ready to throw away */
  #discard(): boolean {
    for (let atOnce = 0; atOnce < MAX_DISCARDED_AT_ONCE; ) {
      const count = native().read(this.#fd, discarded);
      if (count === -1) return false;
      if (count === 0) return true;
      atOnce += count;
      this.#discarded += count;
    }
    return this.#discarded >= MAX_DISCARDED_BYTES;
  }

  #wait(): false {
    this.#poller = new (native().FdPoller)(this.#fd, (_events, errno) =>
      this.#step(() => errno !== 0 || this.#discard()),
    );
    this.#poller.start(native().constants.READABLE);
    this.#deadline = setTimeout(() => this.#step(() => true), LINGER_MS);
    return false;
  }
}
