// Waits for a condition instead of a time.
import { setTimeout as delay } from 'node:timers/promises';

/** Resolves when `condition` holds. @throws after `timeoutMs`, with `what` */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await delay(2);
  }
}
