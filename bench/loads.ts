// What the subjects are put through: wrk for requests, curl for downloads. A load is bounded in time and says how much it did.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { cpuSeconds } from './cpu-time.js';
import type { Subject } from './subjects.js';
import { NEW_CONNECTION_EACH, wrk } from './wrk.js';

export interface Load {
  readonly name: string;
  /** What one unit is: 'request' or 'GB'. */
  readonly unit: string;
  run(subject: Subject, seconds: number): Promise<number>;
}

export interface Measurement {
  /** Units a second. */
  readonly rate: number;
  /** CPU time of the subject's processes for one unit. */
  readonly cpuMicrosecondsPerUnit: number;
}

const DOWNLOAD_BYTES = 100_000_000;
const execute = promisify(execFile);

const hello =
  (...options: string[]) =>
  async ({ url }: Subject, seconds: number): Promise<number> =>
    (await wrk(`${url}/hello`, seconds, ...options)).requests;

export const LOADS: readonly Load[] = [
  { name: 'hello, kept-alive', unit: 'request', run: hello() },
  { name: 'hello, a new connection each', unit: 'request', run: hello(...NEW_CONNECTION_EACH) },
  { name: '100 MB download', unit: 'GB', run: downloads },
];

/** Runs one load once. */
export async function measure(load: Load, subject: Subject, seconds: number): Promise<Measurement> {
  const cpuBefore = cpuSeconds(subject.pids);
  const startMs = performance.now();
  const units = await load.run(subject, seconds);
  const elapsedSeconds = (performance.now() - startMs) / 1000;
  const cpu = cpuSeconds(subject.pids) - cpuBefore;
  return { rate: units / elapsedSeconds, cpuMicrosecondsPerUnit: (cpu / units) * 1e6 };
}

/** One client, one download after the other. @returns gigabytes received */
async function downloads({ url }: Subject, seconds: number): Promise<number> {
  const untilMs = performance.now() + seconds * 1000;
  let bytes = 0;
  while (performance.now() < untilMs) {
    const address = `${url}/download?bytes=${DOWNLOAD_BYTES}`;
    const { stdout } = await execute('curl', ['-sf', '-o', '/dev/null', '-w', '%{size_download}', address]);
    bytes += Number(stdout);
  }
  return bytes / 1e9;
}
