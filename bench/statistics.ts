// What a series of rounds says: its median, and how far its middle half spreads.

/** Median and quartiles; the spread that is told is from `low` to `high`. */
export interface Summary {
  readonly median: number;
  /** First quartile. */
  readonly low: number;
  /** Third quartile. */
  readonly high: number;
}

/** Linear between the two nearest values. @param fraction 0 to 1. NaN of nothing */
export function quantile(values: readonly number[], fraction: number): number {
  return sortedQuantile(
    [...values].sort((one, other) => one - other),
    fraction,
  );
}

function sortedQuantile(sorted: readonly number[], fraction: number): number {
  const position = (sorted.length - 1) * fraction;
  const below = sorted[Math.floor(position)] ?? Number.NaN;
  const above = sorted[Math.ceil(position)] ?? Number.NaN;
  return below + (above - below) * (position - Math.floor(position));
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((one, other) => one - other);
  return {
    median: sortedQuantile(sorted, 0.5),
    low: sortedQuantile(sorted, 0.25),
    high: sortedQuantile(sorted, 0.75),
  };
}

/** One ratio for each round: what hit both sides of a round alike cancels out. @throws unless there are as many of both */
export function ratios(values: readonly number[], base: readonly number[]): number[] {
  if (values.length !== base.length) throw new Error(`${values.length} rounds against ${base.length}`);
  return values.map((value, round) => value / (base[round] ?? Number.NaN));
}

/** A bound that a figure is to keep. */
export type Bound = { readonly atLeast: number } | { readonly atMost: number };

/** Whether the bound is kept; null when it is within the spread, or there is nothing to judge by. */
export function isMet({ low, high }: Summary, bound: Bound): boolean | null {
  const [worse, better] =
    'atLeast' in bound
      ? [low - bound.atLeast, high - bound.atLeast]
      : [bound.atMost - high, bound.atMost - low];
  if (worse >= 0) return true;
  return better < 0 ? false : null;
}
