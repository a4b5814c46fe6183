import test from 'ava';
import { CELL, DEFAULT_BUCKETS, Layout, WINDOWS_S } from '#runtime/stats/layout.js';
import { Pair } from '#runtime/stats/pair.js';
import { PairTable } from '#runtime/stats/pair-table.js';

const layout = new Layout({ ...DEFAULT_BUCKETS, durationSeconds: [0.1, 1] });
const newPair = (): Pair => new Pair(layout, 'tag', '192.0.2.1');

for (const [status, code] of [
  [0, 0],
  [99, 0],
  [101, 1],
  [200, 2],
  [299, 2],
  [304, 3],
  [421, 4],
  [599, 5],
  [600, 0],
] as const) {
  test(`a request with status ${status} is counted in place ${code}`, (t) => {
    const pair = newPair();
    pair.countRequest(status, 3, 4);
    t.deepEqual(
      [...pair.cells.subarray(CELL.REQUESTS, CELL.REQUESTS + 6)],
      [0, 1, 2, 3, 4, 5].map((at) => (at === code ? 1 : 0)),
    );
    t.is(pair.requests, 1);
    t.is(pair.cells[CELL.REQUEST_PAYLOAD_BYTES], 3);
    t.is(pair.cells[CELL.RESPONSE_PAYLOAD_BYTES], 4);
  });
}

test('a bound belongs to its own bucket; what is above the last one has a place of its own', (t) => {
  const pair = newPair();
  for (const seconds of [0, 0.1, 0.1000001, 1, 1.5, 100]) pair.recordDuration(seconds);
  const { counts, sum } = layout.duration.read(pair.cells);
  t.deepEqual(counts, [2, 2, 2]);
  t.is(sum, 102.7000001);
});

test('the histograms of a pair have nothing in common', (t) => {
  const pair = newPair();
  pair.recordDuration(5);
  pair.recordUpgraded(90_000);
  pair.countRequest(200, 50, 2e9);
  const last = (counts: readonly number[]): number => counts.at(-1) as number;
  t.is(last(layout.duration.read(pair.cells).counts), 1);
  t.is(last(layout.upgraded.read(pair.cells).counts), 1);
  t.is(last(layout.responseBytes.read(pair.cells).counts), 1);
  t.deepEqual(layout.requestBytes.read(pair.cells), { counts: [0, 1, 0, 0, 0, 0, 0, 0, 0], sum: 50 });
});

test('rates come to what is steady, the short window first, and go back to nothing', (t) => {
  const pair = newPair();
  const rates = (): number[] => WINDOWS_S.map((_window, at) => pair.cells[CELL.REQUEST_RATES + at] as number);
  const second = (requests: number): void => {
    for (let count = 0; count < requests; count++) pair.countRequest(200, 0, 10);
    pair.updateRates(1);
  };
  second(100);
  const [short = 0, middle = 0, long = 0] = rates();
  t.true(short > 60 && short < 65, `${short}`);
  t.true(middle > 9 && middle < 10, `${middle}`);
  t.true(long > 1.6 && long < 1.7, `${long}`);
  for (let count = 0; count < 600; count++) second(100);
  for (const rate of rates()) t.true(Math.abs(rate - 100) < 0.1, `${rate}`);
  t.true(Math.abs((pair.cells[CELL.BYTE_RATES] as number) - 1000) < 1);
  for (let count = 0; count < 3600; count++) second(0);
  t.deepEqual(rates(), [0, 0, 0]);
});

test('the same tag and address are the same pair; beyond the limit all are one', (t) => {
  const table = new PairTable(layout, 2);
  const first = table.pair('a', '192.0.2.1');
  t.is(table.pair('a', '192.0.2.1'), first);
  t.not(table.pair('b', '192.0.2.1'), first);
  t.is(table.overflowCount, 0);
  const overflow = table.pair('a', '192.0.2.2');
  t.is(table.pair('c', '192.0.2.3'), overflow);
  t.is(table.pair('a', '192.0.2.1'), first, 'those that have a place keep it');
  t.is(table.overflowCount, 2);
  t.deepEqual(
    table.pairs.map(({ sourceTag, vip }) => [sourceTag, vip]),
    [
      ['a', '192.0.2.1'],
      ['b', '192.0.2.1'],
      ['overflow', 'overflow'],
    ],
  );
});
