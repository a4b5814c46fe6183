// The sending end of a channel, and clients that can be told apart: what one wrote is its number, and so is what its message says.
import { closeHandover, type FullHandover, type MessageToEncode } from '@fdpass/scgi-fdpass';
import type { ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import type { OpenReceiver } from './open-receiver.js';
import { until } from './until.js';
import { GET, versionOne, type WireSender } from './wire-sender.js';

const native = loadNative();

export const TAKEN = '\x06';
export const REFUSED = '\x15';
export const KEPT = '\x16';

/** A message of version 1 whose sender would like a channel. */
export const wishing = (message: Partial<MessageToEncode> = {}): Buffer =>
  versionOne({ ...message, headers: [['FD_PASS_KEEPALIVE', '1'], ...(message.headers ?? GET)] });

/** The same with the number of its client. */
export const numbered = (nth: number, message: Partial<MessageToEncode> = {}): Buffer =>
  wishing({ ...message, headers: [...(message.headers ?? GET), ['NUMBER', String(nth)]] });

export interface NumberedClient {
  /** The web server's descriptor. */
  readonly fd: number;
  /** The client's own. */
  readonly far: number;
}

/** A client that has sent its number; both ends are closed with the test. */
export function numberedClient(t: ExecutionContext, nth: number): NumberedClient {
  const [fd, far] = native.socketpair();
  native.write(far, Buffer.from(`${nth};`));
  t.teardown(() => {
    native.closeFd(fd);
    native.closeFd(far);
  });
  return { fd, far };
}

/** Nobody has read from this client or written to it, and its number is still there. */
export function isUntouched({ fd, far }: NumberedClient, nth: number): boolean {
  return native.readQueueBytes(fd) === `${nth};`.length && native.readQueueBytes(far) === 0;
}

/** Which client a handover is about: by its descriptor, and by its message. Closes it. */
export function numbersOf(handover: FullHandover): [client: string, message: string] {
  const bytes = Buffer.alloc(16);
  const count = native.read(handover.passedFd.fd, bytes);
  closeHandover(handover);
  return [bytes.toString('latin1', 0, count), `${handover.headers.get('NUMBER')};`];
}

/** What comes back, up to `count` bytes or the end. */
export async function answers(sender: WireSender, count: number): Promise<string> {
  let text = '';
  while (text.length < count) {
    const byte = await sender.nextByte();
    if (byte === undefined) return `${text}$`;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** Connects, and makes the connection a channel with client 0. */
export async function openChannel(t: ExecutionContext, open: OpenReceiver): Promise<WireSender> {
  const sender = open.connect();
  await sender.send(numbered(0), numberedClient(t, 0).fd);
  t.is(await answers(sender, 1), KEPT);
  t.deepEqual(numbersOf(await open.next()), ['0;', '0;']);
  return sender;
}

/** Clients `from` to `to`, the last one included. */
export const numberedClients = (t: ExecutionContext, from: number, to: number): NumberedClient[] =>
  Array.from({ length: to - from + 1 }, (_, at) => numberedClient(t, from + at));

/** Takes handovers `from` to `to` and asserts that each has its own client. */
export async function takes(
  t: ExecutionContext,
  open: OpenReceiver,
  from: number,
  to: number,
): Promise<void> {
  for (let nth = from; nth <= to; nth++) {
    t.deepEqual(numbersOf(await open.next()), [`${nth};`, `${nth};`]);
  }
}

export const channelsAre = (open: OpenReceiver, count: number): Promise<void> =>
  until(`there are ${count} channels`, () => open.receiver.stats().channels === count);
