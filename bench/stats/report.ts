// What stats and log cost, as people read it.
import { textTable } from '../text-table.js';
import type { WatchCost } from './costs.js';
import type { MicroFigures } from './micro.js';

/** Most CPU time a request may take, against none of it. */
const BOUNDS: Readonly<Record<string, number>> = { stats: 1.03, log: 1.05 };

export function statsReport(costs: readonly WatchCost[], micro: MicroFigures): string {
  const rows = [['hello, kept-alive, with', 'CPU', 'CPU ratio', 'middle half', 'target']];
  for (const { watch, cpu, ratio } of costs) {
    const bound = BOUNDS[watch];
    rows.push([
      watch,
      `${cpu.median.toFixed(2)} us/request`,
      `${ratio.median.toFixed(3)}x`,
      `${ratio.low.toFixed(3)} to ${ratio.high.toFixed(3)}`,
      bound === undefined ? '' : `<= ${bound}`,
    ]);
  }
  const { nanosecondsPerRequest, bytesPerPair, scrapedPairs, longestBlockMs } = micro;
  const scraped = scrapedPairs.toLocaleString('en');
  return `${textTable(rows)}

counting a request takes ${nanosecondsPerRequest.toFixed(0)} ns, a pair ${bytesPerPair.toFixed(0)} bytes
a scrape of ${scraped} pairs has the event loop for ${longestBlockMs.prometheus.toFixed(1)} ms at most at a time (text), ${longestBlockMs.json.toFixed(1)} ms (JSON)`;
}
