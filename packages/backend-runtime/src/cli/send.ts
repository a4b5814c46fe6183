// `fdpass send`: plays the sender with a captured message, and shows what the backend answers on the descriptor it was given.
import { once } from 'node:events';
import { Socket } from 'node:net';
import { ACKNOWLEDGEMENT, type Message, PassedFd, WireError } from '@fdpass/scgi-fdpass';
import { RuntimeError } from '../errors.js';
import { native } from '../native.js';
import { readMessage } from './decode.js';

export interface SendOptions {
  /** The backend's socket. */
  to: string;
  /** Seconds for everything. */
  timeout: number;
}

/**
 * The answer goes to stdout, what happened on the UNIX connection to stderr.
 * @throws what readMessage throws; `FDPASS_ERR_BACKEND_DOWN`, `FDPASS_ERR_REFUSED`, `FDPASS_ERR_ACK_TIMEOUT`, `BKR_ERR_NO_ANSWER`
 */
export async function sendFileTo(file: string, { to, timeout }: SendOptions): Promise<void> {
  const { bytes, message } = await readMessage(file);
  const backend = `unix:${to}`;
  const deadline = AbortSignal.timeout(timeout * 1000);
  using connection = connect(to, backend);
  let client: Socket;
  if (message.dialect === 'plain') {
    client = socketOf(connection, deadline);
    client.write(bytes);
  } else {
    client = await handOver(connection, bytes, message, backend, deadline);
  }
  await show(client, backend, deadline, timeout);
}

function connect(path: string, backend: string): PassedFd {
  try {
    return new PassedFd(native().connectUnix(path));
  } catch (cause) {
    throw new WireError('FDPASS_ERR_BACKEND_DOWN', backend, { cause });
  }
}

/** @returns the client's end of the socket whose other end was passed */
async function handOver(
  connection: PassedFd,
  bytes: Buffer,
  { version, ktls }: Message,
  backend: string,
  deadline: AbortSignal,
): Promise<Socket> {
  const [ours, theirs] = native().socketpair();
  using client = new PassedFd(ours);
  using passed = new PassedFd(theirs);
  const sent = native().sendFds(connection.fd, bytes, [passed.fd]);
  const link = socketOf(connection, deadline);
  link.on('error', () => {});
  // A large message does not fit at once. (Nothing is not to be written: the backend may be done and closed.)
  if (sent < bytes.length) link.write(bytes.subarray(Math.max(0, sent)));
  if (version === 1) await acknowledgement(link, backend, deadline);
  const socket = socketOf(client, deadline);
  // In a partial handover its end is the end of the client's stream; the public module closes it after a full one.
  if (ktls === 'partial') socket.once('close', () => link.destroy());
  else link.destroySoon();
  return socket;
}

async function acknowledgement(link: Socket, backend: string, deadline: AbortSignal): Promise<void> {
  const answer = await new Promise<number | undefined>((resolve) => {
    link.once('data', (bytes: Buffer) => resolve(bytes[0]));
    link.once('close', () => resolve(undefined));
  });
  if (deadline.aborted) throw new WireError('FDPASS_ERR_ACK_TIMEOUT', backend);
  const { TAKEN, TAKEN_KEPT } = ACKNOWLEDGEMENT;
  // A captured message may ask for a channel; this connection is closed all the same.
  if (answer !== TAKEN && answer !== TAKEN_KEPT) throw new WireError('FDPASS_ERR_REFUSED', backend);
  process.stderr.write('taken\n');
}

/** Copies a socket to stdout until its end. */
async function show(client: Socket, backend: string, deadline: AbortSignal, timeout: number): Promise<void> {
  let isAnswered = false;
  try {
    for await (const chunk of client) {
      isAnswered = true;
      if (!process.stdout.write(chunk as Buffer)) await once(process.stdout, 'drain');
    }
  } catch (cause) {
    if (!deadline.aborted) throw new RuntimeError('BKR_ERR_NO_ANSWER', backend, 'broke off', { cause });
    if (!isAnswered) {
      throw new RuntimeError('BKR_ERR_NO_ANSWER', backend, `did not answer within ${timeout} s`);
    }
    process.stderr.write(`the connection is still open after ${timeout} s\n`);
  }
  if (!isAnswered) throw new RuntimeError('BKR_ERR_NO_ANSWER', backend, 'closed without an answer');
}

const socketOf = (owner: PassedFd, signal: AbortSignal): Socket =>
  new Socket({ fd: owner.take(), readable: true, writable: true, signal });
