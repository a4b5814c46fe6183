// A receiver in a worker thread that takes a millisecond or two for each handover, and reports which ones it got.
import { parentPort, workerData } from 'node:worker_threads';
import { closeHandover, Receiver } from '@fdpass/scgi-fdpass';

const handovers: string[] = [];
let length = 0;
const receiver = new Receiver({
  messageTimeoutMs: 60_000,
  refuse: () => {
    // 0.5 to 2.5 ms, in steps that come round differently for each sender.
    length = (length + 7) % 20;
    for (const end = performance.now() + 0.5 + length / 10; performance.now() < end; );
    return false;
  },
});
receiver.on('handover', (handover) => {
  handovers.push(handover.headers.get('NUMBER') ?? '');
  closeHandover(handover);
});
receiver.on('listening', () => parentPort?.postMessage('listening'));
receiver.listen({ path: workerData as string });
parentPort?.on('message', () => {
  // What is in the accept queue comes before the end.
  receiver.close();
});
receiver.on('close', () => {
  parentPort?.postMessage({ handovers, errors: receiver.stats().errors });
  parentPort?.close();
});
