// One connection's message while it comes in: from the records of the addon's batches to a whole `Message` and the
// descriptors beside it. Owns those descriptors until somebody takes them; answers nobody.
import { WireError } from './errors.js';
import type { WireLimits } from './limits.js';
import { type Message, MessageDecoder } from './message.js';
import { type PeerCredentials, RECORD, RECORD_FLAG } from './native.js';
import { PassedFd } from './passed-fd.js';

/** What judges a record besides its bytes. */
export interface AssemblyRules {
  readonly limits: WireLimits;
  /** For the error's text; the deadline itself is the listener's. */
  readonly messageTimeoutMs: number;
  readonly allowedPeers: { uids?: readonly number[]; gids?: readonly number[] } | undefined;
}

/** The connection a record belongs to. */
export const connectionOf = (record: Int32Array): number => field(record, RECORD.CONNECTION);

/** The process at the other end. */
export const senderOf = (record: Int32Array): PeerCredentials => ({
  pid: field(record, RECORD.PID),
  uid: field(record, RECORD.UID) >>> 0,
  gid: field(record, RECORD.GID) >>> 0,
});

export class MessageAssembly {
  /** In the order they came; all are closed by `close()` that were not taken. */
  readonly fds: PassedFd[] = [];
  readonly #rules: AssemblyRules;
  readonly #decoder: MessageDecoder;
  #message: Message | undefined;
  #fdFacts = 0;

  constructor(rules: AssemblyRules) {
    this.#rules = rules;
    this.#decoder = new MessageDecoder(rules.limits);
  }

  /** Set once the message is whole. */
  get message(): Message | undefined {
    return this.#message;
  }

  /** What the kernel says of the first descriptor, as SOCKET_FACT bits. */
  get fdFacts(): number {
    return this.#fdFacts;
  }

  /** Takes the descriptors of a record: always before anything else is asked of it, so that they have an owner. */
  collect(record: Int32Array): void {
    const count = field(record, RECORD.FD_COUNT);
    if (count > 0 && this.fds.length === 0) this.#fdFacts = field(record, RECORD.FD_0_FACTS);
    for (let nth = 0; nth < count; nth++) this.fds.push(new PassedFd(field(record, RECORD.FD_0 + nth)));
  }

  /**
   * Goes on with the bytes of a record.
   * @param batch the bytes of its whole batch
   * @returns the message once it is whole
   * @throws WireError
   */
  push(batch: Buffer, record: Int32Array): Message | undefined {
    this.#check(record);
    const offset = field(record, RECORD.OFFSET);
    this.#message = this.#decoder.push(batch.subarray(offset, offset + field(record, RECORD.LENGTH)));
    const isEnd = (field(record, RECORD.FLAGS) & RECORD_FLAG.EOF) !== 0;
    if (this.#message === undefined && isEnd) throw this.#cutShort();
    return this.#message;
  }

  close(): void {
    for (const fd of this.fds) fd.close();
  }

  /** What makes a record unusable, whatever its bytes say. */
  #check(record: Int32Array): void {
    const flags = field(record, RECORD.FLAGS);
    if ((flags & RECORD_FLAG.ERROR) !== 0)
      throw new WireError('FDPASS_ERR_RECEIVE', field(record, RECORD.ERRNO));
    const { allowedPeers, messageTimeoutMs } = this.#rules;
    if (allowedPeers !== undefined) {
      const { uids = [], gids = [] } = allowedPeers;
      const { uid, gid } = senderOf(record);
      if (!uids.includes(uid) && !gids.includes(gid)) throw new WireError('FDPASS_ERR_PEER', uid, gid);
    }
    if ((flags & RECORD_FLAG.TIMEOUT) !== 0) throw new WireError('FDPASS_ERR_TIMEOUT', messageTimeoutMs);
    if ((flags & RECORD_FLAG.CONTROL_TRUNCATED) !== 0) throw new WireError('FDPASS_ERR_CONTROL_TRUNCATED');
    if ((flags & RECORD_FLAG.TOO_MANY_FDS) !== 0) throw new WireError('FDPASS_ERR_TOO_MANY_FDS');
  }

  #cutShort(): WireError {
    const { bytesReceived } = this.#decoder;
    return bytesReceived === 0
      ? new WireError('FDPASS_ERR_EMPTY')
      : new WireError('FDPASS_ERR_TRUNCATED', bytesReceived);
  }
}

/** Positions are constants below the stride. */
function field(record: Int32Array, position: number): number {
  return record[position] as number;
}
