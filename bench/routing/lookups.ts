// Lookups per second of CPU time, and what a table costs to build and to keep.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { TableCase } from './tables.js';
import type { Way } from './ways.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** CPU time of one measurement. */
const MEASURED_SECONDS = 0.25;

export interface Built {
  readonly lookup: (address: string) => boolean;
  readonly buildMs: number;
  readonly bytesPerPrefix: number;
}

export function build(way: Way, table: TableCase): Built {
  const before = usedBytes();
  // By the clock: it is how long the event loop does nothing else.
  const startMs = performance.now();
  const lookup = way.build(table);
  const buildMs = performance.now() - startMs;
  return { lookup, buildMs, bytesPerPrefix: (usedBytes() - before) / table.prefixes.length };
}

/** @returns lookups per second of CPU time */
export function lookupRate(lookup: (address: string) => boolean, { addresses }: TableCase): number {
  let count = 0;
  let found = 0;
  const start = cpuSeconds();
  let seconds = 0;
  // The clock is read seldom enough not to count, and often enough for a way that takes milliseconds.
  for (let batch = 1; seconds < MEASURED_SECONDS; batch = Math.min(batch * 2, 65_536)) {
    for (let nth = 0; nth < batch; nth++) {
      if (lookup(addresses[(count + nth) & (addresses.length - 1)] as string)) found++;
    }
    count += batch;
    seconds = cpuSeconds() - start;
  }
  // Half of the addresses are in a prefix; what finds none has measured nothing.
  if (found === 0) throw new Error('no address was found');
  return count / seconds;
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function usedBytes(): number {
  collectGarbage();
  const { heapUsed, arrayBuffers, external } = process.memoryUsage();
  return heapUsed + arrayBuffers + external;
}
