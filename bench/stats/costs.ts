// What stats and log cost a request: kept-alive hello on the same server with nothing, with stats, and with stats and log, in turns.
import { fork } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { cpuSeconds } from '../cpu-time.js';
import { end, pidsOf } from '../processes.js';
import { ratios, type Summary, summarize } from '../statistics.js';
import { wrk } from '../wrk.js';
import { WATCHES, type Watch } from './watches.js';

export interface WatchCost {
  readonly watch: Watch;
  /** Microseconds of CPU time for a request. */
  readonly cpu: Summary;
  /** Against the server with nothing, in the same round. */
  readonly ratio: Summary;
}

const BACKEND = new URL('./backend.js', import.meta.url);

/** @param seconds of each measurement; whole, for wrk */
export async function watchCosts(rounds: number, seconds: number): Promise<WatchCost[]> {
  const collector = createSocket('udp4');
  collector.on('message', () => {}).bind(0, '127.0.0.1');
  await once(collector, 'listening');
  const { port } = collector.address() as AddressInfo;
  const samples = WATCHES.map((): number[] => []);
  try {
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < WATCHES.length; turn++) {
        const at = (turn + round) % WATCHES.length;
        samples[at]?.push(await cpuMicroseconds(WATCHES[at] as Watch, `udp://127.0.0.1:${port}`, seconds));
      }
    }
  } finally {
    collector.close();
  }
  const base = samples[0] as number[];
  return WATCHES.map((watch, at) => {
    const own = samples[at] as number[];
    return { watch, cpu: summarize(own), ratio: summarize(ratios(own, base)) };
  });
}

/** For a request, in a process of its own: two that do the same differ by some percent, each for its whole life. */
async function cpuMicroseconds(watch: Watch, collector: string, seconds: number): Promise<number> {
  const child = fork(BACKEND, [watch, collector]);
  try {
    const [port] = (await once(child, 'message')) as [number];
    const url = `http://127.0.0.1:${port}/`;
    // Warms the code.
    await wrk(url, 1);
    const before = cpuSeconds(pidsOf(child));
    const { requests } = await wrk(url, seconds);
    return ((cpuSeconds(pidsOf(child)) - before) / requests) * 1e6;
  } finally {
    await end(child);
  }
}
