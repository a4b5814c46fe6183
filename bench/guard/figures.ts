// The figures of the guard: what is recorded of them, and what a new measurement says against it. Measures nothing.
import { textTable } from '../text-table.js';

/** What the recorded values depend on beside our code: measured with something else, they are not compared. */
export interface Origin {
  /** Major version: "v20". */
  readonly node: string;
  /** As process.arch has it. */
  readonly arch: string;
  /** Of the addon: "g++ 12". */
  readonly compiler: string;
}

export interface Definition {
  readonly name: string;
  readonly unit: string;
  /** How much more is still the same: 0.02 is 2 %. */
  readonly tolerance: number;
  /** Why it is not less. */
  readonly because: string;
}

export interface Figure extends Definition {
  readonly value: number;
}

/** The committed file, bench/guard.json. */
export interface Record {
  readonly recorded: Origin;
  readonly figures: readonly Figure[];
}

/**
 * `worse`: beyond the tolerance. `missing`: recorded, and no longer measured. `new`: not recorded. `better`: below the tolerance, so that
 * a later regression could hide in the difference. `elsewhere`: recorded with another Node.js or compiler.
 */
export type Verdict = 'same' | 'better' | 'worse' | 'new' | 'missing' | 'elsewhere';

export interface Comparison {
  readonly definition: Definition;
  readonly measured: number | undefined;
  readonly recorded: number | undefined;
  readonly verdict: Verdict;
}

/** Every figure that is measured or recorded. @param record undefined: there is none yet */
export function compare(
  measured: readonly Figure[],
  record: Record | undefined,
  origin: Origin,
): Comparison[] {
  const recorded = record?.figures ?? [];
  const isElsewhere = record !== undefined && !isSame(record.recorded, origin);
  const gone = recorded.filter(({ name }) => measured.every((figure) => figure.name !== name));
  return [
    ...measured.map((figure): Comparison => {
      const known = recorded.find(({ name }) => name === figure.name);
      const definition = known ?? figure;
      const verdict = known === undefined ? 'new' : isElsewhere ? 'elsewhere' : judge(figure.value, known);
      return { definition, measured: figure.value, recorded: known?.value, verdict };
    }),
    ...gone.map(
      (definition): Comparison => ({
        definition,
        measured: undefined,
        recorded: definition.value,
        verdict: 'missing',
      }),
    ),
  ];
}

const isSame = (one: Origin, other: Origin): boolean =>
  one.node === other.node && one.arch === other.arch && one.compiler === other.compiler;

function judge(value: number, { value: recorded, tolerance }: Figure): Verdict {
  if (value > recorded * (1 + tolerance)) return 'worse';
  return value < recorded * (1 - tolerance) ? 'better' : 'same';
}

/** Whether the run is to fail: what is only better, or was recorded elsewhere, is said and no more. */
export const isFailure = ({ verdict }: Comparison): boolean =>
  verdict === 'worse' || verdict === 'new' || verdict === 'missing';

const SAID: Readonly<{ [verdict in Verdict]: string }> = {
  same: '',
  better: 'better: record it (--update)',
  worse: 'WORSE',
  new: 'NOT RECORDED (--update)',
  missing: 'NO LONGER MEASURED',
  elsewhere: 'not compared',
};

/** One line for each figure; then why, for each that failed; then what it was recorded with, if that is something else. */
export function report(
  comparisons: readonly Comparison[],
  record: Record | undefined,
  origin: Origin,
): string {
  const table = textTable([
    ['figure', 'unit', 'now', 'recorded', 'change', 'tolerance', ''],
    ...comparisons.map(({ definition, measured, recorded, verdict }) => [
      definition.name,
      definition.unit,
      measured === undefined ? '' : shown(measured),
      recorded === undefined ? '' : shown(recorded),
      measured === undefined || recorded === undefined ? '' : percent(measured / recorded - 1),
      `${definition.tolerance * 100} %`,
      SAID[verdict],
    ]),
  ]);
  const reasons = comparisons
    .filter(({ verdict }) => verdict === 'worse')
    .map(({ definition }) => `${definition.name}: ${definition.because}`);
  const elsewhere = comparisons.some(({ verdict }) => verdict === 'elsewhere')
    ? [`Recorded with ${told(record?.recorded)}, this is ${told(origin)}: the figures are not compared.`]
    : [];
  return [table, ...reasons, ...elsewhere].join('\n\n');
}

const told = (origin: Origin | undefined): string =>
  origin === undefined ? 'nothing' : `Node.js ${origin.node} on ${origin.arch}, addon by ${origin.compiler}`;

const shown = (value: number): string => value.toFixed(value < 100 ? 2 : 0);

function percent(change: number): string {
  const text = (change * 100).toFixed(1);
  return `${change > 0 ? '+' : ''}${text} %`;
}
