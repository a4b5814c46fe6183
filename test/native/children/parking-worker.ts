// A worker thread that parks the descriptors it is given; what they send keeps it in its callback for ever.
import { workerData } from 'node:worker_threads';
import { loadNative } from '#native/index.js';

const { fds, shared } = workerData as { fds: number[]; shared: SharedArrayBuffer };
const flag = new Int32Array(shared);
const lot = new (loadNative().ParkingLot)(() => {
  Atomics.store(flag, 0, -1);
  for (;;);
});
for (const fd of fds) lot.park(fd, 60_000);
Atomics.store(flag, 0, lot.size());
