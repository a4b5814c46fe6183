// One client of the front door, from accept to the end of our copy of its descriptor: read the head, hand over, or answer.
// It owns the descriptor; whoever made it counts and logs.
import { RuntimeError, type RuntimeErrorCode } from '../errors.js';
import { type Backend, handOver, type Refusal } from '../handing-over.js';
import { native } from '../native.js';
import { type AnswerStatus, ErrorAnswer } from './error-answer.js';
import { type HeadOutcome, HeadReader, type HeadReading } from './head-reader.js';
import type { RequestHead } from './request-head-parser.js';
import { plainAddress, type ServerAddress, scgiVariables } from './scgi-variables.js';

/** Who a client is, for events and log lines; undefined if it is gone so completely that the kernel does not know either. */
export interface ClientAddress {
  address: string;
  port: number;
}

/** What a client tells the front door it belongs to, and what all clients share. */
export interface ClientHost {
  readonly reading: HeadReading;
  readonly sendTimeoutMs: number;
  onHandedOver(): void;
  /** The client left, or said nothing in time: it was closed without an answer. */
  onClosedQuietly(why: 'gone' | 'idle'): void;
  onClientError(error: RuntimeError, client: ClientAddress | undefined): void;
  /** One backend did not take the client. */
  onRefusal(refusal: Refusal): void;
  /** No backend took the client: it is answered by us. */
  onHandoverError(error: Error, client: ClientAddress | undefined): void;
  onShortage(error: NodeJS.ErrnoException): void;
  onAnswer(status: AnswerStatus): void;
  /** The descriptor is closed. */
  onReleased(client: Client): void;
}

type State = 'reading' | 'handing over' | 'answering' | 'released';

const STATUS_OF_CLIENT_ERROR: Partial<Record<RuntimeErrorCode, AnswerStatus>> = {
  BKR_ERR_FRONT_DOOR_HEAD_TIMEOUT: 408,
  BKR_ERR_FRONT_DOOR_URI_TOO_LONG: 414,
  BKR_ERR_FRONT_DOOR_HEAD_TOO_LARGE: 431,
  BKR_ERR_FRONT_DOOR_NOT_IMPLEMENTED: 501,
  BKR_ERR_FRONT_DOOR_VERSION: 505,
};

/** A backend that is full or refuses will be there again: 503. One that is not there, or does not speak: a gateway's errors. */
const STATUS_OF_REFUSAL: Partial<Record<Refusal['code'], AnswerStatus>> = {
  FDPASS_ERR_BACKLOG_FULL: 503,
  FDPASS_ERR_REFUSED: 503,
  FDPASS_ERR_BACKEND_DOWN: 502,
  FDPASS_ERR_ACK_TIMEOUT: 504,
};

export class Client {
  readonly #fd: number;
  readonly #host: ClientHost;
  readonly #server: ServerAddress | undefined;
  readonly #backends: readonly Backend[];
  readonly #reader: HeadReader;
  #answer: ErrorAnswer | undefined;
  #state: State = 'reading';
  #cancelled = false;
  /** A copy of the descriptor may still lie in the queue of a backend that did not take it. */
  #refused = false;

  /**
   * Takes ownership of `fd`.
   * @param server undefined: the socket is asked where the client came in
   */
  constructor(fd: number, server: ServerAddress | undefined, backends: readonly Backend[], host: ClientHost) {
    this.#fd = fd;
    this.#host = host;
    this.#server = server;
    this.#backends = backends;
    this.#reader = new HeadReader(fd, host.reading, (outcome) => this.#onHead(outcome));
  }

  get state(): State {
    return this.#state;
  }

  /** Reads the head, at once if it is there. */
  start(): void {
    this.#reader.start();
  }

  /** The front door closes: a client that has not begun its request gets only this long to do so. */
  shortenIdle(timeoutMs: number): void {
    if (this.#state === 'reading') this.#reader.shortenIdle(timeoutMs);
  }

  /**
   * Closes the client without an answer, as all others of the front door. During a handover the descriptor is the sender's to use: it is
   * closed when the sender has let go of it, which it is told to do with all of its clients.
   */
  destroy(): void {
    this.#cancelled = true;
    if (this.#state !== 'handing over') this.#release();
    else for (const { sender } of this.#backends) sender.destroy();
  }

  #onHead(outcome: HeadOutcome): void {
    if (outcome === 'gone' || outcome === 'idle') {
      this.#host.onClosedQuietly(outcome);
      this.#release();
    } else if (outcome instanceof RuntimeError) {
      const client = this.#address();
      this.#answerWith(STATUS_OF_CLIENT_ERROR[outcome.code] ?? 400);
      this.#host.onClientError(outcome, client);
    } else {
      void this.#handOver(outcome);
    }
  }

  async #handOver(head: RequestHead): Promise<void> {
    const client = this.#address();
    if (client === undefined) {
      this.#host.onClosedQuietly('gone');
      return this.#release();
    }
    this.#state = 'handing over';
    let refusal: Refusal | undefined;
    try {
      refusal = await handOver({
        handover: {
          fd: this.#fd,
          headers: scgiVariables(head, client, this.#server ?? native().localAddress(this.#fd)),
        },
        backends: this.#backends,
        shortageTimeoutMs: this.#host.sendTimeoutMs,
        cancelled: () => this.#cancelled,
        onRefusal: (one) => this.#host.onRefusal(one),
        onShortage: (error) => this.#host.onShortage(error),
      });
      if (refusal === undefined) this.#host.onHandedOver();
    } catch (error) {
      this.#refused = true;
      // Not the backend's doing and not the client's: it is reported as what it is, and the client gets its answer.
      this.#answerWith(502, head.method);
      if (!this.#cancelled) this.#host.onHandoverError(error as Error, client);
      return;
    }
    // Taken: no shutdown and nothing else, the socket is the backend's.
    if (refusal === undefined) return this.#release();
    this.#refused = true;
    this.#answerWith(STATUS_OF_REFUSAL[refusal.code] ?? 502, head.method);
    if (!this.#cancelled) this.#host.onHandoverError(refusal.error, client);
  }

  #address(): ClientAddress | undefined {
    try {
      const { address, port } = native().peerAddress(this.#fd);
      return { address: plainAddress(address), port };
    } catch {
      return undefined;
    }
  }

  #answerWith(status: AnswerStatus, method?: string): void {
    if (this.#cancelled) {
      this.#release();
      return;
    }
    this.#state = 'answering';
    this.#host.onAnswer(status);
    this.#answer = new ErrorAnswer(this.#fd, () => this.#release());
    this.#answer.send(status, method);
  }

  #release(): void {
    if (this.#state === 'released') return;
    this.#state = 'released';
    this.#reader.stop();
    this.#answer?.stop();
    // Then close() alone would end nothing: the client would wait until that backend cleans up.
    if (this.#refused) native().shutdown(this.#fd, 2);
    native().closeFd(this.#fd);
    this.#host.onReleased(this);
  }
}
