// wrk as a load: requests as fast as they are answered, over a number of connections.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

export interface WrkResult {
  readonly requests: number;
  /** Requests a second, by wrk's own clock: its start is not in it. */
  readonly rate: number;
  /** Latencies as wrk sees them: it waits for an answer before it asks again, so a slow server is asked less. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const CONNECTIONS = 32;
const MS_PER_UNIT: Readonly<Record<string, number>> = { us: 1e-3, ms: 1, s: 1000, m: 60_000 };
const execute = promisify(execFile);

/** @param seconds a whole number: wrk takes no other. @throws on any error or answer that is not 2xx */
export async function wrk(url: string, seconds: number, ...options: string[]): Promise<WrkResult> {
  const args = ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '--latency', ...options, url];
  const { stdout } = await execute('wrk', args);
  if (/Socket errors|Non-2xx/.test(stdout)) throw new Error(`wrk saw errors:\n${stdout}`);
  return {
    requests: Number(/(\d+) requests in/.exec(stdout)?.[1]),
    rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]),
    p50Ms: latencyMs(stdout, 50),
    p99Ms: latencyMs(stdout, 99),
  };
}

/** wrk's option for a new connection with each request. */
export const NEW_CONNECTION_EACH = ['-H', 'Connection: close'];

function latencyMs(output: string, percent: number): number {
  const [, value, unit = ''] = new RegExp(`\\b${percent}%\\s+([\\d.]+)(us|ms|s|m)\\b`).exec(output) ?? [];
  return Number(value) * (MS_PER_UNIT[unit] ?? Number.NaN);
}
