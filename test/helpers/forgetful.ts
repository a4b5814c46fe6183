// Forgets the owner of a descriptor, and reports what the garbage collector made of it. Needs --expose-gc.
import { openSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { PassedFd } from '@fdpass/scgi-fdpass';
import { isOpen } from './descriptors.js';

const open = (): number => openSync('/dev/null', 'r');

const warnings: NodeJS.ErrnoException[] = [];
process.on('warning', (warning) => warnings.push(warning));

const kept = new PassedFd(open());
/** In a function of its own: nothing of it stays on the stack. */
function forget(): { forgotten: number; taken: number; reused: number } {
  const taken = new PassedFd(open()).take();
  new PassedFd(open()).close();
  // The number of the closed one, in use again.
  const reused = open();
  return { forgotten: new PassedFd(open()).fd, taken, reused };
}
const { forgotten, taken, reused } = forget();
for (let round = 0; round < 100 && warnings.length === 0; round++) {
  globalThis.gc?.();
  await setImmediate();
}
process.send?.({
  codes: warnings.map(({ code }) => code),
  isNamed: warnings.some(({ message }) => message.includes(`(${forgotten})`)),
  forgotten: isOpen(forgotten),
  taken: isOpen(taken),
  closedAndReused: isOpen(reused),
  kept: isOpen(kept.fd),
});
process.disconnect();
