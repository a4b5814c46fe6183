// Messages on a channel, cut anywhere and sent at any pace, with wrong ones among them: each client gets its own request or none, and
// each message its answer. The seed is printed, and FUZZ_SEED=<seed> repeats it; FUZZ_MS sets the time box.
import { once } from 'node:events';
import { closeHandover, Receiver } from '@fdpass/scgi-fdpass';
import test from 'ava';
import fc from 'fast-check';
import { loadNative } from '#native/index.js';
import { KEPT, numbered, REFUSED } from '../helpers/channel-sender.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { GET, versionZero, WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
const timeBoxMs = Number(process.env.FUZZ_MS ?? 3000);
guardDescriptors(test);

/** One message: how large, cut where, where the receiver gets time to read, and what is wrong with it. */
const step = fc.record({
  earlyBytes: fc.oneof({ weight: 4, arbitrary: fc.nat(50) }, { weight: 1, arbitrary: fc.nat(60_000) }),
  valueBytes: fc.oneof({ weight: 4, arbitrary: fc.nat(50) }, { weight: 1, arbitrary: fc.nat(50_000) }),
  cuts: fc.array(fc.nat(100_000), { maxLength: 4 }),
  pauses: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
  fault: fc.oneof(
    { weight: 12, arbitrary: fc.constant('none' as const) },
    { weight: 3, arbitrary: fc.constant('unwanted' as const) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('no descriptor' as const, 'version 0' as const, 'garbage' as const),
    },
  ),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function messageOf(nth: number, { earlyBytes, valueBytes, fault }: Step): Buffer {
  if (fault === 'garbage') return Buffer.from('x'.repeat(1 + earlyBytes));
  const headers: [string, string][] = [
    ...GET.map(([name, value]): [string, string] => [name, value]),
    ['HTTP_LONG', 'v'.repeat(valueBytes)],
  ];
  if (fault === 'version 0') return versionZero({ headers });
  if (fault === 'unwanted') headers.push(['UNWANTED', '1']);
  return numbered(nth, { headers, earlyBytes: Buffer.alloc(earlyBytes, 'e') });
}

async function play(steps: readonly Step[]): Promise<boolean> {
  const path = `\0fdpass-fuzz-${process.pid}-${Math.random()}`;
  const receiver = new Receiver({ refuse: ({ headers }) => headers.has('UNWANTED') });
  const taken: string[] = [];
  receiver.on('handover', (handover) => {
    if (handover.kind !== 'full') throw new Error(handover.kind);
    const bytes = Buffer.alloc(16);
    const client = bytes.toString('latin1', 0, native.read(handover.passedFd.fd, bytes));
    taken.push(`${client}=${handover.headers.get('NUMBER')}+${handover.earlyBytes.length}`);
    closeHandover(handover);
  });
  receiver.listen({ path });
  await once(receiver, 'listening');
  const sender = new WireSender(path);
  const fds: number[] = [];
  const client = (nth: number): number => {
    const [near, far] = native.socketpair();
    native.write(far, Buffer.from(String(nth)));
    fds.push(near, far);
    return near;
  };
  await sender.send(numbered(0), client(0));
  let answered = String.fromCharCode((await sender.nextByte()) ?? 0);
  let isOver = false;
  try {
    for (const [at, each] of steps.entries()) {
      const message = messageOf(at + 1, each);
      const fd = client(at + 1);
      const places = each.cuts.map((cut) => 1 + (cut % message.length)).sort((a, b) => a - b);
      const ends = [...new Set([...places, message.length])];
      for (const [piece, end] of ends.entries()) {
        const bytes = message.subarray(ends[piece - 1] ?? 0, end);
        await sender.send(bytes, ...(piece === 0 && each.fault !== 'no descriptor' ? [fd] : []));
        if (each.pauses[piece] === true) await sender.isRead();
      }
    }
  } catch (error) {
    // The channel was closed because of a wrong message while more was sent.
    if (!['EPIPE', 'ECONNRESET'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  const expectedAnswers = [KEPT];
  const expectedTaken = ['0=0+0'];
  for (const [at, { fault, earlyBytes }] of steps.entries()) {
    if (isOver) break;
    isOver = !['none', 'unwanted'].includes(fault);
    expectedAnswers.push(fault === 'none' ? KEPT : REFUSED);
    if (fault === 'none') expectedTaken.push(`${at + 1}=${at + 1}+${earlyBytes}`);
  }
  const read = Buffer.alloc(64);
  await until('it is answered', () => {
    try {
      const count = native.read(sender.fd, read);
      if (count > 0) answered += read.toString('latin1', 0, count);
      return count === 0 || answered.length === expectedAnswers.length;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
      return true;
    }
  });
  await until('all of them are given out', () => receiver.stats().full >= expectedTaken.length);
  const closed = once(receiver, 'close');
  receiver.destroy();
  await closed;
  sender.close();
  for (const fd of fds) native.closeFd(fd);
  const isRight = answered === expectedAnswers.join('') && taken.join() === expectedTaken.join();
  if (!isRight) throw new Error(JSON.stringify({ answered, expectedAnswers, taken, expectedTaken }));
  return true;
}

test.serial('messages cut anywhere, and wrong ones among them', async (t) => {
  const seed = Number(process.env.FUZZ_SEED ?? Math.trunc(Math.random() * 2 ** 31));
  const property = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), play);
  const details = await fc.check(property, { seed, numRuns: 100_000, interruptAfterTimeLimit: timeBoxMs });
  t.log(`seed ${seed}, ${details.numRuns} runs`);
  t.false(details.failed, fc.defaultReportMessage(details));
  t.true(details.numRuns > 0, 'the time box was too small for one run');
});
