// Listens with exactly one descriptor left, which the socket itself takes; reports the failure, how many sockets it left open, and
// how it goes with room.
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { Receiver } from '@fdpass/scgi-fdpass';
import { openDescriptors } from './descriptors.js';

const path = `\0fdpass-crowded-${process.pid}`;

function exhaust(): number[] {
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'));
  } catch {
    return taken;
  }
}

const sockets = (): number =>
  [...openDescriptors().values()].filter((target) => target.startsWith('socket:')).length;

process.on('message', async () => {
  const receiver = new Receiver();
  const before = sockets();
  const taken = exhaust();
  closeSync(taken.pop() as number);
  let code: string | undefined;
  try {
    receiver.listen({ path });
  } catch (error) {
    ({ code } = error as NodeJS.ErrnoException);
  }
  for (const fd of taken) closeSync(fd);
  const left = sockets() - before;
  receiver.listen({ path });
  await once(receiver, 'listening');
  receiver.destroy();
  process.send?.({ code, left, again: 'listening' });
});
process.send?.('ready');
