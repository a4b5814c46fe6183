// The real fdpass command in a process of its own: what it printed, how it ended. Ends with its test.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { until } from './until.js';

/** The root of the checkout. */
export const root = fileURLToPath(new URL('../../../', import.meta.url));
/** The command's own file. */
export const BIN = join(root, 'packages/backend-runtime/bin/fdpass.js');
const TIMEOUT_MS = 20_000;

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** A program and its first arguments. @default node and the command's own file */
  command?: readonly string[];
  /** What the process gets as descriptors 3, 4, ... */
  descriptors?: readonly number[];
}

export class FdpassCommand {
  stdout = '';
  stderr = '';
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;

  private constructor(args: readonly string[], options: RunOptions) {
    const [program = '', ...first] = options.command ?? [process.execPath, BIN];
    this.#child = spawn(program, [...first, ...args], {
      cwd: options.cwd ?? root,
      env: { ...process.env, NO_COLOR: '1', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe', ...(options.descriptors ?? [])],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, signal) => {
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  /** Starts it. Killed when the test is over, should it still run. */
  static start(t: ExecutionContext, args: readonly string[], options: RunOptions = {}): FdpassCommand {
    const command = new FdpassCommand(args, options);
    t.teardown(async () => {
      command.kill('SIGKILL');
      await command.ended;
    });
    return command;
  }

  /** Runs it to its end. */
  static run(t: ExecutionContext, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
    return FdpassCommand.start(t, args, options).ended;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Does nothing once it has ended. */
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves when it has printed `text`, to stdout or stderr. @throws if it ends before */
  async printed(text: string | RegExp): Promise<void> {
    const matches = (): boolean => {
      const all = `${this.stdout}\n${this.stderr}`;
      return typeof text === 'string' ? all.includes(text) : text.test(all);
    };
    const isDone = (): boolean =>
      matches() || this.#child.exitCode !== null || this.#child.signalCode !== null;
    await until(`fdpass prints ${text}`, isDone, TIMEOUT_MS).catch((error: Error) => {
      throw new Error(`${error.message}; it printed:\n${this.stdout}${this.stderr}`);
    });
    if (!matches()) throw new Error(`fdpass ended without printing ${text}:\n${this.stdout}${this.stderr}`);
  }
}

/** A folder for one test, with files in it. */
export function temporaryFolder(t: ExecutionContext, files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-cli-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

/** Whether a process still runs; one that nobody has waited for yet does not. */
export function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** The processes that `pid` started and that still run. */
export function childrenOf(pid: number): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((each) => {
    try {
      // After the name in brackets: the state, the parent.
      const [, state, parent] = /\) (\S) (\d+) /.exec(readFileSync(`/proc/${each}/stat`, 'latin1')) ?? [];
      return Number(parent) === pid && state !== 'Z';
    } catch {
      return false;
    }
  });
}

/** Asserts that a command failed as commands fail: one line on stderr, no stack, exit code 1. */
export function assertOneSentence(t: ExecutionContext, { code, stderr }: Ended, message: RegExp): void {
  t.is(code, 1);
  t.regex(stderr, /^fdpass: [^\n]+\n$/);
  t.notRegex(stderr, /^\s+at /m);
  t.regex(stderr, message);
}
