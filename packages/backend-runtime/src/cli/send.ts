// `fdpass send`: plays the sender with a captured message, and shows what the backend answers on the descriptor it was given.
import { Socket } from 'node:net';
import { PassedFd } from '@fdpass/scgi-fdpass';
import { native } from '../native.js';
import { readMessage } from './decode.js';

const TAKEN = 0x06;

/** The answer goes to stdout, what happened on the UNIX connection to stderr. */
export async function sendFileTo(file: string, options: { to: string; timeout: number }): Promise<void> {
  const { bytes, message } = await readMessage(file);
  const path = options.to.replace(/^unix:/, '');
  const deadline = AbortSignal.timeout(options.timeout * 1000);
  using connection = new PassedFd(native().connectUnix(path));
  if (message.dialect === 'plain') return show(connection, deadline, bytes);
  const [ours, theirs] = native().socketpair();
  using client = new PassedFd(ours);
  using passed = new PassedFd(theirs);
  native().sendFds(connection.fd, bytes, [passed.fd]);
  passed.close();
  if (message.version === 1) await reportAcknowledgement(connection, deadline);
  await show(client, deadline);
}

/** Copies a socket to stdout until its end. */
async function show(owner: PassedFd, deadline: AbortSignal, request?: Buffer): Promise<void> {
  const socket = new Socket({ fd: owner.take(), readable: true, writable: true, signal: deadline });
  if (request !== undefined) socket.write(request);
  for await (const chunk of socket) process.stdout.write(chunk as Buffer);
}

async function reportAcknowledgement(connection: PassedFd, deadline: AbortSignal): Promise<void> {
  const answer = Buffer.alloc(1);
  const count = await new Promise<number>((resolve, reject) => {
    const poller = new (native().FdPoller)(connection.fd, () => {
      poller.close();
      resolve(native().read(connection.fd, answer));
    });
    deadline.addEventListener('abort', () => {
      poller.close();
      reject(new Error('no acknowledgement in time'));
    });
    poller.start(native().constants.READABLE);
  });
  const isTaken = count === 1 && answer[0] === TAKEN;
  process.stderr.write(isTaken ? 'taken\n' : 'refused\n');
}
