// Which descriptors this process has, and that it has the same ones afterwards: a leak is one that stayed, a double close one
// that went. Closes nothing itself.
import { fstatSync, readdirSync, readlinkSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { ExecutionContext, TestFn } from 'ava';
import { until } from './until.js';

/** What each open descriptor refers to: `socket:[4711]`, a path, `anon_inode:[eventpoll]`. */
export type Descriptors = ReadonlyMap<number, string>;

/** The open descriptors of this process (or of `pid`), without the one that reading the list takes. */
export function openDescriptors(pid: number | 'self' = 'self'): Descriptors {
  const folder = `/proc/${pid}/fd`;
  const open = new Map<number, string>();
  for (const name of readdirSync(folder)) {
    try {
      open.set(Number(name), readlinkSync(`${folder}/${name}`));
    } catch {
      // Closed in between: the descriptor of the list itself.
    }
  }
  return open;
}

/** Whether `fd` is a descriptor of this process. */
export function isOpen(fd: number): boolean {
  try {
    // In numbers it would stay, and Node.js 20 and 22 would look for modules by it: unix-listener.ts.
    fstatSync(fd, { bigint: true });
    return true;
  } catch {
    return false;
  }
}

/** One line for each descriptor that came, went, or now refers to something else. */
export function descriptorChanges(before: Descriptors, after: Descriptors): string[] {
  const came = [...after].filter(([fd, target]) => before.get(fd) !== target);
  const went = [...before].filter(([fd, target]) => after.get(fd) !== target);
  return [
    ...came.map(([fd, target]) => `left open: ${fd} -> ${target}`),
    ...went.map(([fd, target]) => `closed: ${fd} -> ${target}`),
  ].sort();
}

/**
 * Asserts that exactly the descriptors of `before` are open. Closing takes a turn of the loop or two, and what a test forgot may
 * wait for the garbage collector: it waits for that, up to `timeoutMs`. @default 5000
 */
export async function assertSameDescriptors(
  t: ExecutionContext,
  before: Descriptors,
  timeoutMs = 5000,
): Promise<void> {
  await setImmediate();
  try {
    await until(
      'the descriptors are as before',
      () => {
        globalThis.gc?.();
        return descriptorChanges(before, openDescriptors()).length === 0;
      },
      timeoutMs,
    );
  } catch {
    // The assertion below says what is left.
  }
  t.deepEqual(descriptorChanges(before, openDescriptors()), [], 'descriptors before and after');
}

/**
 * Notes the descriptors of other processes.
 * @returns asserts that they have exactly those again, and waits for that as {@link assertSameDescriptors} does
 */
export function watchDescriptors(
  pids: readonly number[],
): (t: ExecutionContext, timeoutMs?: number) => Promise<void> {
  const before = pids.map((pid) => [pid, openDescriptors(pid)] as const);
  const changes = (): string[] =>
    before.flatMap(([pid, open]) =>
      descriptorChanges(open, openDescriptors(pid)).map((line) => `${pid}: ${line}`),
    );
  return async (t, timeoutMs = 5000) => {
    await until('the descriptors are as before', () => changes().length === 0, timeoutMs).catch(() => {});
    t.deepEqual(changes(), [], 'descriptors before and after');
  };
}

/**
 * Compares the descriptors before the first and after the last test of a file, also when tests fail. Call it before any other
 * `test.before`, so that what those open is expected to be closed as well.
 */
export function guardDescriptors<Context>(test: TestFn<Context>): void {
  let before: Descriptors = new Map();
  test.before('note the open descriptors', () => {
    before = openDescriptors();
  });
  test.after.always('the same descriptors are open', async (t) => {
    await assertSameDescriptors(t, before);
  });
}
