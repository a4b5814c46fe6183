// A table must find what going through all its prefixes one by one would find, each judged by Node.js's own BlockList. Time-boxed;
// FUZZ_SEED=<seed> repeats a run, FUZZ_MS sets the box.
import { BlockList, isIP } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { addressText, readAddress } from '#runtime/routing/ip-address.js';
import { LpmTable } from '#runtime/routing/lpm-table.js';
import { type Prefix, parsePrefix } from '#runtime/routing/prefix.js';

const timeBoxMs = Number(process.env.FUZZ_MS ?? 3000);
const seed = Number(process.env.FUZZ_SEED ?? Math.trunc(Math.random() * 2 ** 31));

/** Few bits that differ make prefixes overlap. */
const word = fc.oneof(
  fc.constantFrom(0, 1, 0x8000_0000, 0xffff_ffff, 0xfffe_ffff, 0x2001_0db8),
  fc.integer({ min: 0, max: 15 }).map((top) => (top << 28) >>> 0),
  fc.integer({ min: 0, max: 0xffff_ffff }),
);
const address4 = word.map((first) => addressText([first]));
const address6 = fc
  .tuple(fc.constantFrom(0x2001_0db8, 0, 0xffff_ffff), word, word, word)
  .map((words) => addressText(words));
const prefix4 = fc.tuple(address4, fc.integer({ min: 0, max: 32 }));
const prefix6 = fc.tuple(
  address6,
  fc.oneof(fc.integer({ min: 0, max: 128 }), fc.constantFrom(32, 64, 96, 128)),
);
const port = fc.constantFrom(undefined, undefined, 80, 443);
const entry = fc
  .tuple(fc.oneof(prefix4, prefix6), port)
  .map(([[address, length], ofPort]) => ({ text: `${address}/${length}`, port: ofPort }));

interface Judged {
  readonly prefix: Prefix;
  readonly port: number | undefined;
  readonly holds: (address: string) => boolean;
}

function judged({ text, port: ofPort }: { text: string; port: number | undefined }): Judged {
  const prefix = parsePrefix(text, 'entry', 'mask');
  const list = new BlockList();
  const [address = '', length] = prefix.text.split('/');
  list.addSubnet(address, Number(length), prefix.family);
  return {
    prefix,
    port: ofPort,
    // To a BlockList addresses of IPv4 are some of IPv6.
    holds: (other) => isIP(other) === (prefix.family === 'ipv4' ? 4 : 6) && list.check(other, prefix.family),
  };
}

/** First and last addresses of prefixes, and their neighbours, besides random ones. */
function addressesAround({ words, length }: Prefix): string[] {
  const bits = words.length * 32;
  const first = words.reduce((sum, each) => sum * 2n ** 32n + BigInt(each), 0n);
  const last = first + 2n ** BigInt(bits - length) - 1n;
  return (
    [first - 1n, first, last, last + 1n]
      .filter((each) => each >= 0n && each < 2n ** BigInt(bits))
      // Mapped addresses are none of IPv6 to a table.
      .filter((each) => bits === 32 || each >> 32n !== 0xffffn)
      .map((each) =>
        addressText(words.map((_, nth) => Number((each >> BigInt(bits - 32 * (nth + 1))) & 0xffff_ffffn))),
      )
  );
}

test('the longest prefix, and of equal ones that with the port', (t) => {
  const property = fc.property(
    fc.array(entry, { maxLength: 40 }),
    fc.array(fc.oneof(address4, address6), { maxLength: 10 }),
    (entries, others) => {
      const distinct = [
        ...new Map(entries.map(judged).map((each) => [`${each.prefix.key} ${each.port}`, each])).values(),
      ];
      const table = new LpmTable(
        distinct.map((value) => ({ prefix: value.prefix.text, port: value.port, value })),
      );
      const addresses = [...distinct.flatMap(({ prefix }) => addressesAround(prefix)), ...others];
      for (const address of addresses) {
        for (const ofClient of [80, 8080]) {
          const [wanted] = distinct
            .filter(({ holds, port: own }) => holds(address) && (own === undefined || own === ofClient))
            .sort((a, b) => b.prefix.length - a.prefix.length || (b.port ?? 0) - (a.port ?? 0));
          if (table.lookup(address, ofClient) !== wanted) return false;
        }
      }
      return true;
    },
  );
  const details = fc.check(property, { seed, numRuns: 100_000, interruptAfterTimeLimit: timeBoxMs });
  t.log(`seed ${seed}, ${details.numRuns} runs`);
  t.false(details.failed, fc.defaultReportMessage(details));
});

test('an address is one for Node.js as well, and the other way about', (t) => {
  const words = new Uint32Array(4);
  const piece = fc.constantFrom('1', '255', '256', '01', 'ff', 'ffff', '12345', ':', '::', '.', '0', 'g', '');
  const text = fc.oneof(
    fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join('')),
    fc.ipV4(),
    fc.ipV6().filter((each) => !each.includes('%')),
  );
  const property = fc.property(text, (each) => (readAddress(each, words) !== 0) === (isIP(each) !== 0));
  const details = fc.check(property, { seed, numRuns: 200_000, interruptAfterTimeLimit: timeBoxMs });
  t.log(`seed ${seed}, ${details.numRuns} runs`);
  t.false(details.failed, fc.defaultReportMessage(details));
});
