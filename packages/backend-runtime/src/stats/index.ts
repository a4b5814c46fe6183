// What of the stats users may import.

export { clusterStats } from './cluster-stats.js';
export { type StatsPluginOptions, statsPlugin } from './fastify-stats.js';
export { type InterfaceStats, interfaceStats } from './interface-stats.js';
export type { Buckets } from './layout.js';
export type { InterfaceStatsOptions } from './options.js';
export { type ScrapeOptions, type SnapshotSource, scrapeListener } from './scrape.js';
export {
  addSnapshots,
  type HistogramSnapshot,
  type PairFilter,
  type PairSnapshot,
  type StatsSnapshot,
} from './snapshot.js';
export { leaveUncounted } from './uncounted.js';
