// The sending side of the wire, version 1: connects, passes a descriptor with its headers and early bytes, and waits for
// the receiver's word. Borrows the client's descriptor throughout: until the outcome is `taken`, the client is the caller's.
import { WireError, type WireErrorCode } from './errors.js';
import { ACKNOWLEDGEMENT } from './handover.js';
import { integerOption } from './limits.js';
import { encodeMessage } from './message.js';
import { type FdPoller, native } from './native.js';
import { PassedFd } from './passed-fd.js';

export interface SenderOptions {
  /** The backend's UNIX socket; a path that begins with NUL is abstract. */
  path: string;
  /** Milliseconds from connect to the acknowledgement, 1 to 2147483647. @default 5000 */
  timeoutMs?: number;
}

/** A client to hand over; `passOn` makes it of a handover that came from elsewhere. */
export interface OutgoingHandover {
  /** In order. `CONTENT_LENGTH`, `SCGI` and `FD_PASS_VERSION` are the sender's to add. `KTLS_RX=0` makes it partial. */
  headers: Iterable<readonly [name: string, value: string]>;
  /** What was read past the request head. @default none */
  earlyBytes?: Uint8Array;
  /** The client's descriptor, or of a relay that is passed on the first sender's UNIX connection; borrowed. */
  fd: number;
  /** Of a partial handover that is passed on the first sender's UNIX connection; borrowed. @default none */
  connectionFd?: number;
}

export type RefusalCode = Extract<
  WireErrorCode,
  'FDPASS_ERR_REFUSED' | 'FDPASS_ERR_BACKEND_DOWN' | 'FDPASS_ERR_BACKLOG_FULL' | 'FDPASS_ERR_ACK_TIMEOUT'
>;

/**
 * `taken`: the receiver has the client: close your copy, and do nothing else with it (shutdown, linger and cork act on the shared
 * socket). Not `taken`: nothing of the client was touched; try elsewhere or answer it yourself.
 */
export type SendOutcome =
  | {
      taken: true;
      /**
       * Partial handovers that are not passed on: the UNIX connection the client's bytes are relayed over; the caller owns it.
       */
      connection: PassedFd | undefined;
    }
  | { taken: false; code: RefusalCode; error: WireError };

const MAX_TIMER_MS = 2 ** 31 - 1;

/** Passes clients to one backend. */
export class Sender {
  readonly #path: string;
  readonly #timeoutMs: number;
  readonly #transfers = new Set<Transfer>();

  /** @throws SCGI_ERR_LIMIT_OPTION */
  constructor({ path, timeoutMs = 5000 }: SenderOptions) {
    this.#path = path;
    this.#timeoutMs = integerOption('timeoutMs', timeoutMs, 1, MAX_TIMER_MS);
  }

  /**
   * Never rejects for what the other side did: that is the outcome. Borrows the descriptors until then.
   * @param signal ends it as {@link destroy} does; one that was aborted before lets nothing be sent
   * @throws WireError or TypeError for headers that cannot be encoded
   */
  async send(handover: OutgoingHandover, signal?: AbortSignal): Promise<SendOutcome> {
    const { fd, connectionFd } = handover;
    const headers = [['FD_PASS_VERSION', '1'] as const, ...handover.headers];
    // The client's bytes come over this connection, unless over another one that is passed on, too.
    const keepsConnection =
      connectionFd === undefined &&
      headers.some(([name, value]) => name === 'KTLS_RX' && value === '0') &&
      !headers.some(([name]) => name === 'FD_PASS_RELAY');
    const bytes = encodeMessage(
      handover.earlyBytes === undefined ? { headers } : { headers, earlyBytes: handover.earlyBytes },
    );
    if (signal?.aborted) return refusal('FDPASS_ERR_REFUSED', this.#path);
    let connection: PassedFd;
    try {
      connection = new PassedFd(native().connectUnix(this.#path));
    } catch (cause) {
      const code =
        (cause as NodeJS.ErrnoException).code === 'EAGAIN'
          ? 'FDPASS_ERR_BACKLOG_FULL'
          : 'FDPASS_ERR_BACKEND_DOWN';
      return refusal(code, this.#path, cause);
    }
    const transfer = new Transfer(connection, bytes, connectionFd === undefined ? [fd] : [fd, connectionFd]);
    this.#transfers.add(transfer);
    const giveUp = (): void => transfer.giveUp('FDPASS_ERR_REFUSED');
    signal?.addEventListener('abort', giveUp);
    const answer = await transfer.run(this.#timeoutMs);
    this.#transfers.delete(transfer);
    signal?.removeEventListener('abort', giveUp);
    if (answer.taken && keepsConnection) return { taken: true, connection };
    connection.close();
    return answer.taken
      ? { taken: true, connection: undefined }
      : refusal(answer.code, this.#path, answer.cause);
  }

  /** Ends what is under way: every unfinished `send` resolves as refused, unless its acknowledgement has come already. Idempotent. */
  destroy(): void {
    for (const transfer of this.#transfers) transfer.giveUp('FDPASS_ERR_REFUSED');
  }
}

/** This sender asks for no channel, and closes the one it gets if its headers do. */
const TAKEN_ANSWERS: ReadonlySet<number> = new Set([ACKNOWLEDGEMENT.TAKEN, ACKNOWLEDGEMENT.TAKEN_KEPT]);

type Answer = { taken: true } | { taken: false; code: RefusalCode; cause?: unknown };

/** One message on its way, on one connection. */
class Transfer {
  readonly #connection: PassedFd;
  readonly #poller: FdPoller;
  readonly #fds: readonly number[];
  #bytes: Uint8Array;
  #fdsAreSent = false;
  #resolve: (answer: Answer) => void = () => {};
  #timer: NodeJS.Timeout | undefined;

  /** Takes the connection, also when it throws (ENOMEM, ENOSPC: the kernel polls no more descriptors). */
  constructor(connection: PassedFd, bytes: Uint8Array, fds: readonly number[]) {
    this.#connection = connection;
    this.#bytes = bytes;
    this.#fds = fds;
    try {
      this.#poller = new (native().FdPoller)(connection.fd, () => this.#advance());
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  run(timeoutMs: number): Promise<Answer> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#timer = setTimeout(() => this.giveUp('FDPASS_ERR_ACK_TIMEOUT'), timeoutMs);
      this.#advance();
    });
  }

  /**
   * Stops waiting without a race: after SHUT_RD the receiver's acknowledgement fails (EPIPE), so that it lets the client go;
   * an acknowledgement sent before that is still there to be read.
   */
  giveUp(code: RefusalCode): void {
    try {
      native().shutdown(this.#connection.fd, 0);
      // After SHUT_RD the end is our own doing and no answer.
      const answer = this.#readAnswer();
      this.#settle(answer?.taken === true ? answer : { taken: false, code });
    } catch (cause) {
      this.#settle({ taken: false, code, cause });
    }
  }

  #advance(): void {
    try {
      if (!this.#flush()) return this.#poller.start(native().constants.WRITABLE);
      const answer = this.#readAnswer();
      if (answer === undefined) return this.#poller.start(native().constants.READABLE);
      this.#settle(answer);
    } catch (cause) {
      this.#settle(this.#lastWord() ?? { taken: false, code: 'FDPASS_ERR_REFUSED', cause });
    }
  }

  /** @returns false if the connection is full */
  #flush(): boolean {
    while (this.#bytes.length > 0) {
      const fd = this.#connection.fd;
      const sent = this.#fdsAreSent
        ? native().write(fd, this.#bytes)
        : native().sendFds(fd, this.#bytes, this.#fds);
      if (sent === -1) return false;
      this.#fdsAreSent = true;
      this.#bytes = this.#bytes.subarray(sent);
    }
    return true;
  }

  /** @returns undefined while there is no answer yet */
  #readAnswer(): Answer | undefined {
    const answer = Buffer.alloc(1);
    const count = native().read(this.#connection.fd, answer);
    if (count === -1) return undefined;
    // The end before an answer is a refusal.
    if (count === 1 && TAKEN_ANSWERS.has(answer[0] as number)) return { taken: true };
    return { taken: false, code: 'FDPASS_ERR_REFUSED' };
  }

  /** A receiver that refuses early closes while we still write: its answer may be there nonetheless. */
  #lastWord(): Answer | undefined {
    try {
      return this.#readAnswer();
    } catch {
      return undefined;
    }
  }

  #settle(answer: Answer): void {
    clearTimeout(this.#timer);
    this.#poller.close();
    this.#resolve(answer);
  }
}

function refusal(code: RefusalCode, path: string, cause?: unknown): SendOutcome {
  const shown = path.replace(/^\0/, '@');
  return { taken: false, code, error: new WireError(code, shown, { cause }) };
}
