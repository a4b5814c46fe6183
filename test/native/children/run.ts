// Runs one of the scripts beside this file in a process of its own, where a test needs another limit, a closed standard input or an
// exception nobody catches.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface ChildEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Standard output and error, line by line. */
  lines: readonly string[];
}

/** A running script that answers in JSON lines. */
export class Child {
  readonly #process;
  readonly #lines: string[] = [];
  readonly ended: Promise<ChildEnd>;

  /** @param before shell commands before the script, and redirections: `ulimit -n 64; exec "$@" <&-` */
  constructor(script: string, args: readonly string[] = [], before = 'exec "$@"') {
    const path = fileURLToPath(new URL(script, import.meta.url));
    this.#process = spawn('sh', ['-c', before, 'sh', process.execPath, path, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let rest = '';
    const onData = (chunk: Buffer): void => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      this.#lines.push(...lines);
    };
    this.#process.stdout.on('data', onData);
    this.#process.stderr.on('data', onData);
    // A script that does not read its input may be gone when it is written to.
    this.#process.stdin.on('error', () => {});
    this.ended = new Promise((resolve) => {
      this.#process.on('close', (code, signal) => resolve({ code, signal, lines: this.#lines }));
    });
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }
  get lines(): readonly string[] {
    return this.#lines;
  }
  has(line: string): boolean {
    return this.#lines.includes(line);
  }
  tell(line: string): void {
    this.#process.stdin.write(`${line}\n`);
  }
  kill(): void {
    this.#process.kill('SIGKILL');
  }
}
