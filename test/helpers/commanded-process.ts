// A script of this folder in a process of its own that takes commands by IPC and answers each.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';

export class CommandedProcess {
  readonly child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.child = child;
  }

  /**
   * Resolves when the script has said that it is ready; it is killed with the test.
   * @param before shell commands in front of it, e.g. `ulimit -n 64;`
   */
  static async start(
    t: ExecutionContext,
    script: string,
    args: readonly string[],
    { nodeOptions = [], before = '' }: { nodeOptions?: readonly string[]; before?: string } = {},
  ): Promise<CommandedProcess> {
    const path = fileURLToPath(new URL(script, import.meta.url));
    const command = [process.execPath, ...nodeOptions, path, ...args];
    const child = spawn('/bin/sh', ['-c', `${before} exec "$@"`, 'sh', ...command], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const ended = once(child, 'exit');
    t.teardown(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    await once(child, 'message');
    return new CommandedProcess(child);
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** The answer to a command; one at a time. */
  async ask<Answer = unknown>(command: string): Promise<Answer> {
    const answer = once(this.child, 'message');
    this.child.send(command);
    return (await answer)[0] as Answer;
  }
}
