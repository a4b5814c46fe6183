// What the program for the kernel says of a packet, the table in user space says of the connection, for any rules: the program is run by an
// interpreter, in the kernel it is run by the tests of the front door. Time-boxed; FUZZ_SEED=<seed> repeats a run, FUZZ_MS sets the box.
import test from 'ava';
import fc from 'fast-check';
import { prefixProgram } from '#runtime/front-door/prefix-program.js';
import { ConnectionTable } from '#runtime/routing/connection-table.js';
import { addressText } from '#runtime/routing/ip-address.js';
import { parsePrefix } from '#runtime/routing/prefix.js';
import { runClassicBpf } from '../helpers/classic-bpf.js';

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const timeBoxMs = Number(process.env.FUZZ_MS ?? 3000);

const NOBODY = 0;
/** Names of interfaces by their numbers. */
const INTERFACES = ['nothing', 'lo', 'a0', 'b0'];

/** Few values, so that prefixes overlap and share words. */
const word = fc.oneof(
  fc.constantFrom(0, 1, 0xcb00_7100, 0xcb00_71ff, 0x2001_0db8, 0x8000_0000, 0xffff_ffff),
  fc.integer({ min: 0, max: 0xffff_ffff }),
);

interface Rule {
  words: number[];
  /** Negative: a rule without a prefix. */
  length: number;
  ifindex: number | undefined;
  slot: number;
}

const ifindex = fc.option(fc.integer({ min: 1, max: INTERFACES.length - 1 }), { nil: undefined });
const slot = fc.integer({ min: 1, max: 5 });
const rule4 = fc.record<Rule>({
  words: fc.array(word, { minLength: 1, maxLength: 1 }),
  length: fc.oneof(fc.constantFrom(-1, 0, 24, 32), fc.integer({ min: 0, max: 32 })),
  ifindex,
  slot,
});
const rule6 = fc.record<Rule>({
  words: fc.array(word, { minLength: 4, maxLength: 4 }),
  length: fc.oneof(fc.constantFrom(-1, 0, 32, 64, 96, 128), fc.integer({ min: 0, max: 128 })),
  ifindex,
  slot,
});
const address = fc.oneof(
  fc.array(word, { minLength: 1, maxLength: 1 }),
  fc.array(word, { minLength: 4, maxLength: 4 }),
);

const textOf = ({ words, length }: Rule): string => `${addressText(words)}/${length}`;

/** The first and the last address of a prefix, and their neighbours outside. */
function boundaries({ words, length }: Rule): number[][] {
  const bits = 32 * words.length;
  const whole = words.reduce((sum, each) => (sum << 32n) + BigInt(each), 0n);
  const size = 1n << BigInt(bits - Math.max(length, 0));
  const first = (whole / size) * size;
  return [first, first + size - 1n, first - 1n, first + size].map((number) =>
    words.map((_, nth) => Number((number >> BigInt(bits - 32 * (nth + 1))) & 0xffff_ffffn)),
  );
}

/** @returns the first packet they disagree about */
function disagreement(rules: readonly Rule[], addresses: readonly number[][]): object | undefined {
  const distinct = new Map<string, Rule & { prefix: ReturnType<typeof parsePrefix> | undefined }>();
  for (const rule of rules) {
    const prefix = rule.length < 0 ? undefined : parsePrefix(textOf(rule), '', 'mask');
    distinct.set(`${prefix?.key}/${prefix?.length} ${rule.ifindex}`, { ...rule, prefix });
  }
  const all = [...distinct.values()];
  const program = prefixProgram(all, NOBODY);
  const table = new ConnectionTable(
    all.map(({ prefix, ifindex, slot }) => ({
      prefix: prefix?.text,
      ingress: ifindex === undefined ? undefined : INTERFACES[ifindex],
      value: slot,
    })),
  );
  for (const words of addresses) {
    const isV6 = words.length === 4;
    // An IPv4-mapped address is in no IPv6 packet.
    if (isV6 && words[0] === 0 && words[1] === 0 && words[2] === 0xffff) continue;
    for (const [ifindex, ingress] of INTERFACES.entries()) {
      const { value } = runClassicBpf(program, { isV6, words, ifindex });
      const wanted = table.match({ local: { address: addressText(words), port: 80 }, source: '', ingress });
      if (value !== (wanted ?? NOBODY)) return { address: addressText(words), ingress, value, wanted };
    }
  }
  return undefined;
}

test('a program says what the table says', (t) => {
  const property = fc.property(
    fc.array(fc.oneof(rule4, rule6), { maxLength: 60 }),
    fc.array(address, { maxLength: 20 }),
    (rules, others) => disagreement(rules, [...rules.flatMap(boundaries), ...others]) === undefined,
  );
  const details = fc.check(property, { seed, numRuns: 100_000, interruptAfterTimeLimit: timeBoxMs });
  t.log(`seed ${seed}, ${details.numRuns} runs`);
  t.false(details.failed, fc.defaultReportMessage(details));
});

test('a long program, whose jumps lead farther than 255 instructions, says the same', (t) => {
  const property = fc.property(
    fc.array(rule4, { minLength: 400, maxLength: 1500 }),
    fc.array(rule6, { minLength: 100, maxLength: 500 }),
    fc.integer({ min: 0, max: 1000 }),
    (some, others, from) => {
      const rules = [...some, ...others].map((rule, nth) => ({ ...rule, slot: nth % 700 }));
      const asked = rules.filter((_, nth) => (nth + from) % 20 === 0);
      return disagreement(rules, asked.flatMap(boundaries)) === undefined;
    },
  );
  const details = fc.check(property, { seed, numRuns: 1000, interruptAfterTimeLimit: timeBoxMs });
  t.log(`seed ${seed}, ${details.numRuns} runs`);
  t.false(details.failed, fc.defaultReportMessage(details));
});
