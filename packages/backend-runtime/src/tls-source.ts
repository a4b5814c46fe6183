// The reading side of a kernel TLS socket (full handover): application data as a stream, the client's close_notify as its end.
// net.Socket cannot do it: a plain read answers EIO for every record that is not data, also for a polite end.
import { Readable } from 'node:stream';
import type { PassedFd } from '@fdpass/scgi-fdpass';
import { RuntimeError } from './errors.js';
import { type FdPoller, native } from './native.js';

/** Record types (RFC 8446, appendix B.1) as `readTlsRecord` has them. */
const RECORD_TYPE_SHIFT = 16;
const RECORD_LENGTH_MASK = 0xffff;
const ALERT = 21;
const HANDSHAKE = 22;
/** Level and description. TLS 1.2 allows several in a record. */
const ALERT_BYTES = 2;
/** Alert descriptions (RFC 8446, section 6). */
const CLOSE_NOTIFY = 0;
const USER_CANCELED = 90;
/** What the kernel says of a record it cannot decrypt: damaged, or after a KeyUpdate. */
const UNREADABLE = new Set(['EBADMSG', 'EKEYEXPIRED', 'EINVAL', 'EMSGSIZE']);

/** Where every source reads to, one at a time: what it pushes is a copy of just the bytes that came. */
const readBuffer = Buffer.allocUnsafeSlow(65_536);
/** Reads in a row before others have their turn. */
const READS_AT_ONCE = 4;
/** While a part of a record waits, Linux 6.1 calls the socket readable all the time. */
const FIRST_BACK_OFF_MS = 1;
const LONGEST_BACK_OFF_MS = 64;

export interface TlsSourceEvents {
  /** The stream ends without a close_notify: the client, or somebody in between, has cut it. Before `onError`, if it is one. */
  onTruncated(): void;
  /** Nothing more can be read, and so the stream ends; what is being written may go on. */
  onError(error: RuntimeError): void;
}

export class TlsSource extends Readable {
  /** Bytes of application data so far. */
  bytesRead = 0;
  readonly #passedFd: PassedFd;
  readonly #events: TlsSourceEvents;
  readonly #poller: FdPoller;
  #backOffMs = FIRST_BACK_OFF_MS;
  #backOff: NodeJS.Timeout | undefined;
  #isReferenced = true;

  /** @param passedFd a descriptor of its own, owned from now on: a net.Socket watches the other one */
  constructor(passedFd: PassedFd, events: TlsSourceEvents, highWaterMark: number | undefined) {
    super(highWaterMark === undefined ? {} : { highWaterMark });
    this.#passedFd = passedFd;
    this.#events = events;
    this.#poller = new (native().FdPoller)(passedFd.fd, (_events, errno) => {
      if (errno !== 0) this.destroy(pollError(errno));
      else this.#onReadable();
    });
  }

  override _read(): void {
    if (this.#backOff === undefined) this.#poller.start(native().constants.READABLE);
  }

  ref(): this {
    this.#isReferenced = true;
    this.#poller.ref();
    this.#backOff?.ref();
    return this;
  }

  unref(): this {
    this.#isReferenced = false;
    this.#poller.unref();
    this.#backOff?.unref();
    return this;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#backOff);
    this.#poller.close();
    this.#passedFd.close();
    callback(error);
  }

  #onReadable(): void {
    for (let reads = 0; reads < READS_AT_ONCE; reads++) {
      let count: number;
      try {
        count = native().readTlsRecord(this.#passedFd.fd, readBuffer);
      } catch (error) {
        return this.#onReadError(error as NodeJS.ErrnoException);
      }
      if (count === -1) {
        if (reads === 0) this.#backOffFromPolling();
        return;
      }
      this.#backOffMs = FIRST_BACK_OFF_MS;
      if (count === 0) {
        this.#events.onTruncated();
        return this.#end();
      }
      if (count < 0) {
        const [type, length] = [-count >> RECORD_TYPE_SHIFT, -count & RECORD_LENGTH_MASK];
        if (this.#onOtherRecord(type, readBuffer.subarray(0, length))) continue;
        return;
      }
      this.bytesRead += count;
      if (!this.push(Buffer.from(readBuffer.subarray(0, count)))) {
        this.#poller.stop();
        return;
      }
    }
  }

  /** @returns whether reading goes on */
  #onOtherRecord(type: number, record: Buffer): boolean {
    if (type === ALERT && record.length > 0 && record.length % ALERT_BYTES === 0)
      return this.#onAlerts(record);
    this.#fail(new RuntimeError(type === HANDSHAKE ? 'BKR_ERR_TLS_HANDSHAKE' : 'BKR_ERR_TLS_RECORD'));
    return false;
  }

  /** @returns whether reading goes on */
  #onAlerts(alerts: Buffer): boolean {
    for (let at = 0; at < alerts.length; at += ALERT_BYTES) {
      const description = alerts[at + 1] ?? 0;
      if (description === USER_CANCELED) continue;
      if (description === CLOSE_NOTIFY) this.#end();
      else this.destroy(new RuntimeError('BKR_ERR_TLS_ALERT', description));
      return false;
    }
    return true;
  }

  #onReadError(cause: NodeJS.ErrnoException): void {
    if (UNREADABLE.has(cause.code ?? '')) this.#fail(new RuntimeError('BKR_ERR_TLS_RECORD', { cause }));
    else this.destroy(cause);
  }

  #fail(error: RuntimeError): void {
    this.#events.onTruncated();
    this.#events.onError(error);
    this.#end();
  }

  #end(): void {
    this.#poller.stop();
    this.push(null);
  }

  #backOffFromPolling(): void {
    this.#poller.stop();
    this.#backOff = setTimeout(() => {
      this.#backOff = undefined;
      this.#poller.start(native().constants.READABLE);
    }, this.#backOffMs);
    if (!this.#isReferenced) this.#backOff.unref();
    this.#backOffMs = Math.min(this.#backOffMs * 2, LONGEST_BACK_OFF_MS);
  }
}

const pollError = (errno: number): Error =>
  Object.assign(new Error(`poll failed with errno ${errno}`), { errno: -errno, syscall: 'poll' });
