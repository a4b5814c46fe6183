// A worker thread that does nothing but look at the permission bits of one path, and reports all that it ever saw.
import { lstatSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';

const modes = new Set<number>();
let isWatching = true;
parentPort?.once('message', () => {
  isWatching = false;
});
parentPort?.postMessage('watching');
while (isWatching) {
  for (let look = 0; look < 1000; look++) {
    const entry = lstatSync(workerData as string, { throwIfNoEntry: false });
    if (entry !== undefined) modes.add(entry.mode & 0o7777);
  }
  await setImmediate();
}
parentPort?.postMessage([...modes]);
