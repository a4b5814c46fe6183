// Holds the tables of metrics in the documents against the source: names, types and labels, both ways.
import test from 'ava';
import { OVERALL_FAMILIES, PAIR_FAMILIES, type Sample } from '#runtime/stats/families.js';
import { DEFAULT_BUCKETS, Layout } from '#runtime/stats/layout.js';
import { PairTable } from '#runtime/stats/pair-table.js';
import { takeSnapshot } from '#runtime/stats/snapshot.js';
import { documents } from './markdown.js';

const OF_A_PAIR = ['source_tag', 'vip'];

/** Of one sample, besides those that every pair has and that every histogram has. */
const furtherLabels = (samples: readonly Sample[], others: readonly string[]): string[] =>
  Object.keys(samples[0]?.labels ?? {}).filter((label) => label !== 'le' && !others.includes(label));

test('docs/metrics.md has every metric with its type and its labels, and no other', async (t) => {
  const pairs = new PairTable(new Layout(DEFAULT_BUCKETS), 1);
  pairs.pair('tag', '192.0.2.1');
  const snapshot = await takeSnapshot({
    options: { buckets: DEFAULT_BUCKETS, logtail: { lines: { sent: 1 } } },
    pairs,
    handovers: new Map([['tag', Float64Array.of(1, 0, 0)]]),
    errors: new Map([['FDPASS_ERR_NO_FD', 1]]),
    missCount: 0,
  });
  const [pair] = snapshot.pairs;
  const inSource = [
    ...PAIR_FAMILIES.map((family) => {
      const samples = pair === undefined ? [] : family.samples(pair, snapshot);
      return [family.name, family.type, ...furtherLabels(samples, OF_A_PAIR)];
    }),
    ...OVERALL_FAMILIES.map((family) => [
      family.name,
      family.type,
      ...furtherLabels(family.samples(snapshot), []),
    ]),
  ];
  const inDocument = documents()
    .filter(({ path }) => path === 'docs/metrics.md')
    .flatMap(({ tables }) => tables.filter(({ mark }) => mark.name === 'metrics'))
    .flatMap(({ rows }) => rows)
    .map(([name = '', type = '', labels = '']) => [
      name.replaceAll('`', ''),
      type,
      ...(labels.match(/\w+/g) ?? []),
    ]);
  t.deepEqual(inDocument, inSource);
});
