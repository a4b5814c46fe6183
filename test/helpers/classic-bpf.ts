// Runs classic BPF programs of the few instructions that prefix programs have, as the kernel does (net/core/filter.c): what the kernel would
// refuse throws. Reads the constants from linux/filter.h, not from the code under test.
import { endianness } from 'node:os';

/** What a program can look at. */
export interface Packet {
  /** Whether the packet is one of IPv6. */
  readonly isV6: boolean;
  /** Of the destination address: one or four. */
  readonly words: readonly number[];
  readonly ifindex: number;
}

const NET_OFFSET = 0xfff0_0000;
const AD_IFINDEX = 0xffff_f008;

/** @returns what the program returns, and how many instructions that took */
export function runClassicBpf(program: Uint8Array, packet: Packet): { value: number; steps: number } {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const isLittle = endianness() === 'LE';
  const header = headerOf(packet);
  let accumulator = 0;
  let at = 0;
  for (let steps = 1; at * 8 + 8 <= program.length; steps++) {
    const opcode = view.getUint16(at * 8, isLittle);
    const constant = view.getUint32(at * 8 + 4, isLittle);
    const jump = (isTrue: boolean): void => {
      at += view.getUint8(at * 8 + (isTrue ? 2 : 3));
    };
    if (opcode === 0x06) return { value: constant, steps };
    if (opcode === 0x20 && constant === AD_IFINDEX) accumulator = packet.ifindex;
    else if (opcode === 0x20) accumulator = header.getUint32(constant - NET_OFFSET);
    else if (opcode === 0x30) accumulator = header.getUint8(constant - NET_OFFSET);
    else if (opcode === 0x54) accumulator = (accumulator & constant) >>> 0;
    else if (opcode === 0x05) at += constant;
    else if (opcode === 0x15) jump(accumulator === constant);
    else if (opcode === 0x35) jump(accumulator >= constant);
    else throw new Error(`instruction ${at} has the opcode ${opcode}`);
    at++;
  }
  throw new Error(`jumped out of the program, to ${at}`);
}

function headerOf({ isV6, words }: Packet): DataView {
  const header = new DataView(new ArrayBuffer(isV6 ? 40 : 20));
  header.setUint8(0, isV6 ? 0x6f : 0x45);
  words.forEach((word, nth) => {
    header.setUint32((isV6 ? 24 : 16) + 4 * nth, word);
  });
  return header;
}
