// From the batches of one listener to handovers: judges each message, answers its sender, and gives the handover out only then. Keeps
// the connections on which more is to come. Never lets one sender reach the others; whom the handovers go to is the receiver's.
import { constants as os } from 'node:os';
import { WireError } from './errors.js';
import { ACKNOWLEDGEMENT, closeHandover, type Handover } from './handover.js';
import { field, IncomingConnection, MAX_ANSWERS, senderOf } from './incoming-connection.js';
import type { WireLimits } from './limits.js';
import { checkDescriptors, wholeHandover } from './make-handover.js';
import type { Message } from './message.js';
import { type FdListener, type PeerCredentials, RECORD, RECORD_FLAG } from './native.js';
import { ownReceived, type PassedFd } from './passed-fd.js';
import { isListed, type PeerList } from './peer-list.js';

export interface JudgeRules {
  readonly limits: WireLimits;
  /** For the error's text; the deadline itself is the listener's. */
  readonly messageTimeoutMs: number;
  readonly maxChannels: number;
  readonly allowedPeers: Required<PeerList> | undefined;
  readonly trustedRouters: Required<PeerList>;
  readonly refuse: ((message: Message, ahead: number) => boolean) | undefined;
}

export interface JudgeEvents {
  /** Takes the descriptors. Must not throw. */
  onHandover(handover: Handover): void;
  /** A sender was told to go elsewhere. */
  onRefusal(): void;
  /** Must not throw. */
  onError(error: WireError, sender: PeerCredentials): void;
}

const { TAKEN, TAKEN_KEPT, REFUSED } = ACKNOWLEDGEMENT;

export class HandoverJudge {
  readonly #listener: FdListener;
  readonly #rules: JudgeRules;
  readonly #events: JudgeEvents;
  /** Channels, and connections whose message is not whole yet. */
  readonly #connections = new Map<number, IncomingConnection>();
  #channels = 0;
  #isDraining = false;
  #isClosed = false;

  // Of the batch under way.
  /** What its messages came to, in their order, and where each came from. */
  readonly #outcomes: (Handover | WireError)[] = [];
  readonly #sources: IncomingConnection[] = [];
  /** How many of them are handovers. */
  #taken = 0;
  /** Channels with something to be told or closed; one may be here twice. */
  readonly #owed: IncomingConnection[] = [];

  constructor(listener: FdListener, rules: JudgeRules, events: JudgeEvents) {
    this.#listener = listener;
    this.#rules = rules;
    this.#events = events;
  }

  /**
   * All messages of a batch are judged, then all are answered, then all are given out: one answer for several messages of a channel,
   * and no work on a client delays the next sender's answer.
   */
  onBatch(bytes: Buffer, records: Int32Array): void {
    for (let at = 0; at < records.length; at += RECORD.STRIDE) this.#onRecord(bytes, records, at);
    for (const channel of this.#owed) this.#settle(channel);
    this.#owed.length = 0;
    this.#giveOut();
  }

  /** No connection becomes a channel any more; on those that are, what has arrived is judged, then they are closed. */
  drain(): void {
    this.#isDraining = true;
    for (const { id, isChannel } of this.#connections.values()) {
      if (isChannel) this.#listener.endReceiving(id);
    }
  }

  /** The listener is closed: descriptors of unfinished messages are, too, and so is what was not given out yet. */
  close(): void {
    this.#isClosed = true;
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }

  #onRecord(bytes: Buffer, records: Int32Array, at: number): void {
    const id = field(records, at, RECORD.CONNECTION);
    const known = this.#connections.get(id);
    const connection = known ?? new IncomingConnection(id, senderOf(records, at));
    try {
      connection.collect(records, at);
      // Closed by `refuse` in the middle of this batch, or one that was judged finally: whatever else came is closed.
      if (this.#isClosed || connection.isOver) return connection.close();
      if (connection.isChannel) return this.#onChannelRecord(connection, bytes, records, at);
      connection.assignFd();
      this.#check(records, at);
      const begin = field(records, at, RECORD.OFFSET);
      const end = begin + field(records, at, RECORD.LENGTH);
      const message = connection.push(bytes, begin, end, this.#rules.limits);
      if (message !== undefined) return this.#judge(connection, message);
      if (isEnd(records, at)) throw connection.cutShort();
      // Not only once it is whole: until then a sender could have this process take any number.
      if (connection.hasTooManyFds) throw new WireError('FDPASS_ERR_TOO_MANY_FDS');
      if (known === undefined) this.#connections.set(id, connection);
    } catch (error) {
      this.#fail(connection, error);
    }
  }

  /** What makes a record unusable, whatever its bytes say. */
  #check(records: Int32Array, at: number): void {
    const flags = field(records, at, RECORD.FLAGS);
    if ((flags & RECORD_FLAG.ERROR) !== 0) {
      throw new WireError('FDPASS_ERR_RECEIVE', field(records, at, RECORD.ERRNO));
    }
    const { allowedPeers, messageTimeoutMs } = this.#rules;
    if (allowedPeers !== undefined) {
      const peer = senderOf(records, at);
      if (!isListed(allowedPeers, peer)) throw new WireError('FDPASS_ERR_PEER', peer.uid, peer.gid);
    }
    if (flags === 0) return;
    if ((flags & RECORD_FLAG.TIMEOUT) !== 0) throw new WireError('FDPASS_ERR_TIMEOUT', messageTimeoutMs);
    if ((flags & RECORD_FLAG.CONTROL_TRUNCATED) !== 0) throw new WireError('FDPASS_ERR_CONTROL_TRUNCATED');
    if ((flags & RECORD_FLAG.TOO_MANY_FDS) !== 0) throw new WireError('FDPASS_ERR_TOO_MANY_FDS');
  }

  /**
   * Judges the only message of a connection so far, answers its sender, and makes the handover.
   * @throws WireError; then nothing was acknowledged
   */
  #judge(connection: IncomingConnection, message: Message): void {
    const { id } = connection;
    const { headers, version, earlyBytes, rest, contentLength } = message;
    connection.expectsAnswer = version === 1;
    if (message.dialect === 'plain') {
      if (connection.passedFd !== undefined) throw new WireError('FDPASS_ERR_UNEXPECTED_FD');
      const unixConnection = this.#detach(id);
      return this.#take(connection, {
        kind: 'relay',
        headers,
        version,
        sender: connection.sender,
        hops: 0,
        earlyBytes: rest,
        connection: unixConnection,
        contentLength,
      });
    }
    checkDescriptors(connection, message);
    // Who decrypts for the client may send its next bytes at once. After a full handover nothing can follow, nor on a router's connection.
    const goesOn = message.ktls === 'partial' && message.via === undefined;
    if (!goesOn && rest.length > 0) throw new WireError('FDPASS_ERR_TRAILING_BYTES', rest.length);
    if (version === 1 && this.#refuses(message)) {
      this.#release(connection, REFUSED);
      connection.close();
      return;
    }
    if (goesOn) {
      const unixConnection = this.#detach(id, version === 1 ? TAKEN : undefined);
      const stream = rest.length === 0 ? earlyBytes : Buffer.concat([earlyBytes, rest]);
      const passedFd = connection.takeFd();
      return this.#take(connection, {
        kind: 'partial',
        headers,
        version,
        sender: connection.sender,
        hops: 0,
        earlyBytes: stream,
        passedFd,
        connection: unixConnection,
      });
    }
    if (message.keepAlive && this.#mayKeep) {
      this.#keep(connection);
      this.#take(connection, wholeHandover(connection, message, this.#rules.trustedRouters));
      return this.#owe(connection, TAKEN_KEPT);
    }
    const errno = this.#release(connection, version === 1 ? TAKEN : undefined);
    if (errno !== 0) throw new WireError('FDPASS_ERR_ACK', errno);
    this.#take(connection, wholeHandover(connection, message, this.#rules.trustedRouters));
  }

  /** @throws WireError; then the channel is over */
  #onChannelRecord(connection: IncomingConnection, bytes: Buffer, records: Int32Array, at: number): void {
    const wasWithinMessage = connection.isWithinMessage;
    if (!wasWithinMessage && isGone(records, at)) return this.#end(connection);
    this.#check(records, at);
    let begin = field(records, at, RECORD.OFFSET);
    const end = begin + field(records, at, RECORD.LENGTH);
    let hasBegun = !wasWithinMessage;
    while (begin < end && !connection.isOver) {
      const message = connection.push(bytes, begin, end, this.#rules.limits);
      if (message === undefined) break;
      begin = end - message.rest.length;
      if (begin === end) connection.assignFd();
      hasBegun = true;
      this.#judgeOnChannel(connection, message);
    }
    connection.assignFd();
    if (connection.isOver) return connection.close();
    if (connection.hasTooManyFds) throw new WireError('FDPASS_ERR_TOO_MANY_FDS');
    if (isEnd(records, at)) return this.#endWithinMessage(connection);
    // The deadline is that of a message, not of a connection: none while nothing is under way.
    if (!connection.isWithinMessage) {
      if (wasWithinMessage) this.#listener.keepConnection(connection.id);
    } else if (hasBegun) {
      this.#listener.expectMessage(connection.id);
    }
  }

  #judgeOnChannel(connection: IncomingConnection, message: Message): void {
    if (message.dialect === 'plain') throw new WireError('FDPASS_ERR_CHANNEL', 'of the plain dialect');
    if (message.version !== 1) throw new WireError('FDPASS_ERR_CHANNEL', 'without FD_PASS_VERSION=1');
    if (message.ktls === 'partial') throw new WireError('FDPASS_ERR_CHANNEL', 'with KTLS_RX=0');
    if (message.relayLength !== undefined) throw new WireError('FDPASS_ERR_CHANNEL', 'with FD_PASS_RELAY');
    checkDescriptors(connection, message);
    if (this.#refuses(message)) {
      this.#owe(connection, REFUSED);
      connection.takeFd().close();
      return;
    }
    // Without the wish it is the sender's last one.
    if (!message.keepAlive) connection.isOver = true;
    this.#take(connection, wholeHandover(connection, message, this.#rules.trustedRouters));
    this.#owe(connection, message.keepAlive ? TAKEN_KEPT : TAKEN);
  }

  #refuses(message: Message): boolean {
    if (this.#rules.refuse?.(message, this.#taken) !== true) return false;
    this.#events.onRefusal();
    return true;
  }

  get #mayKeep(): boolean {
    return !this.#isDraining && this.#channels < this.#rules.maxChannels;
  }

  /** Makes it a channel. */
  #keep(connection: IncomingConnection): void {
    const errno = this.#listener.keepConnection(connection.id);
    if (errno !== 0) throw new WireError('FDPASS_ERR_ACK', errno);
    connection.answers = new Uint8Array(MAX_ANSWERS);
    this.#connections.set(connection.id, connection);
    this.#channels++;
  }

  #take(connection: IncomingConnection, handover: Handover): void {
    if (!connection.isChannel) this.#connections.delete(connection.id);
    this.#outcomes.push(handover);
    this.#sources.push(connection);
    this.#taken++;
  }

  #owe(connection: IncomingConnection, answer: number): void {
    const answers = connection.answers as Uint8Array;
    if (connection.answerCount === 0) this.#owed.push(connection);
    answers[connection.answerCount++] = answer;
    if (connection.answerCount === MAX_ANSWERS) this.#sendAnswers(connection);
  }

  /** Sends what a channel is owed, and closes it if it is over. Idempotent within a batch. */
  #settle(connection: IncomingConnection): void {
    if (connection.answerCount > 0) this.#sendAnswers(connection);
    connection.answeredOutcomes = 0;
    if (!connection.isOver || !this.#connections.delete(connection.id)) return;
    this.#channels--;
    this.#listener.closeConnection(connection.id);
    connection.close();
  }

  /** All of them arrive, or none: then none of their clients is ours. */
  #sendAnswers(connection: IncomingConnection): void {
    const { id, answers, answerCount } = connection;
    connection.answerCount = 0;
    // After a failure no more is said, not even if there is room again: the answers would count for other messages.
    if (connection.errno !== 0) return;
    connection.errno = this.#listener.answer(id, answers as Uint8Array, answerCount);
    if (connection.errno === 0) {
      connection.answeredOutcomes = this.#outcomes.length;
    } else {
      connection.unansweredFrom = connection.answeredOutcomes;
      connection.isOver = true;
    }
  }

  /** A channel without a message under way ends without a word. */
  #end(connection: IncomingConnection): void {
    connection.isOver = true;
    this.#owed.push(connection);
  }

  #endWithinMessage(connection: IncomingConnection): void {
    // When this side drains, it is this side that has cut the message off.
    if (!this.#isDraining) throw connection.cutShort();
    this.#events.onRefusal();
    this.#owe(connection, REFUSED);
    this.#end(connection);
  }

  #fail(connection: IncomingConnection, cause: unknown): void {
    if (connection.isChannel) {
      this.#owe(connection, REFUSED);
      this.#end(connection);
    } else {
      this.#release(connection, connection.expectsAnswer ? REFUSED : undefined);
    }
    connection.close();
    const error = cause instanceof WireError ? cause : new WireError('FDPASS_ERR_RECEIVE', 0, { cause });
    this.#outcomes.push(error);
    this.#sources.push(connection);
  }

  /** Closes a connection that is no channel, after its answer. @returns 0 or an errno */
  #release(connection: IncomingConnection, answer?: number): number {
    this.#connections.delete(connection.id);
    return this.#listener.closeConnection(connection.id, answer);
  }

  #detach(id: number, answer?: number): PassedFd {
    const fd = this.#listener.detachConnection(id, answer);
    if (fd < 0) throw new WireError('FDPASS_ERR_ACK', -fd);
    return ownReceived(fd);
  }

  #giveOut(): void {
    const outcomes = this.#outcomes;
    for (let nth = 0; nth < outcomes.length; nth++) {
      const outcome = outcomes[nth] as Handover | WireError;
      const source = this.#sources[nth] as IncomingConnection;
      if (this.#isClosed) {
        if (!(outcome instanceof WireError)) closeHandover(outcome);
      } else if (outcome instanceof WireError) {
        this.#events.onError(outcome, source.sender);
      } else if (nth >= source.unansweredFrom) {
        closeHandover(outcome);
        this.#events.onError(new WireError('FDPASS_ERR_ACK', source.errno), source.sender);
      } else {
        this.#events.onHandover(outcome);
      }
    }
    outcomes.length = 0;
    this.#sources.length = 0;
    this.#taken = 0;
  }
}

const isEnd = (records: Int32Array, at: number): boolean =>
  (field(records, at, RECORD.FLAGS) & RECORD_FLAG.EOF) !== 0;

/** The sender closed, perhaps with answers unread, which resets the connection (unix(7)). */
const isGone = (records: Int32Array, at: number): boolean =>
  isEnd(records, at) ||
  ((field(records, at, RECORD.FLAGS) & RECORD_FLAG.ERROR) !== 0 &&
    field(records, at, RECORD.ERRNO) === os.errno.ECONNRESET);
