// The order of measurements: every work on every way in each round, so that a noisy minute hits all ways alike, and the ways take
// turns at going first.
import type { Doer, Metric, Sample, Work } from './works.js';

/** One work on one way: a sample for each round. */
export interface Series {
  readonly work: Work;
  readonly way: Doer;
  readonly samples: Sample[];
}

/** Runs all works for as many rounds as each has. @param onRound told of each round that is done; 0 is the warm-up */
export async function runRounds(works: readonly Work[], onRound: (round: number) => void): Promise<Series[]> {
  const series = works.flatMap((work) => work.ways.map((way): Series => ({ work, way, samples: [] })));
  const last = Math.max(...works.map(({ rounds }) => rounds));
  for (let round = 0; round <= last; round++) {
    for (const work of works.filter(({ rounds, isWarmedUp }) =>
      round === 0 ? isWarmedUp : round <= rounds,
    )) {
      await work.prepare?.();
      const own = series.filter((each) => each.work === work);
      for (const { way, samples } of rotated(own, round)) {
        const sample = await work.measure(way).catch((error: Error) => {
          throw new Error(`${work.name}, ${way}: ${error.message}`, { cause: error });
        });
        if (round > 0) samples.push(sample);
      }
    }
    onRound(round);
  }
  return series;
}

const rotated = <Item>(items: readonly Item[], by: number): Item[] => {
  const first = by % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
};

/** The values of a metric, one for each round; none if it is not noted for this work. */
export const valuesOf = ({ samples }: Series, metric: Metric): number[] =>
  samples.flatMap((sample) => sample[metric] ?? []);
