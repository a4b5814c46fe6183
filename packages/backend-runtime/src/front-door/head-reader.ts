// Reads exactly the request head from one client's descriptor, by peeking, so that every byte after it stays in the kernel
// for the backend. Borrows the descriptor; closing it, and answering the client, is its user's business.
import { RuntimeError } from '../errors.js';
import { type FdPoller, native } from '../native.js';
import { type RequestHead, type RequestHeadLimits, RequestHeadParser } from './request-head-parser.js';

/** What all readers of one front door share. */
export interface HeadReading extends RequestHeadLimits {
  /** `maxHeadBytes` long; used only within one call, so one is enough. */
  readonly buffer: Buffer;
  readonly idleTimeoutMs: number;
  readonly headTimeoutMs: number;
  /** Called each time the kernel woke a reader up. */
  onWakeUp(): void;
}

/** `gone`: the client left before its head was whole; `idle`: it sent nothing in time; an error is to be answered. */
export type HeadOutcome = RequestHead | RuntimeError | 'gone' | 'idle';

/**
 * How long a reader looks away when the kernel says readable and there is nothing new: after urgent data (a peek never gets
 * past it) or when the receive buffer is full of tiny segments. Polling on would spin until the deadline.
 */
const STALL_PAUSE_MS = 50;

/** Reads one head. Calls `onOutcome` once, within `start()` if the head is there already; never after `stop()`. */
export class HeadReader {
  readonly #fd: number;
  readonly #reading: HeadReading;
  readonly #onOutcome: (outcome: HeadOutcome) => void;
  readonly #parser: RequestHeadParser;
  #peeked = 0;
  #poller: FdPoller | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #stall: NodeJS.Timeout | undefined;

  constructor(fd: number, reading: HeadReading, onOutcome: (outcome: HeadOutcome) => void) {
    this.#fd = fd;
    this.#reading = reading;
    this.#onOutcome = onOutcome;
    this.#parser = new RequestHeadParser(reading);
  }

  /** True until the first byte came. */
  get idle(): boolean {
    return this.#peeked === 0;
  }

  start(): void {
    this.#advance(0);
  }

  /** Waits at most this long from now for the first byte, if none came yet. */
  shortenIdle(timeoutMs: number): void {
    if (this.idle) this.#setDeadline(Math.min(timeoutMs, this.#reading.idleTimeoutMs));
  }

  /** Lets go of the descriptor. Idempotent. */
  stop(): void {
    clearTimeout(this.#deadline);
    clearTimeout(this.#stall);
    this.#poller?.close();
    this.#poller = undefined;
  }

  #advance(events: number): void {
    let outcome: HeadOutcome | undefined;
    try {
      outcome = this.#look(events);
    } catch (error) {
      if (error instanceof RuntimeError) outcome = error;
      // A reset connection: ECONNRESET, or ETIMEDOUT, EHOSTUNREACH and their like.
      else if ((error as NodeJS.ErrnoException).syscall !== undefined) outcome = 'gone';
      else throw error;
    }
    if (outcome !== undefined) this.#settle(outcome);
  }

  #look(events: number): HeadOutcome | undefined {
    const { buffer } = this.#reading;
    const count = native().peek(this.#fd, buffer);
    if (count === 0) return 'gone';
    if (count > this.#peeked) {
      const head = this.#parser.parse(buffer, count);
      if (head !== undefined) return this.#take(head);
    }
    if ((events & native().constants.DISCONNECT) !== 0) return 'gone';
    this.#wait(count, events !== 0);
    return undefined;
  }

  /** Takes the head, and nothing else, out of the kernel. */
  #take(head: RequestHead): HeadOutcome {
    const { buffer } = this.#reading;
    // Left set, it would stall whoever reads this socket next: the option belongs to the socket, not to our descriptor.
    if (this.#peeked > 0) this.#setLowWaterMark(1);
    const count = native().read(this.#fd, buffer.subarray(0, head.headBytes));
    return count === head.headBytes ? head : 'gone';
  }

  #wait(count: number, awoken: boolean): void {
    if (this.#poller === undefined) {
      this.#poller = new (native().FdPoller)(this.#fd, (events, errno) => {
        this.#reading.onWakeUp();
        // A reset connection whose bytes are still there to be peeked at: it would be reported for ever.
        if (errno !== 0) this.#settle('gone');
        else this.#advance(events);
      });
      if (count <= 0) this.#setDeadline(this.#reading.idleTimeoutMs);
    }
    if (count > this.#peeked) {
      if (this.#peeked === 0) this.#setDeadline(this.#reading.headTimeoutMs);
      this.#peeked = count;
      // Half a head stays readable, and a level-triggered poll would report it again and again.
      this.#setLowWaterMark(count + 1);
    } else if (awoken) {
      this.#poller.stop();
      this.#stall = setTimeout(() => this.#poll(), STALL_PAUSE_MS);
      return;
    }
    this.#poll();
  }

  #poll(): void {
    const { READABLE, DISCONNECT } = native().constants;
    this.#poller?.start(READABLE | DISCONNECT);
  }

  #setDeadline(timeoutMs: number): void {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => {
      const { headTimeoutMs } = this.#reading;
      this.#settle(this.idle ? 'idle' : new RuntimeError('BKR_ERR_FRONT_DOOR_HEAD_TIMEOUT', headTimeoutMs));
    }, timeoutMs);
  }

  #settle(outcome: HeadOutcome): void {
    this.stop();
    this.#onOutcome(outcome);
  }

  #setLowWaterMark(bytes: number): void {
    const { SOL_SOCKET, SO_RCVLOWAT } = native().constants;
    native().setOption(this.#fd, SOL_SOCKET, SO_RCVLOWAT, bytes);
  }
}
