// A process whose listeners throw, which a test runner would not survive: prints what became of a batch of 15 senders.
import { once } from 'node:events';
import { closeHandover, type Handover, type WireError } from '@fdpass/scgi-fdpass';
import { loadNative } from '#native/index.js';
import { descriptorChanges, openDescriptors } from './descriptors.js';
import { OpenReceiver } from './open-receiver.js';
import { until } from './until.js';
import { GET, versionOne } from './wire-sender.js';

const native = loadNative();
const uncaught: Record<string, number> = {};
process.on('uncaughtException', ({ message }) => {
  uncaught[message] = (uncaught[message] ?? 0) + 1;
});

const open = new OpenReceiver(`\0fdpass-test-${process.pid}`, {});
open.receiver.removeAllListeners();
const kept: Handover[] = [];
const errors: WireError[] = [];
open.receiver.on('handover', (handover) => {
  if (handover.headers.has('UNWANTED')) throw new Error('about a handover');
  kept.push(handover);
});
open.receiver.on('handoverError', (error) => {
  errors.push(error);
  throw new Error('about an error');
});
// What the loop and the addon open once is no leak.
const [near, far] = native.socketpair();
open.receiver.listen({ path: open.path });
await once(open.receiver, 'listening');
const before = openDescriptors();

// All of them are in the accept queue when the loop turns: one batch.
const senders = Array.from({ length: 15 }, () => open.connect());
for (const [nth, sender] of senders.entries()) {
  const headers = nth % 3 === 1 ? [...GET, ['UNWANTED', '1'] as const] : GET;
  if (nth % 3 === 0) native.write(sender.fd, Buffer.from('garbage'));
  else native.sendFds(sender.fd, versionOne({ headers }), [near]);
}
await until(
  'all of them are done',
  () => errors.length + kept.length === 10 && uncaught['about an error'] === 5,
);
const answers: string[] = [];
for (const sender of senders) answers.push(await sender.answer());
const { pending } = open.receiver.stats();
for (const handover of kept) closeHandover(handover);
for (const sender of senders) sender.close();
const descriptorsLeft = descriptorChanges(before, openDescriptors());
await open.close();
native.closeFd(near);
native.closeFd(far);
process.stdout.write(JSON.stringify({ uncaught, kept: kept.length, answers, pending, descriptorsLeft }));
