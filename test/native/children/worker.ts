// A worker thread that uses the addon in the way `workerData.role` says. It tells its parent by messages, and by `shared[0]` where it
// cannot send any.
import { parentPort, workerData } from 'node:worker_threads';
import { type FdListener, loadNative, RECORD } from '#native/index.js';

export interface WorkerData {
  role: 'serve' | 'hang-in-batch' | 'wait' | 'keep' | 'hold' | 'sendfile' | 'poll' | 'throw';
  path: string;
  /** Descriptors of the parent. */
  fds: number[];
  shared: SharedArrayBuffer;
}

const native = loadNative();
const { role, path, fds, shared } = workerData as WorkerData;
const flag = new Int32Array(shared);
const tell = (message: unknown): void => parentPort?.postMessage(message);

function listen(onBatch: (listener: FdListener, bytes: Buffer, records: Int32Array) => void): FdListener {
  const fd = native.bindUnix(path, 0o600);
  native.listen(fd, 64);
  const listener: FdListener = new native.FdListener(
    fd,
    { maxBatch: 64, messageTimeoutMs: 60_000, maxPendingConnections: 1024, minFreeDescriptors: 0 },
    (bytes, records) => onBatch(listener, bytes, records),
  );
  listener.start();
  return listener;
}

const roles: Record<WorkerData['role'], () => void> = {
  /** Answers each message, closes what came with it, and ends after three. */
  serve() {
    let count = 0;
    listen((listener, bytes, records) => {
      for (let at = 0; at < records.length; at += RECORD.STRIDE) {
        native.closeFd(records[at + RECORD.FD_0]!);
        listener.closeConnection(records[at + RECORD.CONNECTION]!, 6);
        count++;
      }
      tell(bytes.toString());
      if (count === 3) listener.close();
    });
  },
  /** Never comes back from its first batch: its descriptors are registered, not taken. */
  'hang-in-batch'() {
    listen(() => {
      Atomics.store(flag, 0, native.registeredFdCount());
      for (;;);
    });
  },
  /** Accepts, and waits for messages. */
  wait() {
    const listener = listen(() => {});
    setInterval(() => Atomics.store(flag, 0, listener.stats().pending), 1);
  },
  /** Makes each connection a channel, and takes nothing of what comes on it. */
  keep() {
    let records = 0;
    const listener = listen((_listener, _bytes, batch) => {
      for (let at = 0; at < batch.length; at += RECORD.STRIDE) {
        listener.keepConnection(batch[at + RECORD.CONNECTION]!);
        records++;
      }
      Atomics.store(flag, 0, records);
    });
  },
  /** Keeps what it received and detached without taking it. */
  hold() {
    listen((listener, _bytes, records) => {
      for (let at = 0; at < records.length; at += RECORD.STRIDE) {
        listener.detachConnection(records[at + RECORD.CONNECTION]!);
      }
      Atomics.store(flag, 0, native.registeredFdCount());
    });
  },
  /** Sends from fds[1] to fds[0], over and over. */
  sendfile() {
    const again = (): void => {
      native.sendfile(fds[0]!, fds[1]!, 0, 1 << 30, again);
      Atomics.add(flag, 0, 1);
    };
    again();
  },
  /** Polls fds[0] twice, the second time by a duplicate. */
  poll() {
    for (let i = 0; i < 2; i++) new native.FdPoller(fds[0]!, () => Atomics.add(flag, 0, 1)).start(2);
  },
  /** Throws out of its callback: the worker ends with that error. */
  throw() {
    listen(() => {
      throw new Error('in the batch');
    });
  },
};

roles[role]();
tell('ready');
