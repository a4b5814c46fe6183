// The sending end of a UNIX connection in single steps, for what no proper sender would do. Sends what it is told, with the
// descriptors it is told, and reads what came back.
import { encodeMessage, type MessageToEncode } from '@fdpass/scgi-fdpass';
import { loadNative } from '#native/index.js';
import { until } from './until.js';

const native = loadNative();

export class WireSender {
  readonly fd: number;
  #isClosed = false;

  /** @throws ECONNREFUSED, EAGAIN, ENOENT */
  constructor(path: string) {
    this.fd = native.connectUnix(path);
  }

  /** Sends all of it, with `fds` (borrowed) beside the first byte. */
  async send(bytes: Uint8Array, ...fds: readonly number[]): Promise<void> {
    let rest = bytes;
    let passed = fds;
    await until('everything is sent', () => {
      const count = passed.length === 0 ? native.write(this.fd, rest) : native.sendFds(this.fd, rest, passed);
      if (count > 0) {
        rest = rest.subarray(count);
        passed = [];
      }
      return rest.length === 0;
    });
  }

  /** The same without letting the loop turn. @throws if the connection does not take all of it */
  sendAtOnce(bytes: Uint8Array, fd: number): void {
    if (native.sendFds(this.fd, bytes, [fd]) !== bytes.length) throw new Error('the connection is full');
  }

  /** Resolves when the other side has read everything sent so far. */
  async isRead(): Promise<void> {
    await until('the receiver has read what was sent', () => native.writeQueueBytes(this.fd) === 0);
  }

  /** SHUT_WR. */
  end(): void {
    native.shutdown(this.fd, 1);
  }

  /** What comes back until the other side ends, as latin1. */
  async answer(): Promise<string> {
    let answer = '';
    const bytes = Buffer.alloc(1024);
    await until('the receiver ends the connection', () => {
      const count = native.read(this.fd, bytes);
      if (count > 0) answer += bytes.toString('latin1', 0, count);
      return count === 0;
    });
    return answer;
  }

  /** The next byte that comes back; undefined at the end. */
  async nextByte(): Promise<number | undefined> {
    const byte = Buffer.alloc(1);
    let count = -1;
    await until('a byte comes back', () => {
      count = native.read(this.fd, byte);
      return count !== -1;
    });
    return count === 1 ? byte[0] : undefined;
  }

  close(): void {
    if (!this.#isClosed) native.closeFd(this.fd);
    this.#isClosed = true;
  }
}

/** The SCGI headers of a small GET request. */
export const GET: readonly (readonly [string, string])[] = [
  ['REMOTE_ADDR', '192.0.2.7'],
  ['REMOTE_PORT', '4711'],
  ['REQUEST_METHOD', 'GET'],
  ['REQUEST_URI', '/path?query'],
  ['HTTP_HOST', 'example.test'],
];

/** A message of version 1. */
export const versionOne = (message: Partial<MessageToEncode> = {}): Buffer =>
  encodeMessage({ ...message, headers: [['FD_PASS_VERSION', '1'], ...(message.headers ?? GET)] });

/** A message as the public module sends it. */
export const versionZero = (message: Partial<MessageToEncode> = {}): Buffer =>
  encodeMessage({ headers: GET, ...message });
