// The fdpass command in a process of its own, serving an application the test wrote.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { until } from './until.js';

const BIN = fileURLToPath(new URL('../../../packages/backend-runtime/bin/fdpass.js', import.meta.url));

export interface CommandOptions {
  /** Becomes descriptor 3; borrowed. */
  fd3?: number;
  /** Environment beyond this process's. `$$` stands for the process's own id. */
  env?: Readonly<Record<string, string>>;
}

export class Command {
  readonly child: ChildProcess;
  /** Standard output and error. */
  output = '';
  readonly #ended: Promise<unknown[]>;

  /** Killed with the test, if it still runs. */
  constructor(t: ExecutionContext, args: readonly string[], { fd3, env = {} }: CommandOptions = {}) {
    const assignments = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    this.child = spawn(
      'sh',
      ['-c', `${assignments.join(' ')} exec "$@"`, 'sh', process.execPath, BIN, ...args],
      {
        stdio: ['ignore', 'pipe', 'pipe', fd3 ?? 'ignore'],
      },
    );
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
    this.#ended = once(this.child, 'close');
    t.teardown(async () => {
      this.child.kill('SIGKILL');
      await this.#ended;
    });
  }

  async says(text: string): Promise<void> {
    await until(`the command says ${text}`, () => this.output.includes(text) || this.child.exitCode !== null);
    if (!this.output.includes(text)) throw new Error(`the command ended and said: ${this.output}`);
  }

  /** Resolves with the exit code, or the signal's name. */
  async end(): Promise<number | string> {
    const [code, signal] = await this.#ended;
    return (code ?? signal) as number | string;
  }
}
