// What is compared: the same application on a plain http server, and behind the front door by handover. Each subject is its
// own processes, so that their CPU time can be read from the kernel.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Subject {
  readonly name: string;
  readonly url: string;
  /** The processes whose CPU time counts. */
  readonly pids: readonly number[];
  close(): Promise<void>;
}

const FDPASS = 'packages/backend-runtime/bin/fdpass.js';
const APP = 'packages/demo-app';
const START_TIMEOUT_MS = 10_000;
const CHECK_INTERVAL_MS = 20;

/** The application as a user would run it without us. */
export async function plainHttp(): Promise<Subject> {
  const port = await freePort();
  const server = start('build/bench/plain-server.js', String(port));
  await listening(server, () => canConnect(port));
  return {
    name: 'plain http',
    url: `http://127.0.0.1:${port}`,
    pids: pidsOf(server),
    close: () => end(server),
  };
}

/** The application by handover from the front door. */
export async function handover(folder: string): Promise<Subject> {
  const socket = join(folder, 'app.sock');
  const port = await freePort();
  const backend = start(
    FDPASS,
    'serve',
    APP,
    '--socket',
    socket,
    '--keep-alive-scope',
    '/',
    '--log-level',
    'warn',
  );
  const front = start(
    FDPASS,
    'front',
    '--listen',
    `127.0.0.1:${port}`,
    '--to',
    `unix:${socket}`,
    '--log-level',
    'warn',
  );
  await listening(backend, () => existsSync(socket));
  await listening(front, () => canConnect(port));
  return {
    name: 'handover',
    url: `http://127.0.0.1:${port}`,
    pids: pidsOf(backend, front),
    close: async () => {
      await end(front);
      await end(backend);
    },
  };
}

const start = (...args: string[]): ChildProcess =>
  spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });

const pidsOf = (...children: ChildProcess[]): number[] => children.map(({ pid }) => pid ?? 0);

async function listening(child: ChildProcess, isReady: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAtMs = performance.now() + START_TIMEOUT_MS;
  while (!(await isReady())) {
    if (child.exitCode !== null || performance.now() > giveUpAtMs) throw new Error('a server did not start');
    await sleep(CHECK_INTERVAL_MS);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  await new Promise((resolve) => {
    child.once('exit', resolve);
    child.kill('SIGTERM');
  });
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
