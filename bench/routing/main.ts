// `npm run bench:routing`: lookups in tables of 10 to 100,000 prefixes, ours against what else a user would take, round after round.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../machine.js';
import { median, summarize } from '../statistics.js';
import { textTable } from '../text-table.js';
import { build, lookupRate } from './lookups.js';
import { type Family, tableCase } from './tables.js';
import { OURS, WAYS } from './ways.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    out: { type: 'string', default: 'bench/results/routing.json' },
  },
});
const rounds = Number(values.rounds);

const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];
const SIZES = [10, 1_000, 100_000];
/** What ours is to reach, at the largest size. */
const TARGETS = { lookupsPerSecond: 5e6, buildMs: 300 };

const subjects = FAMILIES.flatMap((family) =>
  SIZES.flatMap((size) => {
    const table = tableCase(family, size);
    return WAYS.map((way) => ({ family, size, table, way, built: build(way, table), rates: [] as number[] }));
  }),
);
// The first round warms the code up; it does not count.
for (let round = 0; round <= rounds; round++) {
  for (const { built, table, rates } of subjects) {
    const rate = lookupRate(built.lookup, table);
    if (round > 0) rates.push(rate);
  }
}

const millions = (rate: number): string => (rate / 1e6).toPrecision(3);
const rows = subjects.map(({ family, size, table, way, built, rates }) => {
  const { median: rate, low, high } = summarize(rates);
  const [ours] = subjects.filter((each) => each.way.name === OURS && each.table === table);
  // Anew, with warm code.
  const buildMs = way.name === OURS ? median([1, 2, 3].map(() => build(way, table).buildMs)) : built.buildMs;
  const { bytesPerPrefix } = built;
  return {
    family,
    size,
    way: way.name,
    rate,
    low,
    high,
    times: median(ours?.rates ?? []) / rate,
    buildMs,
    bytesPerPrefix,
  };
});
mkdirSync(dirname(values.out), { recursive: true });
writeFileSync(
  values.out,
  `${JSON.stringify({ machine: thisMachine(), date: new Date().toISOString(), rows }, null, 2)}\n`,
);
process.stdout.write(`${textTable([
  ['', 'prefixes', 'way', 'million lookups/s', 'middle half', 'ours is', 'build', 'per prefix'],
  ...rows.map(({ family, size, way, rate, low, high, times, buildMs, bytesPerPrefix }) => [
    family,
    size.toLocaleString('en'),
    way,
    millions(rate),
    `${millions(low)} to ${millions(high)}`,
    way === OURS ? '' : `${times.toPrecision(3)}x`,
    `${buildMs.toFixed(1)} ms`,
    // Of few prefixes it is lost among everything else; and of a BlockList it is outside of what V8 knows.
    way === OURS && size >= 1_000 ? `${bytesPerPrefix.toFixed(0)} bytes` : '',
  ]),
])}

${verdict('ipv4')}
${verdict('ipv6')}
Lookups per second of CPU time, medians of ${rounds} rounds; ${values.out} has them.
`);

function verdict(family: Family): string {
  const ours = rows.filter((row) => row.family === family && row.way === OURS);
  const [small, large] = [ours[0], ours.at(-1)];
  if (small === undefined || large === undefined) return '';
  return (
    `${family}: ${millions(large.rate)} million a second at ${large.size.toLocaleString('en')} (target ${millions(TARGETS.lookupsPerSecond)}), ` +
    `${(large.rate / small.rate).toFixed(2)}x of the rate at ${small.size}; built in ${large.buildMs.toFixed(0)} ms (target ${TARGETS.buildMs})`
  );
}
