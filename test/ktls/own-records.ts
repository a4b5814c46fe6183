// A client of TLS 1.3 that makes its records itself, for those that no TLS library lets its caller send: empty ones, new keys in the
// segment of a request. Node.js does the handshake and tells the secrets; from then on it hears and says nothing more.
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { ExecutionContext } from 'ava';
import { until } from '../helpers/until.js';
import type { PythonResult } from './tls-clients.js';

/** RFC 8446, appendix B.1. */
const ALERT = 21;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const HEADER_BYTES = 5;
const TAG_BYTES = 16;
const CLOSE_NOTIFY_CODE = 0;

export type OwnRecord = readonly [type: number, content: Buffer];

export const data = (text: string): OwnRecord => [APPLICATION_DATA, Buffer.from(text, 'latin1')];
/** Legal, and says nothing (RFC 8446, section 5.1). */
export const EMPTY: OwnRecord = data('');
export const CLOSE_NOTIFY: OwnRecord = [ALERT, Buffer.from([1, CLOSE_NOTIFY_CODE])];
/** New keys of its own; whoever gets it need not change his (section 4.6.3). What is sent behind it is under the new ones. */
export const KEY_UPDATE: OwnRecord = [HANDSHAKE, Buffer.from([24, 0, 0, 1, 0])];

/** HKDF-Expand-Label without a context (section 7.1), of at most one block. */
function expandLabel(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.from([0, length, name.length, ...name, 0]);
  return createHmac('sha256', secret).update(info).update(Buffer.of(1)).digest().subarray(0, length);
}

/** The keys of one direction (section 7.3), and the number of its next record (section 5.3). */
class Keys {
  readonly #secret: Buffer;
  readonly key: Buffer;
  readonly #iv: Buffer;
  #sequence = 0n;

  constructor(secret: Buffer) {
    this.#secret = secret;
    this.key = expandLabel(secret, 'key', 16);
    this.#iv = expandLabel(secret, 'iv', 12);
  }

  nonce(): Buffer {
    const nonce = Buffer.from(this.#iv);
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ this.#sequence, 4);
    return nonce;
  }

  /** A record is done: the next one has the next number. */
  advance(): void {
    this.#sequence += 1n;
  }

  updated(): Keys {
    return new Keys(expandLabel(this.#secret, 'traffic upd', 32));
  }
}

const headerOf = (bytes: number): Buffer => Buffer.from([APPLICATION_DATA, 3, 3, bytes >> 8, bytes & 255]);

/** The whole records at the beginning of `bytes`. */
function recordsIn(bytes: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let rest = bytes; rest.length >= HEADER_BYTES; ) {
    const length = HEADER_BYTES + rest.readUInt16BE(3);
    if (rest.length < length) break;
    records.push(rest.subarray(0, length));
    rest = rest.subarray(length);
  }
  return records;
}

export class OwnRecordsClient {
  /** Application data so far, as latin1. */
  received = '';
  /** How the server ended its side; null before. */
  ended: PythonResult['ended'] = null;
  readonly #tcp: Socket;
  readonly #secrets = new Map<string, Buffer>();
  #incoming = Buffer.alloc(0);
  #sealing: Keys | undefined;
  #opening: Keys | undefined;
  #hasOpened = false;
  #isToldGoodbye = false;

  private constructor(tcp: Socket) {
    this.#tcp = tcp;
    tcp.on('data', (chunk: Buffer) => this.#take(chunk));
    tcp.on('end', () => {
      this.ended = this.#isToldGoodbye ? 'close_notify' : 'end without close_notify';
    });
    tcp.on('error', () => {
      this.ended = 'reset';
    });
  }

  /** Resolves when the handshake is done; the client is closed with the test. */
  static async connect(t: ExecutionContext, port: number): Promise<OwnRecordsClient> {
    const tcp = connectTcp({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    await once(tcp, 'connect');
    t.teardown(() => tcp.destroy());
    const client = new OwnRecordsClient(tcp);
    await client.#shakeHands();
    return client;
  }

  /** All in one segment, if it is large enough. */
  send(...records: readonly OwnRecord[]): void {
    this.#tcp.write(Buffer.concat(records.map((record) => this.#seal(record))));
  }

  /** Takes nothing more, until `resume()`. */
  pause(): void {
    this.#tcp.pause();
  }

  resume(): void {
    this.#tcp.resume();
  }

  readUntil(text: string): Promise<void> {
    return until(`${text} comes`, () => this.received.includes(text) || this.ended !== null).then(() => {
      if (!this.received.includes(text)) throw new Error(`${this.ended} before ${text}: ${this.received}`);
    });
  }

  /** Resolves when the server has ended its side; then this side is closed, too. */
  async readToEnd(): Promise<void> {
    await until('the server ends its side', () => this.ended !== null);
    this.#tcp.destroy();
  }

  async #shakeHands(): Promise<void> {
    let isFinished = false;
    const tcp = this.#tcp;
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        if (isFinished) return done();
        // Its last message is the only encrypted one.
        isFinished = recordsIn(chunk).some((record) => record[0] === APPLICATION_DATA);
        tcp.write(chunk, () => done());
      },
    });
    const toWire = (chunk: Buffer): void => void wire.push(chunk);
    tcp.on('data', toWire);
    const tls = connectTls({
      socket: wire,
      servername: 'example.test',
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ciphers: 'TLS_AES_128_GCM_SHA256',
    });
    tls.on('error', () => {});
    tls.on('keylog', (line: Buffer) => {
      const [name = '', , secret = ''] = line.toString('latin1').trim().split(' ');
      this.#secrets.set(name, Buffer.from(secret, 'hex'));
      this.#opening = this.#keys('SERVER_TRAFFIC_SECRET_0');
    });
    await once(tls, 'secureConnect');
    await until('the handshake is finished', () => isFinished);
    tcp.off('data', toWire);
    this.#sealing = this.#keys('CLIENT_TRAFFIC_SECRET_0');
  }

  #keys(name: string): Keys | undefined {
    const secret = this.#secrets.get(name);
    return secret === undefined ? undefined : new Keys(secret);
  }

  #seal([type, content]: OwnRecord): Buffer {
    const keys = this.#sealing as Keys;
    const header = headerOf(content.length + 1 + TAG_BYTES);
    const cipher = createCipheriv('aes-128-gcm', keys.key, keys.nonce()).setAAD(header);
    const sealed = Buffer.concat([cipher.update(content), cipher.update(Buffer.of(type)), cipher.final()]);
    keys.advance();
    if (type === HANDSHAKE) this.#sealing = keys.updated();
    return Buffer.concat([header, sealed, cipher.getAuthTag()]);
  }

  #take(chunk: Buffer): void {
    this.#incoming = Buffer.concat([this.#incoming, chunk]);
    for (const record of recordsIn(this.#incoming)) {
      this.#incoming = this.#incoming.subarray(record.length);
      const inner = record[0] === APPLICATION_DATA ? this.#open(record) : undefined;
      if (inner === undefined) continue;
      const end = inner.findLastIndex((byte) => byte !== 0);
      const [type, content] = [inner[end], inner.subarray(0, end)];
      if (type === APPLICATION_DATA) this.received += content.toString('latin1');
      if (type === ALERT && content[1] === CLOSE_NOTIFY_CODE) this.#isToldGoodbye = true;
    }
  }

  /** @returns undefined for a record of the handshake, which is under other keys */
  #open(record: Buffer): Buffer | undefined {
    const keys = this.#opening;
    if (keys === undefined) return undefined;
    const decipher = createDecipheriv('aes-128-gcm', keys.key, keys.nonce())
      .setAAD(record.subarray(0, HEADER_BYTES))
      .setAuthTag(record.subarray(-TAG_BYTES));
    const inner = decipher.update(record.subarray(HEADER_BYTES, -TAG_BYTES));
    try {
      decipher.final();
    } catch (error) {
      if (this.#hasOpened) throw error;
      return undefined;
    }
    this.#hasOpened = true;
    keys.advance();
    return inner;
  }
}
