// What the machine must have for this comparison. What is missing is one sentence that says what to do.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** Something the user can put right: its message is the whole answer. */
export class Lack extends Error {}

/** @throws Lack */
export function requireMachine(module: string): void {
  const missing = [
    !runs('nginx', '-v') && 'nginx (apt-get install nginx-light)',
    !runs('wrk', '-v') && 'wrk (apt-get install wrk)',
    !runs('cc', '--version') && 'a C compiler (apt-get install gcc)',
    !runs('prlimit', '--version') && 'prlimit and setpriv (apt-get install util-linux)',
    !existsSync(module) && `the nginx module ${module} (native/nginx/build.sh)`,
  ].filter((lack) => lack !== false);
  if (missing.length > 0) throw new Lack(`This benchmark needs ${missing.join(', ')}.`);
}

/** Whatever it exits with: wrk has no option that makes it end with 0. */
function runs(program: string, option: string): boolean {
  try {
    execFileSync(program, [option], { stdio: 'ignore' });
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
}

/** Descriptors that a process needs beside those of its clients. */
const SPARE_DESCRIPTORS = 100;
/** Of two workers of nginx each has half of the clients or a little more, and proxying takes two descriptors for each. */
const ROOM = 9 / 8;

/**
 * Lets this process, and what it starts from now on, have enough descriptors for so many clients at a time.
 * @throws Lack when the hard limit is lower and may not be raised
 */
export function allowDescriptors(clients: number): void {
  const needed = Math.ceil(clients * ROOM) + SPARE_DESCRIPTORS;
  const allowed = descriptorsUpTo(needed);
  if (allowed >= needed) return;
  const most = Math.floor((allowed - SPARE_DESCRIPTORS) / ROOM);
  throw new Lack(
    `${clients} idle clients need ${needed} descriptors in a process, and the limit is ${allowed}: ` +
      `raise it as root (ulimit -n ${needed}), or ask for fewer (--idle ${most}).`,
  );
}

/** Raises the limit of this process as far as `wanted` if it may. @returns what it is now */
export function descriptorsUpTo(wanted: number): number {
  const { soft, hard } = limits();
  if (soft >= wanted) return soft;
  const raise = (limit: string) =>
    execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${limit}`], { stdio: 'pipe' });
  try {
    raise(`${wanted}:${Math.max(wanted, hard)}`);
  } catch {
    raise(`${hard}:${hard}`);
  }
  return limits().soft;
}

/** RLIMIT_NOFILE. */
function limits(): { soft: number; hard: number } {
  const text = readFileSync('/proc/self/limits', 'latin1');
  const [, soft, hard] = /^Max open files\s+(\d+)\s+(\d+)/m.exec(text) ?? [];
  return { soft: Number(soft), hard: Number(hard) };
}

/** Such as "nginx/1.26.3". */
export function nginxVersion(): string {
  const said = execFileSync('sh', ['-c', 'nginx -v 2>&1'], { encoding: 'utf8' });
  return /nginx\/\S+/.exec(said)?.[0] ?? said.trim();
}
