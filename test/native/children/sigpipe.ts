// SIGPIPE has its default action, which ends a process: Node.js leaves it so after the last listener of the signal is removed.
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker } from 'node:worker_threads';
import { loadNative } from '#native/index.js';

const native = loadNative();
const thisFile = fileURLToPath(import.meta.url);

function sendToNobody(): Promise<string> {
  const [left, right] = native.socketpair();
  native.closeFd(right);
  const inFd = openSync(thisFile, 'r');
  return new Promise((resolve) => {
    native.sendfile(left, inFd, 0, 10, (error) => {
      native.closeFd(left);
      closeSync(inFd);
      resolve((error as NodeJS.ErrnoException | null)?.code ?? 'no error');
    });
  });
}

if (isMainThread) {
  const listener = (): void => console.log('SIGPIPE');
  process.on('SIGPIPE', listener);
  process.off('SIGPIPE', listener);
  console.log('main', await sendToNobody());
  const worker = new Worker(thisFile);
  worker.on('exit', () => console.log('end'));
} else {
  console.log('worker', await sendToNobody());
}
