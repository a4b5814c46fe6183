// From series to rows: what each way does, and what the first (fd_pass, our receiver) does against each other one, with its target
// where it has one.
import { isMet, ratios, type Summary, summarize } from '../statistics.js';
import { type Series, valuesOf } from './rounds.js';
import { boundText, TARGETS, type Target } from './targets.js';
import type { Doer, Metric, Work, WorkKey } from './works.js';

export interface Row {
  readonly work: string;
  readonly way: Doer;
  /** null: the figure of one way. */
  readonly against: Doer | null;
  readonly metric: Metric;
  readonly unit: string;
  /** Median of the rounds. */
  readonly value: number;
  /** First and third quartile. */
  readonly spread: readonly [number, number];
  /** Median of the ratios of each round. */
  readonly ratio: number | null;
  readonly ratioSpread: readonly [number, number] | null;
  /** Such as ">= 1.3": of the ratio, or of the value where there is none. */
  readonly target: string | null;
  /** null: no target, not enough rounds to judge, or the spread straddles the target. */
  readonly met: boolean | null;
  readonly rounds: number;
}

const METRICS: readonly Metric[] = [
  'rate',
  'p50',
  'p99',
  'CPU',
  'CPU of nginx',
  'CPU of Node.js',
  "nginx's share of CPU",
  'memory',
  'memory of nginx',
  'memory of Node.js',
  'memory of the kernel',
];
const COMPARED: readonly Metric[] = ['rate', 'CPU', 'p50', 'p99', 'memory'];

/** @param isJudged whether the run is enough to say that a target is met */
export function rowsOf(series: readonly Series[], isJudged: boolean): Row[] {
  const works = [...new Set(series.map(({ work }) => work))];
  return works.flatMap((work) => {
    const own = series.filter((each) => each.work === work);
    const subject = own.find(isSubject);
    const others = own.filter((each) => each !== subject);
    return [
      ...own.flatMap((each) => METRICS.flatMap((metric) => figure(each, metric, isJudged) ?? [])),
      ...others.flatMap((base) =>
        COMPARED.flatMap((metric) => (subject && comparison(subject, base, metric, isJudged)) ?? []),
      ),
    ];
  });
}

const isSubject = ({ work, way }: Series): boolean => way === work.ways[0];

function figure(each: Series, metric: Metric, isJudged: boolean): Row | undefined {
  const values = inUnits(each, metric);
  if (values.length === 0) return undefined;
  const summary = summarize(values);
  const target = isSubject(each) ? targetFor(each.work.key, metric, undefined) : undefined;
  return {
    ...common(each, metric, summary),
    against: null,
    ratio: null,
    ratioSpread: null,
    ...verdict(target, summary, isJudged),
  };
}

function comparison(subject: Series, base: Series, metric: Metric, isJudged: boolean): Row | undefined {
  const values = inUnits(subject, metric);
  if (values.length === 0) return undefined;
  const ratio = summarize(ratios(values, inUnits(base, metric)));
  return {
    ...common(subject, metric, summarize(values)),
    against: base.way,
    ratio: ratio.median,
    ratioSpread: [ratio.low, ratio.high],
    ...verdict(targetFor(subject.work.key, metric, base.way), ratio, isJudged),
  };
}

const common = ({ work, way, samples }: Series, metric: Metric, { median, low, high }: Summary) => ({
  work: work.name,
  way,
  metric,
  unit: unitOf(work, metric).name,
  value: median,
  spread: [low, high] as const,
  rounds: samples.length,
});

const targetFor = (key: WorkKey, metric: Metric, base: Doer | undefined): Target | undefined =>
  TARGETS.find(({ work, metric: its, against }) => work === key && its === metric && against === base);

const verdict = (target: Target | undefined, summary: Summary, isJudged: boolean) => ({
  target: target === undefined ? null : boundText(target.bound),
  met: target === undefined || !isJudged ? null : isMet(summary, target.bound),
});

const inUnits = (series: Series, metric: Metric): number[] => {
  const { perBase } = unitOf(series.work, metric);
  return valuesOf(series, metric).map((value) => value * perBase);
};

/** How a metric is told, and what it is multiplied with for that: samples are in seconds and bytes, latencies in milliseconds, shares of 1. */
function unitOf({ unit }: Work, metric: Metric): { name: string; perBase: number } {
  const isCounted = unit === 'request' || unit === 'handover';
  if (metric === 'rate') return { name: isCounted ? `${unit}s/s` : `${unit}/s`, perBase: 1 };
  if (metric === 'p50' || metric === 'p99') return { name: 'ms', perBase: 1 };
  if (metric === "nginx's share of CPU") return { name: '%', perBase: 100 };
  if (metric.startsWith('CPU')) {
    return isCounted ? { name: `us/${unit}`, perBase: 1e6 } : { name: `ms/${unit}`, perBase: 1e3 };
  }
  return unit === 'client' ? { name: 'KiB/client', perBase: 2 ** -10 } : { name: 'MiB', perBase: 2 ** -20 };
}
