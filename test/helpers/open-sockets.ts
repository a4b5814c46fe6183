// How many sockets this process has open: what a test compares before and after, to see that every path closed its descriptors.
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

export function openSockets(): number {
  let count = 0;
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:')) count++;
    } catch {
      // The descriptor readdir itself used.
    }
  }
  return count;
}

/** Waits until there are at most `count` (closing takes a turn of the loop or two). @returns how many there are in the end */
export async function settleOpenSockets(count: number, timeoutMs = 5000): Promise<number> {
  const giveUpAt = performance.now() + timeoutMs;
  while (openSockets() > count && performance.now() < giveUpAt) await delay(10);
  return openSockets();
}
