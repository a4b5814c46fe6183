// Callbacks that throw: each exception must reach process.on('uncaughtException'), and the addon must go on.
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative, RECORD } from '#native/index.js';

const native = loadNative();
const folder = mkdtempSync(join(tmpdir(), 'fdpass-throwing-'));
process.on('uncaughtException', (error) => console.log(`uncaught: ${error.message}`));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const path = join(folder, 'socket');
const fd = native.bindUnix(path, 0o600);
native.listen(fd, 8);
let calls = 0;
const listener = new native.FdListener(
  fd,
  { maxBatch: 64, messageTimeoutMs: 60_000, maxPendingConnections: 8, minFreeDescriptors: 0 },
  (bytes, records) => {
    calls++;
    process.nextTick(() => console.log(`tick after ${bytes}`));
    if (calls === 1) throw new Error('in the batch');
    listener.closeConnection(records[RECORD.CONNECTION]!);
  },
);
listener.start();
const sender = native.connectUnix(path);
native.write(sender, Buffer.from('first'));
while (calls === 0) await turn();
native.write(sender, Buffer.from('second'));
while (calls === 1) await turn();
console.log(`pending ${listener.stats().pending}`);

let drained = false;
listener.drain(() => {
  drained = true;
  throw new Error('in the drain');
});
while (!drained) await turn();
listener.close();

const [left, right] = native.socketpair();
let polled = 0;
const poller = new native.FdPoller(left, () => {
  polled++;
  if (polled === 1) throw new Error('in the poller');
  poller.close();
});
poller.start(2);
while (polled < 2) await turn();

const file = join(folder, 'file');
writeFileSync(file, 'text');
const inFd = openSync(file, 'r');
let sent = false;
native.sendfile(left, inFd, 0, 4, () => {
  sent = true;
  throw new Error('in sendfile');
});
while (!sent) await turn();

try {
  native.withDirectoryLock(folder, 0, () => {
    throw new Error('under the lock');
  });
} catch (error) {
  console.log(`caught: ${(error as Error).message}`);
}
console.log(`locked again: ${native.withDirectoryLock(folder, 0, () => 'yes')}`);
for (const open of [sender, left, right, inFd]) native.closeFd(open);
rmSync(folder, { recursive: true });
