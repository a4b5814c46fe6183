// Listens at argv[2] under a low limit of descriptors. Commands on standard input: `fill` takes every free descriptor, `free N` gives
// N back, `stats`. Prints one line per part: its bytes, how many descriptors came, its flags.
import { createInterface } from 'node:readline';
import { loadNative, RECORD } from '#native/index.js';

const native = loadNative();
const path = process.argv[2] ?? '';
const held: number[] = [];

const listening = native.bindUnix(path, 0o600);
native.listen(listening, 4096);
const listener = new native.FdListener(
  listening,
  {
    maxBatch: 64,
    messageTimeoutMs: 60_000,
    maxPendingConnections: 1024,
    minFreeDescriptors: Number(process.argv[3]),
  },
  (bytes, records) => {
    for (let at = 0; at < records.length; at += RECORD.STRIDE) {
      const text = bytes.toString(
        'latin1',
        records[at + RECORD.OFFSET]!,
        records[at + RECORD.OFFSET]! + records[at + RECORD.LENGTH]!,
      );
      console.log(`part ${text} ${records[at + RECORD.FD_COUNT]} ${records[at + RECORD.FLAGS]}`);
      for (let i = 0; i < records[at + RECORD.FD_COUNT]!; i++) native.closeFd(records[at + RECORD.FD_0 + i]!);
      listener.closeConnection(records[at + RECORD.CONNECTION]!);
    }
  },
);
listener.start();

function fill(): void {
  for (;;) {
    try {
      held.push(native.dupFd(1));
    } catch {
      console.log('full');
      return;
    }
  }
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const [command, count] = line.split(' ');
  if (command === 'fill') fill();
  if (command === 'free') {
    for (const fd of held.splice(0, Number(count))) native.closeFd(fd);
    console.log(`freed ${count}`);
  }
  if (command === 'stats') console.log(`stats ${JSON.stringify(listener.stats())}`);
  if (command === 'end') process.exit(0);
});
console.log('ready');
