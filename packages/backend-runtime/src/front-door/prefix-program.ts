// The program by which the kernel gives each client of one port to a listening socket: by the longest prefix its local address is in, and
// the interface it came in by. Pure. The table in user space says the same, and decides: routing/connection-table.ts.
import type { AddressFamily } from '../ingress/interface-rules.js';
import type { Prefix } from '../routing/prefix.js';
import { BackwardProgram, IFINDEX, type Label, NETWORK_HEADER, OPCODE } from './classic-bpf.js';

export interface PartitionRule {
  /** Left out: every address of both families. */
  readonly prefix: Prefix | undefined;
  /** Left out: every interface. */
  readonly ifindex: number | undefined;
  /** The socket's place in its SO_REUSEPORT group. */
  readonly slot: number;
}

/** Of the destination address, behind the network header. */
const ADDRESS_AT: Readonly<Record<AddressFamily, number>> = { ipv4: 16, ipv6: 24 };
/** The first byte of an IPv6 packet is at least this, that of an IPv4 packet is below. */
const VERSION_6 = 0x60;
const WORD_BITS = 32;
/** Values are compared one after the other up to this many: more steps for one client, fewer instructions for all. */
const MOST_IN_A_ROW = 16;
/** No port has as many sockets. */
const NO_SOCKET = 0xffff_ffff;

/** What the rules of one prefix lead to. */
interface Target {
  readonly words: readonly number[];
  readonly label: Label;
}

/**
 * Of equally long prefixes a rule with the client's interface wins over one without; a rule with another interface does not count.
 * @param rules no two with the same prefix and interface
 * @param nobody slot of those no rule matches
 */
export function prefixProgram(rules: readonly PartitionRule[], nobody: number): Uint8Array {
  const program = new BackwardProgram();
  const everything = rules.filter(({ prefix }) => prefix === undefined);
  const others = ofRules(program, everything, program.returning(nobody));
  const ofFamily = (family: AddressFamily): Label => {
    let label = others;
    for (const alike of byLength(rules, family)) label = ofLength(program, alike, label);
    return label;
  };
  const ipv6 = ofFamily('ipv6');
  const ipv4 = ofFamily('ipv4');
  if (ipv6 === ipv4) return program.finish(ipv4);
  program.branch(OPCODE.JUMP_IF_AT_LEAST, VERSION_6, ipv6, ipv4);
  return program.finish(program.before(OPCODE.LOAD_BYTE, NETWORK_HEADER));
}

/** By which the kernel spreads clients over all sockets, as it does without a program. */
export function spreadingProgram(): Uint8Array {
  const program = new BackwardProgram();
  return program.finish(program.returning(NO_SOCKET));
}

type PrefixRule = PartitionRule & { readonly prefix: Prefix };

/** Shortest prefixes first. */
function byLength(rules: readonly PartitionRule[], family: AddressFamily): PrefixRule[][] {
  const lengths: PrefixRule[][] = [];
  for (const rule of rules) {
    if (rule.prefix?.family !== family) continue;
    const { length } = rule.prefix;
    lengths[length] ??= [];
    lengths[length].push(rule as PrefixRule);
  }
  return lengths.filter((alike) => alike !== undefined);
}

/** @param otherwise where those go that no rule here matches */
function ofLength(program: BackwardProgram, rules: readonly PrefixRule[], otherwise: Label): Label {
  const byPrefix = new Map<string, PrefixRule[]>();
  for (const rule of rules) {
    const same = byPrefix.get(rule.prefix.key);
    if (same === undefined) byPrefix.set(rule.prefix.key, [rule]);
    else same.push(rule);
  }
  const labels = new Map<string, Label>();
  const targets = Array.from(byPrefix.values(), (same): Target => {
    const key = same.map(({ ifindex, slot }) => `${ifindex}:${slot}`).join();
    let label = labels.get(key);
    if (label === undefined) {
      label = ofRules(program, same, otherwise);
      labels.set(key, label);
    }
    return { words: (same[0] as PrefixRule).prefix.words, label };
  });
  const { family, length } = (rules[0] as PrefixRule).prefix;
  return ofWord(program, targets, { address: NETWORK_HEADER + ADDRESS_AT[family], length, otherwise }, 0);
}

/** Rules of one prefix, or those without one. */
function ofRules(program: BackwardProgram, rules: readonly PartitionRule[], otherwise: Label): Label {
  const any = rules.find(({ ifindex }) => ifindex === undefined);
  let label = any === undefined ? otherwise : program.returning(any.slot);
  let asksInterface = false;
  for (const { ifindex, slot } of rules) {
    if (ifindex === undefined) continue;
    label = program.branch(OPCODE.JUMP_IF_EQUAL, ifindex, program.returning(slot), label);
    asksInterface = true;
  }
  return asksInterface ? program.before(OPCODE.LOAD_WORD, IFINDEX) : label;
}

interface Search {
  /** Where the packet has the address. */
  readonly address: number;
  /** Of all prefixes, in bits. */
  readonly length: number;
  readonly otherwise: Label;
}

/** @param targets equal in the words before `nth` */
function ofWord(program: BackwardProgram, targets: readonly Target[], search: Search, nth: number): Label {
  const { address, length, otherwise } = search;
  const bits = length - WORD_BITS * nth;
  if (bits <= 0) return (targets[0] as Target).label;
  const byValue = new Map<number, Target[]>();
  for (const target of targets) {
    const value = target.words[nth] as number;
    const same = byValue.get(value);
    if (same === undefined) byValue.set(value, [target]);
    else same.push(target);
  }
  const values = Array.from(
    byValue,
    ([value, same]): Choice => ({ value, label: ofWord(program, same, search, nth + 1) }),
  );
  chosen(
    program,
    values.sort((a, b) => a.value - b.value),
    otherwise,
  );
  if (bits < WORD_BITS) program.before(OPCODE.AND, (-1 << (WORD_BITS - bits)) >>> 0);
  return program.before(OPCODE.LOAD_WORD, address + 4 * nth);
}

interface Choice {
  readonly value: number;
  readonly label: Label;
}

/** @param choices in the order of their values */
function chosen(program: BackwardProgram, choices: readonly Choice[], otherwise: Label): Label {
  if (choices.length <= MOST_IN_A_ROW) {
    return choices.reduceRight(
      (next, { value, label }) => program.branch(OPCODE.JUMP_IF_EQUAL, value, label, next),
      otherwise,
    );
  }
  const middle = Math.ceil(choices.length / 2);
  const upper = chosen(program, choices.slice(middle), otherwise);
  const lower = chosen(program, choices.slice(0, middle), otherwise);
  return program.branch(OPCODE.JUMP_IF_AT_LEAST, (choices[middle] as Choice).value, upper, lower);
}
