// Memory of processes and of the kernel, from proc(5).
import { readFileSync } from 'node:fs';

/** In bytes. */
export interface Memory {
  readonly nginx: number;
  readonly node: number;
  /** Slab caches: where the kernel has sockets, files and their like, those of the clients on this machine included. */
  readonly kernel: number;
}

interface Processes {
  readonly nginxPids: readonly number[];
  readonly nodePids: readonly number[];
}

/** What the processes have now. */
export const memoryOf = ({ nginxPids, nodePids }: Processes): Memory => ({
  nginx: proportionalBytes(nginxPids),
  node: proportionalBytes(nodePids),
  kernel: kibibytes('/proc/meminfo', 'Slab'),
});

/** Proportional set size: pages that others have too (nginx's master, other Node.js processes) count in part. */
const proportionalBytes = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => sum + kibibytes(`/proc/${pid}/smaps_rollup`, 'Pss'), 0);

function kibibytes(file: string, name: string): number {
  const [, value] = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(file, 'latin1')) ?? [];
  if (value === undefined) throw new Error(`${file} has no ${name}`);
  return Number(value) * 1024;
}
