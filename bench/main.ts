// The comparison: every load on every subject, round after round, so that a noisy minute hits all of them alike; then what stats and
// log cost.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LOADS, measure } from './loads.js';
import { type Series, table, writeJson } from './report.js';
import { watchCosts } from './stats/costs.js';
import { microFigures } from './stats/micro.js';
import { statsReport } from './stats/report.js';
import { handover, plainHttp } from './subjects.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    out: { type: 'string', default: 'bench/results/handover.json' },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);

const folder = await mkdtemp(join(tmpdir(), 'fdpass-bench-'));
const subjects = await Promise.all([plainHttp(), handover(folder)]);
try {
  const series: Series[] = LOADS.flatMap((load) =>
    subjects.map(({ name }) => ({ load: load.name, unit: load.unit, subject: name, rounds: [] })),
  );
  // The first run of each warms its code and its file; it does not count.
  for (let round = 0; round <= rounds; round++) {
    for (const load of LOADS) {
      for (const subject of subjects) {
        const measurement = await measure(load, subject, round === 0 ? 1 : seconds);
        const own = series.find((each) => each.load === load.name && each.subject === subject.name);
        if (round > 0) own?.rounds.push(measurement);
      }
    }
    process.stdout.write(round === 0 ? 'warmed up\n' : `round ${round} of ${rounds}\n`);
  }
  writeJson(values.out, series);
  process.stdout.write(
    `\n${table(series, 'plain http')}\n\nMedians of ${rounds} rounds of ${seconds} s; ${values.out} has them all.\n`,
  );
} finally {
  await Promise.all(subjects.map((subject) => subject.close()));
  await rm(folder, { recursive: true });
}

// A difference of some percent needs more of them.
const costs = await watchCosts(rounds * 3, seconds);
process.stdout.write(`\n${statsReport(costs, await microFigures())}\n`);
