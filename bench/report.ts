// From measurements to what people and programs read: medians, ratios, a table, a JSON file.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Measurement } from './loads.js';
import { thisMachine } from './machine.js';
import { median } from './statistics.js';
import { textTable } from './text-table.js';

export interface Series {
  readonly load: string;
  readonly unit: string;
  readonly subject: string;
  readonly rounds: Measurement[];
}

const summary = ({ rounds }: Series) => ({
  rate: median(rounds.map(({ rate }) => rate)),
  cpu: median(rounds.map(({ cpuMicrosecondsPerUnit }) => cpuMicrosecondsPerUnit)),
});

/** One row for each load: the subject against the baseline. */
export function table(series: readonly Series[], baseline: string): string {
  const rows = [['load', 'subject', 'rate', 'CPU', 'rate ratio', 'CPU ratio']];
  for (const each of series) {
    const base = series.find(({ load, subject }) => load === each.load && subject === baseline);
    const { rate, cpu } = summary(each);
    const against = base === undefined || base === each ? undefined : summary(base);
    rows.push([
      each.load,
      each.subject,
      `${rate.toFixed(rate < 100 ? 2 : 0)} ${each.unit}/s`,
      each.unit === 'GB' ? `${(cpu / 1e6).toFixed(3)} s/GB` : `${cpu.toFixed(1)} us/${each.unit}`,
      against === undefined ? '' : `${(rate / against.rate).toFixed(2)}x`,
      against === undefined ? '' : `${(cpu / against.cpu).toFixed(2)}x`,
    ]);
  }
  return textTable(rows);
}

/** @param file its folder is made if need be */
export function writeJson(file: string, series: readonly Series[]): void {
  mkdirSync(dirname(file), { recursive: true });
  const results = series.map((each) => ({ ...each, median: summary(each) }));
  writeFileSync(
    file,
    `${JSON.stringify({ at: new Date().toISOString(), machine: thisMachine(), results }, null, 2)}\n`,
  );
}
