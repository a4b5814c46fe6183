import test from 'ava';
import { isMet, quantile, ratios, summarize } from '../../../bench/statistics.js';

test('quantiles are linear between the two nearest values', (t) => {
  for (const [values, fraction, expected] of [
    [[7], 0.5, 7],
    [[3, 1, 2], 0.5, 2],
    [[4, 1, 3, 2], 0.5, 2.5],
    [[1, 2, 3, 4, 5], 0.25, 2],
    [[1, 2, 3, 4], 0.25, 1.75],
    [[1, 2, 3, 4], 1, 4],
    [[10, 9, 2, 1], 0, 1],
  ] as const) {
    t.is(quantile(values, fraction), expected, JSON.stringify([values, fraction]));
  }
});

test('nothing measured has no median', (t) => {
  t.is(summarize([]).median, Number.NaN);
});

test('the spread is the middle half', (t) => {
  t.deepEqual(summarize([5, 1, 4, 2, 3]), { median: 3, low: 2, high: 4 });
});

test('a round that was slow for both sides does not move the ratio', (t) => {
  t.deepEqual(ratios([20, 200], [10, 100]), [2, 2]);
});

test('rounds without a counterpart are no ratio', (t) => {
  t.throws(() => ratios([1, 2], [1]), { message: /2 rounds against 1/ });
});

test('a bound is kept or missed only with the whole spread on one side of it', (t) => {
  const spread = { median: 1, low: 0.9, high: 1.1 };
  for (const [bound, expected] of [
    [{ atLeast: 0.9 }, true],
    [{ atLeast: 0.91 }, null],
    [{ atLeast: 1.1 }, null],
    [{ atLeast: 1.11 }, false],
    [{ atMost: 1.1 }, true],
    [{ atMost: 1.09 }, null],
    [{ atMost: 0.9 }, null],
    [{ atMost: 0.89 }, false],
  ] as const) {
    t.is(isMet(spread, bound), expected, JSON.stringify(bound));
  }
});

test('what was not measured keeps no bound and misses none', (t) => {
  t.is(isMet(summarize([]), { atLeast: 1 }), null);
});
