// A server with stats, and what they say of one request at a time.
import {
  type HandoverServerOptions,
  type InterfaceStats,
  type InterfaceStatsOptions,
  interfaceStats,
  type PairSnapshot,
} from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { type Handler, type Served, serve } from './serve.js';
import { until } from './until.js';

export interface StatsScene extends Served {
  readonly stats: InterfaceStats;
  /** The only pair there is. */
  pair(): Promise<PairSnapshot>;
  /** The same, when so many requests are counted, and no more. */
  counted(requests: number): Promise<PairSnapshot>;
  /** The same, when all connections are gone. */
  settled(): Promise<PairSnapshot>;
}

export async function serveWithStats(
  t: ExecutionContext,
  handler: Handler,
  options: HandoverServerOptions = {},
  statsOptions: InterfaceStatsOptions = {},
): Promise<StatsScene> {
  const served = await serve(t, { keepAlive: { scope: '/' }, ...options }, handler);
  const stats = interfaceStats(statsOptions);
  served.server.use(stats);
  const pair = async (): Promise<PairSnapshot> => {
    const { pairs } = await stats.snapshot();
    t.is(pairs.length, 1);
    return pairs[0] as PairSnapshot;
  };
  const requestsOf = (latest: PairSnapshot | undefined): number =>
    Object.values<number>(latest?.requests ?? {}).reduce((sum, count) => sum + count, 0);
  return {
    ...served,
    stats,
    pair,
    counted: async (requests) => {
      let latest: PairSnapshot | undefined;
      await until(`${requests} requests are counted`, async () => {
        [latest] = (await stats.snapshot()).pairs;
        return requestsOf(latest) >= requests;
      });
      t.is(requestsOf(latest), requests);
      return latest as PairSnapshot;
    },
    settled: async () => {
      await until('all connections are gone', () => served.server.stats().connections === 0);
      return pair();
    },
  };
}
