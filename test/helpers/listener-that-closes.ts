// A process with a listener that closes the descriptor behind its owner's back, and throws, which a test runner would not survive:
// prints which handovers of one batch it was given, and what was thrown.
import { once } from 'node:events';
import { closeHandover } from '@fdpass/scgi-fdpass';
import { loadNative } from '#native/index.js';
import { wishing } from './channel-sender.js';
import { OpenReceiver } from './open-receiver.js';
import { until } from './until.js';
import { GET } from './wire-sender.js';

const native = loadNative();
const uncaught: (string | undefined)[] = [];
process.on('uncaughtException', (error: NodeJS.ErrnoException) => uncaught.push(error.code ?? error.message));

const open = new OpenReceiver(`\0fdpass-test-${process.pid}`, {});
open.receiver.removeAllListeners();
const given: (string | undefined)[] = [];
open.receiver.on('handover', (handover) => {
  const number = handover.headers.get('NUMBER');
  given.push(number);
  if (number !== '1' || handover.kind !== 'full') return closeHandover(handover);
  native.closeFd(handover.passedFd.fd);
  throw new Error('a mistake');
});
open.receiver.listen({ path: open.path });
await once(open.receiver, 'listening');

const [near, far] = native.socketpair();
const sender = open.connect();
const send = (nth: number): void =>
  sender.sendAtOnce(wishing({ headers: [...GET, ['NUMBER', String(nth)]] }), near);
send(0);
await until('it is a channel', () => given.length === 1);
for (const nth of [1, 2, 3]) send(nth);
await until('all of them are given', () => given.length >= 4);
send(4);
await until('the channel goes on', () => given.includes('4'));
const { full } = open.receiver.stats();
await open.close();
native.closeFd(near);
native.closeFd(far);
process.stdout.write(JSON.stringify({ given, full, uncaught }));
