// A front door in a process of its own, whose limit of descriptors the test sets from outside (ulimit -n). Commands come by
// IPC: `exhaust` takes every descriptor that is left, `release` gives them back, `stats` and `close` do what they say.
import { closeSync, openSync } from 'node:fs';
import { createFrontDoor } from '#runtime/front-door/index.js';

const [to = '', headTimeoutMs = ''] = process.argv.slice(2);
const frontDoor = createFrontDoor({
  listeners: [{ port: 0, to }],
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
