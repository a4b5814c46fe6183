// Listens to handovers and forgets some of what it gets; reports what the garbage collector made of it. Needs --expose-gc.
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { type FullHandover, Receiver } from '@fdpass/scgi-fdpass';
import { loadNative } from '#native/index.js';
import { KEPT, numbered } from './channel-sender.js';
import { WireSender } from './wire-sender.js';

const native = loadNative();
const warnings: NodeJS.ErrnoException[] = [];
process.on('warning', (warning) => warnings.push(warning));

const path = `\0fdpass-forgetful-${process.pid}`;
const receiver = new Receiver();
const kept: FullHandover[] = [];
const taken: number[] = [];
receiver.on('handover', (handover) => {
  if (handover.kind !== 'full') return;
  const name = handover.headers.get('NUMBER');
  if (name === '1') taken.push(handover.passedFd.take());
  if (name === '2') kept.push(handover);
  if (name === '3') handover.passedFd.close();
});
receiver.listen({ path });
await once(receiver, 'listening');

const sender = new WireSender(path);
const far: number[] = [];
let answers = '';
/** Client 0 comes first and alone, the others in one batch: 1 is taken, 2 kept, 3 closed, 0 and 4 are forgotten. */
for (let nth = 0; nth < 5; nth++) {
  const [near, other] = native.socketpair();
  sender.sendAtOnce(numbered(nth), near);
  native.closeFd(near);
  far.push(other);
  if (nth === 0) answers += String.fromCharCode((await sender.nextByte()) ?? 0);
}
while (answers.length < 5) answers += String.fromCharCode((await sender.nextByte()) ?? 0);
for (let round = 0; round < 200 && warnings.length < 2; round++) {
  globalThis.gc?.();
  await setImmediate();
}
const byte = Buffer.alloc(1);
process.send?.({
  answers: answers === KEPT.repeat(5),
  codes: warnings.map(({ code }) => code),
  /** Whether the client's other end is still open. */
  open: far.map((fd) => native.read(fd, byte) === -1),
  registered: native.registeredFdCount(),
});
process.disconnect();
receiver.destroy();
sender.close();
for (const { passedFd } of kept) passedFd.close();
for (const fd of [...taken, ...far]) native.closeFd(fd);
