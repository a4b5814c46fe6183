// The two C programs of the receiver's benchmark: compiled where they are needed, run from there.
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** `each`: a connection for each handover. `kept`: all on one connection, a channel. */
export type Mode = 'each' | 'kept';

export interface Programs {
  /** The least that receives handovers. */
  readonly receiver: string;
  readonly sender: string;
}

/** What a sender did. */
export interface Passed {
  readonly handovers: number;
  readonly seconds: number;
}

export interface Load {
  /** The receiver's UNIX socket. */
  readonly path: string;
  /** A file with one whole message. */
  readonly message: string;
  readonly mode: Mode;
  readonly seconds: number;
}

const SOURCES = fileURLToPath(new URL('../../../bench/receiver/', import.meta.url));
/** Handovers under way at a time. */
const WINDOW = 32;
/** The sender's word for a receiver that closes the connection after each handover. */
const KEEPS_NONE = 3;
const execute = promisify(execFile);

/** @param folder where they are put. @throws when there is no compiler, or it finds something */
export function compilePrograms(folder: string): Programs {
  const compile = (name: string): string => {
    const program = join(folder, name);
    execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-o', program, join(SOURCES, `${name}.c`)]);
    return program;
  };
  return { receiver: compile('receiver'), sender: compile('sender') };
}

/** Passes as much as is taken in so many seconds; undefined if the receiver keeps no connection. @throws what the sender says */
export async function passHandovers(
  { sender }: Programs,
  { path, message, mode, seconds }: Load,
): Promise<Passed | undefined> {
  try {
    const { stdout } = await execute(sender, [path, message, mode, String(WINDOW), String(seconds)]);
    const [handovers = Number.NaN, elapsed = Number.NaN] = stdout.split(' ').map(Number);
    return { handovers, seconds: elapsed };
  } catch (error) {
    if ((error as { code?: unknown }).code === KEEPS_NONE) return undefined;
    throw error;
  }
}
