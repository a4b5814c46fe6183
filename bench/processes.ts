// The processes of a benchmark: their start, their readiness, their end with ours. What they are for is told elsewhere.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const START_TIMEOUT_MS = 10_000;
const CHECK_INTERVAL_MS = 20;

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});

/** Starts a program that writes to our stderr only; it is ended with us. */
export function start(program: string, ...args: string[]): ChildProcess {
  return tracked(spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] }));
}

/** Starts a module of ours in a Node.js of its own, with a channel for messages. */
export function startModule(module: URL, args: readonly string[], nodeOptions: readonly string[]) {
  const options = {
    execArgv: [...nodeOptions],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'] as ['ignore', 'ignore', 'inherit', 'ipc'],
  };
  return tracked(fork(module, args, options));
}

function tracked(child: ChildProcess): ChildProcess {
  running.add(child);
  child.once('exit', () => running.delete(child));
  // A program that could not be started: untilReady says so.
  child.once('error', () => running.delete(child));
  return child;
}

/** @returns ids of the processes that were started */
export const pidsOf = (...children: readonly ChildProcess[]): number[] =>
  children.flatMap(({ pid }) => pid ?? []);

/** Resolves when `isReady` says so. @throws when the process ends before, or after 10 s */
export async function untilReady(
  child: ChildProcess,
  isReady: () => boolean | Promise<boolean>,
): Promise<void> {
  const giveUpAtMs = performance.now() + START_TIMEOUT_MS;
  while (!(await isReady())) {
    if (child.exitCode !== null || child.pid === undefined || performance.now() > giveUpAtMs) {
      throw new Error(`a server did not start: ${child.spawnargs.join(' ')}`);
    }
    await sleep(CHECK_INTERVAL_MS);
  }
}

/** Asks the process to end, and resolves when it has. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

/** Whether something listens there. */
export function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** A TCP port of loopback that nobody listens on. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
