// Runs one command in a User-Mode Linux guest: a kernel that is a plain program, on this machine's own root, which it cannot
// change. The command sees the same files under the same names, loopback only, and root's rights within the guest.
//
// A guest has one processor, and keeps to one of the machine's: it is made of processes that take turns, at each system call and
// each fault of the command's, and to wake one on another processor costs five times as much.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statfsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { DebianRelease } from './apt.js';
import { umlKernel } from './kernel.js';

/** It is not compiled: from build/test/helpers/uml/ to test/helpers/uml/. */
const INIT = fileURLToPath(new URL('../../../../test/helpers/uml/init.pl', import.meta.url));

/**
 * TLS in the kernel, and the ciphers it uses: nothing in the guest would load these when they are asked for. Releases cut the ciphers
 * into other modules.
 */
const KERNEL_TLS = [
  'tls',
  'ctr',
  'ghash-generic',
  'gcm',
  'ccm',
  'poly1305_generic',
  'chacha_generic',
  'chacha',
  'chacha20poly1305',
];

/** How long a guest that was told to end may take. */
const END_TIMEOUT_MS = 10_000;

export interface GuestOptions {
  /** Of the whole guest, boot included. */
  timeoutMs: number;
  /** Whose kernel it is. @default this machine's Debian's */
  release?: DebianRelease | undefined;
  /** Which of the machine's processors it keeps to, counted around: guests that run at once should differ. @default 0 */
  processor?: number;
  /** @default the current folder */
  folder?: string;
  /** The command's whole environment. @default this process's own */
  env?: NodeJS.ProcessEnv;
  /** Kernel modules to load, by name. @default TLS and its ciphers */
  modules?: readonly string[];
  /** Folders that stay the machine's own: what the guest writes there is kept. Everything else it writes is gone with it. */
  writable?: readonly string[];
  /** Taken from the machine as it is used. @default 2048 */
  memoryMiB?: number;
  onOutput?: (text: string) => void;
  onErrors?: (text: string) => void;
  /** Ends the guest. */
  signal?: AbortSignal;
}

export interface GuestResult {
  /** The command's exit code, 128 and more for a signal. */
  readonly code: number;
  readonly output: string;
  readonly errors: string;
  /** From the start of the kernel to its end. */
  readonly milliseconds: number;
}

/**
 * Boots a guest, runs `command` (a path or a name, and its arguments) in it and powers it off.
 * @throws if it did not come to the end of the command: with what the guest's kernel said, or that the time was up
 */
export async function runInGuest(command: readonly string[], options: GuestOptions): Promise<GuestResult> {
  const { timeoutMs, memoryMiB = 2048, modules = KERNEL_TLS, writable = [], processor = 0 } = options;
  const kernel = await umlKernel(options.release);
  const job = await mkdtemp(join(tmpdir(), 'fdpass-guest-'));
  try {
    await mkdir(join(job, 'results'));
    await copyFile(INIT, join(job, 'init.pl'));
    const list = (values: readonly string[]): string => values.join('\0');
    const env = Object.entries(options.env ?? process.env).map(([name, value = '']) => `${name}=${value}`);
    await writeFile(join(job, 'modules'), list(kernel.modulePaths(['overlay', ...modules])));
    await writeFile(join(job, 'writable'), list([join(job, 'results'), ...writable]));
    await writeFile(join(job, 'command'), list(command));
    await writeFile(join(job, 'environment'), list(env));
    await writeFile(join(job, 'folder'), options.folder ?? process.cwd());

    const start = performance.now();
    const processors = allowedProcessors();
    const child = spawn(
      'taskset',
      [
        ...['--cpu-list', String(processors[processor % processors.length]), kernel.program],
        `mem=${memoryMiB}M`,
        ...['rootfstype=hostfs', 'rootflags=/', 'ro', `init=${job}/init.pl`, `FDPASS_JOB=${job}`],
        // The fast way to follow system calls, where the kernel knows it (from Linux 6.16 on).
        'seccomp=auto',
        // The kernel's own words to its standard output; what the command prints to two serial lines.
        ...['quiet', 'con=null', 'con0=null,fd:1', 'ssl=null', 'ssl0=null,fd:3', 'ssl1=null,fd:4'],
      ],
      {
        stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
        env: { HOME: job, TMPDIR: memoryFolder(job, memoryMiB) },
      },
    );
    const ended = once(child, 'close');
    const collect = (index: number, onText?: (text: string) => void): { text: string } => {
      const collected = { text: '' };
      (child.stdio[index] as Readable).setEncoding('utf8').on('data', (text: string) => {
        collected.text += text;
        onText?.(text);
      });
      return collected;
    };
    const console = collect(1);
    collect(2, (text) => {
      console.text += text;
    });
    const output = collect(3, options.onOutput);
    const errors = collect(4, options.onErrors);

    let why = 'it ended early';
    let killTimer: NodeJS.Timeout | undefined;
    const end = (reason: string): void => {
      why = reason;
      // SIGTERM lets it end the processes it is made of; only a kernel that hangs is killed.
      child.kill('SIGTERM');
      killTimer ??= setTimeout(() => child.kill('SIGKILL'), END_TIMEOUT_MS);
    };
    const onAbort = (): void => end('it was told to end');
    const timer = setTimeout(() => end(`it was not done after ${timeoutMs} ms`), timeoutMs);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    if (options.signal?.aborted === true) onAbort();
    await ended;
    clearTimeout(timer);
    clearTimeout(killTimer);
    options.signal?.removeEventListener('abort', onAbort);

    const code = await readFile(join(job, 'results', 'exit-code'), 'utf8').catch(() => undefined);
    if (code === undefined || code === '') {
      throw new Error(
        `the guest ran ${command[0]} not to its end: ${why}. Its kernel said:\n${console.text}` +
          `and the command:\n${output.text}${errors.text}`,
      );
    }
    const milliseconds = Math.round(performance.now() - start);
    return { code: Number(code), output: output.text, errors: errors.text, milliseconds };
  } finally {
    await rm(job, { recursive: true, force: true });
  }
}

/** The processors that this process may use: "0-3,8" (proc_pid_status(5)). */
function allowedProcessors(): number[] {
  const [, list = '0'] =
    /^Cpus_allowed_list:\t(.+)$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? [];
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, nth) => first + nth);
  });
}

/** The guest's memory is a sparse file; containers often have a /dev/shm that is too small for it, or for that of a guest beside it. */
function memoryFolder(fallback: string, memoryMiB: number): string {
  try {
    const { bavail, bsize } = statfsSync('/dev/shm');
    if (bavail * bsize > 2 * memoryMiB * 2 ** 20) return '/dev/shm';
  } catch {
    // There is none.
  }
  return fallback;
}
