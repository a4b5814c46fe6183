// The same handovers in the same order at every run, in one process, so that what the addon does for them can be counted: bursts that
// are whole in the sockets before the loop looks at them. Nothing of it is timed.
//
// Arguments: a connection for each handover (`each`) or one channel (`kept`), and how many bursts. Exits with 3 if the receiver keeps
// no connection.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { loadNative } from '@fdpass/native';
import { Receiver } from '@fdpass/scgi-fdpass';
import { benchMessage } from '../receiver/message.js';

/** Fits into a UNIX socket's buffer, and into one batch. */
export const BURST = 32;
export const KEEPS_NONE = 3;
const TAKEN = 0x06;
const TAKEN_KEPT = 0x16;

const native = loadNative();
const [mode, bursts] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'fdpass-guard-'));
const path = join(folder, 'receiver.sock');
const message = benchMessage(mode === 'kept');
const [client] = native.socketpair();
const answer = new Uint8Array(BURST);

let received = 0;
const receiver = new Receiver();
receiver.on('handover', (handover) => {
  received++;
  if (handover.kind === 'full') handover.passedFd.close();
});
receiver.on('handoverError', (error) => {
  throw error;
});

async function untilReceived(count: number): Promise<void> {
  while (received < count) await nextTurn();
}

/** @throws unless the answers are all `expected` */
function readAnswers(connection: number, count: number, expected: number): void {
  const bytes = native.read(connection, answer);
  const wrong = answer.subarray(0, Math.max(bytes, 0)).find((byte) => byte !== expected);
  if (wrong === TAKEN) process.exit(KEEPS_NONE);
  if (bytes !== count || wrong !== undefined) throw new Error(`${bytes} answers, among them ${wrong}`);
}

async function each(): Promise<void> {
  const connections = Array.from({ length: BURST }, () => native.connectUnix(path));
  for (const connection of connections) native.sendFds(connection, message, [client]);
  await untilReceived(received + BURST);
  for (const connection of connections) {
    readAnswers(connection, 1, TAKEN);
    native.closeFd(connection);
  }
}

/** @param count the first message is to be alone */
async function kept(channel: number, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent++) native.sendFds(channel, message, [client]);
  await untilReceived(received + count);
  readAnswers(channel, count, TAKEN_KEPT);
}

receiver.listen({ path });
receiver.once('listening', async () => {
  try {
    if (mode === 'each') {
      for (let burst = 0; burst < Number(bursts); burst++) await each();
    } else {
      const channel = native.connectUnix(path);
      await kept(channel, 1);
      for (let burst = 0; burst < Number(bursts); burst++) await kept(channel, BURST);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  process.exit();
});
