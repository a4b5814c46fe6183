// What was measured on: goes into every file of results.
import { cpus, release, totalmem } from 'node:os';

export interface Machine {
  readonly cpus: number;
  readonly model: string | undefined;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
}

export const thisMachine = (): Machine => ({
  cpus: cpus().length,
  model: cpus()[0]?.model,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  node: process.version,
});
