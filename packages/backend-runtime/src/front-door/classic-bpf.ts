// Writes classic BPF programs (linux/filter.h) from their end to their beginning: all jumps lead onwards, so what is jumped to is there
// already, and its distance known. Knows nothing of prefixes.
import { endianness } from 'node:os';

/** The kernel takes no longer ones (BPF_MAXINSNS). */
export const MAX_INSTRUCTIONS = 4096;
/** sizeof(struct sock_filter). */
export const INSTRUCTION_BYTES = 8;

/** Loads are relative to the network header from here on (SKF_NET_OFF). */
export const NETWORK_HEADER = -0x10_0000;
/** The number of the device a packet came in by (SKF_AD_OFF + SKF_AD_IFINDEX). */
export const IFINDEX = -0x1000 + 8;

/** `BPF_LD | BPF_ABS` with a size, `BPF_ALU | BPF_AND | BPF_K`, `BPF_RET | BPF_K`, and jumps by a constant. */
export const OPCODE = {
  LOAD_WORD: 0x20,
  LOAD_BYTE: 0x30,
  AND: 0x54,
  JUMP: 0x05,
  JUMP_IF_EQUAL: 0x15,
  JUMP_IF_AT_LEAST: 0x35,
  RETURN: 0x06,
} as const;

/** Of a conditional jump, whose offsets have 8 bits. */
const FARTHEST = 255;

interface Instruction {
  readonly opcode: number;
  readonly whenTrue: number;
  readonly whenFalse: number;
  readonly constant: number;
}

/** A place to jump to: an instruction that is written, or one that returns a number, which is written where it is needed. */
export interface Label {
  /** Counted from the program's end; minus infinity for none yet. */
  at: number;
  readonly returns: number | undefined;
}

export class BackwardProgram {
  /** The last one first. */
  readonly #instructions: Instruction[] = [];
  readonly #returns = new Map<number, Label>();

  /** Where the program ends with a number. */
  returning(value: number): Label {
    let label = this.#returns.get(value);
    if (label === undefined) {
      label = { at: Number.NEGATIVE_INFINITY, returns: value };
      this.#returns.set(value, label);
    }
    return label;
  }

  /** Something that goes on with what was written last. */
  before(opcode: number, constant: number): Label {
    return this.#write({ opcode, whenTrue: 0, whenFalse: 0, constant });
  }

  branch(opcode: number, constant: number, whenTrue: Label, whenFalse: Label): Label {
    // A step that brings one within reach may push the other one out of it.
    while (!this.#reaches(whenTrue) || !this.#reaches(whenFalse)) {
      this.#bring(this.#reaches(whenTrue) ? whenFalse : whenTrue);
    }
    return this.#write({
      opcode,
      whenTrue: this.#distance(whenTrue),
      whenFalse: this.#distance(whenFalse),
      constant,
    });
  }

  /** The program that begins at `start`, as the kernel wants it. */
  finish(start: Label): Uint8Array {
    if (start.at !== this.#instructions.length - 1) this.#bring(start);
    const count = this.#instructions.length;
    const bytes = new DataView(new ArrayBuffer(count * INSTRUCTION_BYTES));
    const isLittle = endianness() === 'LE';
    this.#instructions.forEach(({ opcode, whenTrue, whenFalse, constant }, fromEnd) => {
      const at = (count - 1 - fromEnd) * INSTRUCTION_BYTES;
      bytes.setUint16(at, opcode, isLittle);
      bytes.setUint8(at + 2, whenTrue);
      bytes.setUint8(at + 3, whenFalse);
      bytes.setUint32(at + 4, constant, isLittle);
    });
    return new Uint8Array(bytes.buffer);
  }

  #write(instruction: Instruction): Label {
    this.#instructions.push(instruction);
    return { at: this.#instructions.length - 1, returns: undefined };
  }

  /** How many instructions are between the next one that is written and a label. */
  #distance({ at }: Label): number {
    return this.#instructions.length - at - 1;
  }

  #reaches(label: Label): boolean {
    return this.#distance(label) <= FARTHEST;
  }

  /** Writes another way to a label, which later jumps take, too. */
  #bring(label: Label): void {
    const { at } =
      label.returns === undefined
        ? this.before(OPCODE.JUMP, this.#distance(label))
        : this.before(OPCODE.RETURN, label.returns);
    label.at = at;
  }
}
