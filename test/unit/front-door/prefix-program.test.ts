// The programs for small tables, as instructions and by what they return; test/fuzz/prefix-program.test.ts has any tables.
import test from 'ava';
import { INSTRUCTION_BYTES, MAX_INSTRUCTIONS } from '#runtime/front-door/classic-bpf.js';
import { type PartitionRule, prefixProgram, spreadingProgram } from '#runtime/front-door/prefix-program.js';
import { parsePrefix } from '#runtime/routing/prefix.js';
import { runClassicBpf } from '../../helpers/classic-bpf.js';

const rule = (prefix: string | undefined, slot: number, ifindex?: number): PartitionRule => ({
  prefix: prefix === undefined ? undefined : parsePrefix(prefix, 'prefix'),
  ifindex,
  slot,
});

/** As `bpf_asm` writes them: opcode, offsets and constant, in words of the machine. */
function instructions(program: Uint8Array): string[] {
  const halves = new Uint16Array(program.buffer);
  const words = new Uint32Array(program.buffer);
  return Array.from({ length: program.length / INSTRUCTION_BYTES }, (_, nth) => {
    const [opcode = 0, constant = 0] = [halves[4 * nth], words[2 * nth + 1]];
    const [whenTrue = 0, whenFalse = 0] = program.subarray(8 * nth + 2);
    return `${opcode.toString(16)} ${whenTrue} ${whenFalse} ${constant.toString(16)}`;
  });
}

const sizeOf = (rules: readonly PartitionRule[]): number =>
  prefixProgram(rules, 0).length / INSTRUCTION_BYTES;

const PROGRAMS: readonly [title: string, rules: PartitionRule[], wanted: string[]][] = [
  ['nobody', [], ['6 0 0 0']],
  ['everybody', [rule(undefined, 3)], ['6 0 0 3']],
  [
    'one prefix of IPv4',
    [rule('203.0.113.0/24', 1)],
    [
      ...['30 0 0 fff00000', '35 3 0 60'],
      ...['20 0 0 fff00010', '54 0 0 ffffff00', '15 1 0 cb007100', '6 0 0 0', '6 0 0 1'],
    ],
  ],
  [
    'one address of IPv6: each word only if the one before is right',
    [rule('2001:db8::1/128', 1)],
    [
      ...['30 0 0 fff00000', '35 0 8 60'],
      ...['20 0 0 fff00018', '15 0 6 20010db8', '20 0 0 fff0001c', '15 0 4 0'],
      ...['20 0 0 fff00020', '15 0 2 0', '20 0 0 fff00024', '15 1 0 1', '6 0 0 0', '6 0 0 1'],
    ],
  ],
  [
    'an interface before every interface',
    [rule(undefined, 1), rule(undefined, 2, 7)],
    ['20 0 0 fffff008', '15 1 0 7', '6 0 0 1', '6 0 0 2'],
  ],
  ['all of IPv6', [rule('::/0', 1)], ['30 0 0 fff00000', '35 1 0 60', '6 0 0 0', '6 0 0 1']],
];

for (const [title, rules, wanted] of PROGRAMS) {
  test(title, (t) => {
    t.deepEqual(instructions(prefixProgram(rules, 0)), wanted);
  });
}

test('a mapped prefix is one of IPv4', (t) => {
  t.deepEqual(
    prefixProgram([rule('::ffff:203.0.113.0/120', 1)], 0),
    prefixProgram([rule('203.0.113.0/24', 1)], 0),
  );
});

test('no program chooses a socket there is none of: then the kernel spreads clients', (t) => {
  t.deepEqual(instructions(spreadingProgram()), ['6 0 0 ffffffff']);
});

test('sizes and steps, for 2,000 prefixes', (t) => {
  const of4 = Array.from({ length: 2000 }, (_, n) => rule(`10.${n >> 8}.${n & 255}.0/24`, 1 + (n % 3)));
  const of6 = Array.from({ length: 2000 }, (_, n) => rule(`2001:db8:${n.toString(16)}::/48`, 1 + (n % 3)));
  t.true(sizeOf(of4) < 2300, `${sizeOf(of4)} instructions`);
  t.true(sizeOf(of6) < 2300, `${sizeOf(of6)} instructions`);
  t.true(sizeOf([...of4, ...of6]) > MAX_INSTRUCTIONS);
  const program = prefixProgram(of4, 0);
  for (const n of [0, 1, 999, 1998, 1999]) {
    const { value, steps } = runClassicBpf(program, {
      isV6: false,
      words: [0x0a00_0001 + n * 256],
      ifindex: 1,
    });
    t.is(value, 1 + (n % 3));
    // Two or three to find the family and the word, seven by halves, up to 16 in a row, and ways between them.
    t.true(steps <= 40, `${steps} steps`);
  }
});
