// The processes `fdpass dev` runs an application in: the one that serves, and older ones that still drain. Does not know when to
// replace one.
import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { RuntimeError } from '../errors.js';
import type { StartReport } from './dev-child.js';
import type { ServeOptions } from './serve.js';

const CHILD = fileURLToPath(new URL('./dev-child.js', import.meta.url));
/** Longer than Fastify waits for a plugin. */
const START_TIMEOUT_MS = 15_000;
/** At the end of `dev` nobody waits for a slow answer any more. */
const CLOSE_TIMEOUT_MS = 2000;

export class AppProcesses {
  readonly #app: string;
  readonly #options: ServeOptions;
  readonly #onEnded: (how: string) => void;
  readonly #all = new Set<ChildProcess>();
  #current: ChildProcess | undefined;
  #isClosing = false;

  /** @param onEnded the process that served ended by itself, and nothing serves now */
  constructor(app: string, options: ServeOptions, onEnded: (how: string) => void) {
    this.#app = app;
    this.#options = options;
    this.#onEnded = onEnded;
  }

  /**
   * Starts a new process; when it listens (it takes the socket over), the one before drains. Not to be called again before it is
   * done: of two, the older one might be the last to take the socket.
   * @throws an error whose message is the new process's failure; the one before serves on
   */
  async replace(): Promise<void> {
    if (this.#isClosing) return;
    const child = this.#start();
    try {
      await this.#whenListening(child);
    } catch (error) {
      // Ended by close().
      if (this.#isClosing) return;
      throw error;
    }
    const before = this.#current;
    this.#current = child;
    before?.kill('SIGTERM');
  }

  /** Lets all of them drain for a moment, then ends them. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const ended = [...this.#all].map((child) => new Promise((resolve) => child.once('exit', resolve)));
    for (const child of this.#all) child.kill('SIGTERM');
    await Promise.race([Promise.all(ended), delay(CLOSE_TIMEOUT_MS)]);
    for (const child of this.#all) child.kill('SIGKILL');
    await Promise.all(ended);
  }

  #start(): ChildProcess {
    const child = fork(CHILD, [this.#app, JSON.stringify(this.#options)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      // A session of its own: Ctrl-C in the terminal is for this process, which ends its children after the front door.
      detached: true,
    });
    this.#all.add(child);
    child.once('exit', (code, signal) => {
      this.#all.delete(child);
      if (child !== this.#current) return;
      this.#current = undefined;
      if (!this.#isClosing) this.#onEnded(howItEnded(code, signal));
    });
    return child;
  }

  async #whenListening(child: ChildProcess): Promise<void> {
    const deadline = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS);
    try {
      const { failure } = await new Promise<StartReport>((resolve, reject) => {
        child.once('message', (report) => resolve(report as StartReport));
        child.once('error', reject);
        child.once('exit', (code, signal) => {
          const what = `ended before it listened (${howItEnded(code, signal)})`;
          reject(new RuntimeError('BKR_ERR_APP', this.#app, what));
        });
      });
      if (failure !== undefined) throw new Error(failure);
    } finally {
      clearTimeout(deadline);
    }
  }
}

const howItEnded = (code: number | null, signal: string | null): string =>
  code === null ? String(signal) : `exit code ${code}`;
