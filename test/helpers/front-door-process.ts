// A front door in a process of its own, whose limit of descriptors, user and network namespace the test sets. Commands come by
// IPC: `exhaust` takes every descriptor that is left, `release` gives them back, `stats` and `close` do what they say.
import { closeSync, openSync } from 'node:fs';
import { createFrontDoor } from '#runtime/front-door/index.js';
import { native } from '#runtime/native.js';
import { runAs } from './run-as.js';

const [to = '', headTimeoutMs = '', host = '127.0.0.1', port = '0', uid = ''] = process.argv.slice(2);
native();
if (uid !== '') runAs(Number(uid));
const frontDoor = createFrontDoor({
  listeners: [{ host, port: Number(port), to }],
  headTimeoutMs: Number(headTimeoutMs),
  sendTimeoutMs: 20_000,
});
await frontDoor.listen();

let taken: number[] = [];
const commands: Record<string, () => unknown> = {
  exhaust: () => {
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch (error) {
      return (error as NodeJS.ErrnoException).code;
    }
  },
  release: () => {
    for (const fd of taken) closeSync(fd);
    taken = [];
  },
  stats: () => frontDoor.stats(),
  close: async () => {
    await frontDoor.close();
    process.disconnect();
  },
};
process.on('message', async (command: string) => {
  const result = await commands[command]?.();
  if (process.connected) process.send?.(result ?? null);
});
process.send?.(frontDoor.addresses()[0]?.port);
