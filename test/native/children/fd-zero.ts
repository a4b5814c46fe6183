// Standard input is closed, so that 0 is the lowest free number. Prints what became descriptor 0 in each role.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative, RECORD } from '#native/index.js';

const native = loadNative();
const folder = mkdtempSync(join(tmpdir(), 'fdpass-zero-'));
const options = { maxBatch: 64, messageTimeoutMs: 60_000, maxPendingConnections: 8, minFreeDescriptors: 0 };
const say = (...words: unknown[]): void => console.log(words.join(' '));

// Node.js opens /dev/null for a closed standard descriptor.
native.closeFd(0);

function listen(
  path: string,
  onBatch: (records: Int32Array) => void,
): InstanceType<typeof native.FdListener> {
  const fd = native.bindUnix(path, 0o600);
  native.listen(fd, 8);
  const listener = new native.FdListener(fd, options, (_bytes, records) => onBatch(records));
  listener.start();
  return listener;
}

/** Waits for one message with the file descriptor 1 (standard output) beside it. */
async function receive(
  path: string,
  listener: InstanceType<typeof native.FdListener>,
  free: () => void,
): Promise<void> {
  const sender = native.connectUnix(path);
  while (listener.stats().pending === 0) await new Promise((resolve) => setImmediate(resolve));
  free();
  native.sendFds(sender, Buffer.from('x'), [1]);
  while (listener.stats().pending > 0) await new Promise((resolve) => setImmediate(resolve));
  native.closeFd(sender);
}

{
  // A listening socket, a connection and its end, each as 0.
  const fd = native.bindUnix(join(folder, 'listening'), 0o600);
  say('listening', fd);
  native.closeFd(fd);
  const [first, second] = native.socketpair();
  say('socketpair', first, second > 0);
  say('write', native.write(second, Buffer.from('hello')), 'peek', native.peek(0, Buffer.alloc(8)));
  say('facts', native.inspectSocket(0) !== 0, native.readQueueBytes(0), native.localAddress(0).family);
  await new Promise<void>((resolve) => {
    const poller = new native.FdPoller(0, (events, errno) => {
      say('polled', events, errno);
      poller.close();
      resolve();
    });
    poller.start(1);
  });
  say('read', native.read(0, Buffer.alloc(8)));
  const copy = native.dupFd(0);
  native.closeFd(0);
  native.closeFd(copy);
  native.closeFd(second);
}

{
  // The passed descriptor is 0: received, sent on, taken, closed.
  let placeholder = -1;
  const path = join(folder, 'passed');
  placeholder = native.dupFd(1);
  const listener = listen(path, (records) => {
    const fd = records[RECORD.FD_0]!;
    say('passed', fd, records[RECORD.FD_COUNT], native.registeredFdCount());
    say('taken', native.takeFd(fd), native.registeredFdCount());
    listener.closeConnection(records[RECORD.CONNECTION]!);
    native.closeFd(fd);
  });
  say('placeholder', placeholder);
  await receive(path, listener, () => native.closeFd(placeholder));
  listener.close();
}

{
  // The connection is 0: answered, detached.
  const path = join(folder, 'connection');
  const placeholder = native.dupFd(1);
  const listener = listen(path, (records) => {
    if (records[RECORD.FD_COUNT] === 1) native.closeFd(records[RECORD.FD_0]!);
    const fd = listener.detachConnection(records[RECORD.CONNECTION]!, 6);
    say('detached', fd, native.registeredFdCount());
    native.closeFd(fd);
  });
  const sender = native.connectUnix(path);
  native.closeFd(placeholder);
  while (listener.stats().pending === 0) await new Promise((resolve) => setImmediate(resolve));
  native.sendFds(sender, Buffer.from('x'), [1]);
  while (listener.stats().pending > 0) await new Promise((resolve) => setImmediate(resolve));
  native.closeFd(sender);
  listener.close();
}

{
  // The listening socket is 0, and closed with its listener.
  const path = join(folder, 'listener');
  const listener = listen(path, () => {});
  say('listener', native.inspectSocket(0) !== 0);
  listener.close();
  await new Promise((resolve) => setImmediate(resolve));
  try {
    native.inspectSocket(0);
    say('still open');
  } catch (error) {
    say('closed', (error as { code: string }).code);
  }
}
rmSync(folder, { recursive: true });
