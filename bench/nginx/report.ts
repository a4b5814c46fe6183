// What people and programs read of a run: two tables, and a JSON file.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Machine, thisMachine } from '../machine.js';
import { textTable } from '../text-table.js';
import { nginxVersion } from './requirements.js';
import type { Row } from './rows.js';

/** The JSON file. */
export interface Results {
  readonly machine: Machine & { readonly nginx: string };
  /** ISO 8601, when the run ended. */
  readonly date: string;
  readonly rows: readonly Row[];
}

/** @param file its folder is made if need be */
export function writeResults(file: string, rows: readonly Row[]): void {
  mkdirSync(dirname(file), { recursive: true });
  const machine = { ...thisMachine(), nginx: nginxVersion() };
  const results: Results = { machine, date: new Date().toISOString(), rows };
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
}

/** A table for each work: what was measured, a line for each way. */
export function figuresTables(rows: readonly Row[]): string {
  const figures = rows.filter(({ against }) => against === null);
  const unique = <Item>(items: readonly Item[]): Item[] => [...new Set(items)];
  const tables = unique(figures.map(({ work }) => work)).map((work) => {
    const own = figures.filter((row) => row.work === work);
    const metrics = unique(own.map(({ metric, unit }) => `${metric}, ${unit}`));
    const lines = unique(own.map(({ way }) => way)).map((way) => [
      way,
      ...metrics.map((name) => {
        const row = own.find((each) => each.way === way && `${each.metric}, ${each.unit}` === name);
        return row === undefined ? '' : rounded(row.value);
      }),
    ]);
    return `${work}\n${textTable([['', ...metrics], ...lines])}`;
  });
  return tables.join('\n\n');
}

const VERDICT = new Map<boolean | null, string>([
  [true, 'met'],
  [false, 'missed'],
  [null, 'open'],
]);

/** One line for each target: how fd_pass, or our receiver, stands. */
export function targetsTable(rows: readonly Row[]): string {
  return textTable([
    ['work', 'against', 'metric', 'figure', 'middle half', 'target', ''],
    ...rows
      .filter(({ target }) => target !== null)
      .map(({ work, against, metric, value, spread, ratio, ratioSpread, target, met }) => [
        work,
        against ?? '',
        metric,
        ratio === null ? rounded(value) : `${rounded(ratio)}x`,
        (ratioSpread ?? spread).map(rounded).join(' to '),
        target ?? '',
        VERDICT.get(met) ?? '',
      ]),
  ]);
}

/** Three digits, or all of a whole number. */
const rounded = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));
