// Has a poller and a listener. With `unref` nothing keeps the loop alive; with `ref` they do until a timer lets go.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '#native/index.js';

const native = loadNative();
const folder = mkdtempSync(join(tmpdir(), 'fdpass-unref-'));
const fd = native.bindUnix(join(folder, 'socket'), 0o600);
native.listen(fd, 1);
const listener = new native.FdListener(
  fd,
  { maxBatch: 1, messageTimeoutMs: 60_000, maxPendingConnections: 1, minFreeDescriptors: 0 },
  () => {},
);
listener.start();
const [left] = native.socketpair();
const poller = new native.FdPoller(left, () => {});
poller.start(native.constants.READABLE);

function letGo(): void {
  listener.unref();
  poller.unref();
}
letGo();
if (process.argv[2] === 'ref') {
  listener.ref();
  // Unreferenced itself: it fires only because the listener keeps the loop alive.
  setTimeout(() => {
    console.log('still there');
    letGo();
  }, 20).unref();
}
process.on('exit', () => {
  console.log('exit');
  rmSync(folder, { recursive: true });
});
