// One UNIX connection as it comes in: the message under way on it, the descriptors beside that, and, once it is a channel, the answers
// it is owed. Owns those descriptors until somebody takes them. Judges only whether a message is whole; answers nobody.
import { WireError } from './errors.js';
import type { WireLimits } from './limits.js';
import { decodeWholeMessage, type Message, MessageDecoder } from './message.js';
import { type PeerCredentials, RECORD } from './native.js';
import { ownReceived, type PassedFd } from './passed-fd.js';

/** Most answers that go out in one piece: so few bytes arrive all or not at all. */
export const MAX_ANSWERS = 64;

/** One field of the record that begins at `at`: positions are constants below the stride. */
export const field = (records: Int32Array, at: number, position: number): number =>
  records[at + position] as number;

/** The process at the other end. */
export const senderOf = (records: Int32Array, at: number): PeerCredentials => ({
  pid: field(records, at, RECORD.PID),
  uid: field(records, at, RECORD.UID) >>> 0,
  gid: field(records, at, RECORD.GID) >>> 0,
});

export class IncomingConnection {
  /** The listener's name for it. */
  readonly id: number;
  readonly sender: PeerCredentials;
  /** The descriptor of the message under way, or of the one that is being judged. */
  passedFd: PassedFd | undefined;
  /** What the kernel says of it, as SOCKET_FACT bits. */
  fdFacts = 0;
  /** Came together with it. */
  secondFd: PassedFd | undefined;
  /** Its sender can read an answer: it has sent a whole message of version 1. */
  expectsAnswer = false;
  /** Nothing more is wanted of it: it is closed once what it is owed is sent. */
  isOver = false;
  /** What it is owed; only a channel has this. */
  answers: Uint8Array | undefined;
  answerCount = 0;
  /** Of the batch under way: how many of its outcomes were told by the answers sent so far, */
  answeredOutcomes = 0;
  /** and the outcome from which on they were not, because that failed with `errno`. */
  unansweredFrom = Number.POSITIVE_INFINITY;
  errno = 0;

  #decoder: MessageDecoder | undefined;
  /** Came with the record that is being read. */
  #came: PassedFd | undefined;
  #cameToo: PassedFd | undefined;
  #cameFacts = 0;
  /** More than a message may have. */
  #extra: PassedFd[] | undefined;

  constructor(id: number, sender: PeerCredentials) {
    this.id = id;
    this.sender = sender;
  }

  get isChannel(): boolean {
    return this.answers !== undefined;
  }

  /** A message has begun and is not whole. */
  get isWithinMessage(): boolean {
    return this.#decoder !== undefined;
  }

  get hasTooManyFds(): boolean {
    return this.#extra !== undefined;
  }

  /** Takes the descriptors of a record: always before anything else is asked of it, so that they have an owner. */
  collect(records: Int32Array, at: number): void {
    const count = field(records, at, RECORD.FD_COUNT);
    if (count === 0) return;
    this.#came = ownReceived(field(records, at, RECORD.FD_0));
    this.#cameFacts = field(records, at, RECORD.FD_0_FACTS);
    if (count > 1) this.#cameToo = ownReceived(field(records, at, RECORD.FD_1));
  }

  /**
   * What came with the record belongs to the message under way. The kernel ends a record with the bytes a descriptor came beside, so
   * on a channel that is the last message in it. Two belong together only if they came together, and none on a channel.
   */
  assignFd(): void {
    if (this.#came === undefined) return;
    const isFirst = this.passedFd === undefined;
    if (isFirst) {
      this.passedFd = this.#came;
      this.fdFacts = this.#cameFacts;
    } else {
      this.#addExtra(this.#came);
    }
    this.#came = undefined;
    if (this.#cameToo === undefined) return;
    if (isFirst && !this.isChannel) this.secondFd = this.#cameToo;
    else this.#addExtra(this.#cameToo);
    this.#cameToo = undefined;
  }

  /**
   * Goes on with bytes of a batch.
   * @returns the message once it is whole; what follows it is its `rest`
   * @throws WireError
   */
  push(bytes: Buffer, begin: number, end: number, limits: Readonly<WireLimits>): Message | undefined {
    if (this.#decoder === undefined) {
      const whole = decodeWholeMessage(bytes, begin, end, limits);
      if (whole !== undefined) return whole;
      this.#decoder = new MessageDecoder(limits);
    }
    const message = this.#decoder.push(bytes.subarray(begin, end));
    if (message !== undefined) this.#decoder = undefined;
    return message;
  }

  /** For a connection that ends before its message does. */
  cutShort(): WireError {
    const bytesReceived = this.#decoder?.bytesReceived ?? 0;
    return bytesReceived === 0
      ? new WireError('FDPASS_ERR_EMPTY')
      : new WireError('FDPASS_ERR_TRUNCATED', bytesReceived);
  }

  /** Gives the descriptor of a judged message to the caller. */
  takeFd(): PassedFd {
    const { passedFd } = this;
    if (passedFd === undefined) throw new WireError('FDPASS_ERR_NO_FD');
    this.passedFd = undefined;
    return passedFd;
  }

  /** Gives the second one to the caller. */
  takeSecondFd(): PassedFd {
    const { secondFd } = this;
    if (secondFd === undefined) throw new WireError('FDPASS_ERR_NO_CONNECTION');
    this.secondFd = undefined;
    return secondFd;
  }

  /** Closes every descriptor that nobody took. Idempotent. */
  close(): void {
    this.passedFd?.close();
    this.secondFd?.close();
    this.#came?.close();
    this.#cameToo?.close();
    if (this.#extra !== undefined) for (const fd of this.#extra) fd.close();
  }

  #addExtra(fd: PassedFd): void {
    this.#extra ??= [];
    this.#extra.push(fd);
  }
}
