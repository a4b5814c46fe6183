import test from 'ava';
import type { Series } from '../../../bench/nginx/rounds.js';
import { rowsOf } from '../../../bench/nginx/rows.js';
import type { WayName } from '../../../bench/nginx/ways.js';
import type { Sample, Work } from '../../../bench/nginx/works.js';

const work: Work = {
  key: 'kept-alive',
  name: 'hello',
  unit: 'request',
  ways: ['fd_pass', 'proxy_pass'],
  rounds: 3,
  isWarmedUp: true,
  measure: async () => ({}),
};

const series = (way: WayName, samples: Sample[], of: Work = work): Series => ({ work: of, way, samples });

const sampled = (rates: number[], cpuMicroseconds: number): Sample[] =>
  rates.map((rate) => ({ rate, CPU: cpuMicroseconds * 1e-6 }));

const both = [
  series('fd_pass', sampled([300, 200, 250], 5)),
  series('proxy_pass', sampled([100, 100, 100], 10)),
];

test('each way has its figures, in the units of the table', (t) => {
  const row = rowsOf(both, true).find(
    ({ way, against, metric }) => way === 'proxy_pass' && against === null && metric === 'CPU',
  );
  t.is(row?.unit, 'us/request');
  t.is(Math.round(row?.value ?? 0), 10);
  t.is(row?.ratio, null);
  t.is(row?.target, null);
  t.is(row?.rounds, 3);
});

test('fd_pass is compared round by round, with the spread of the ratios, and judged by its target', (t) => {
  const rows = rowsOf(both, true).filter(({ against }) => against === 'proxy_pass');
  t.deepEqual(
    rows.map(({ metric, ratio, ratioSpread, target, met }) => ({ metric, ratio, ratioSpread, target, met })),
    [
      { metric: 'rate', ratio: 2.5, ratioSpread: [2.25, 2.75], target: '>= 1.3', met: true },
      { metric: 'CPU', ratio: 0.5, ratioSpread: [0.5, 0.5], target: '<= 0.7', met: true },
    ],
  );
});

test('a target within the spread is left open', (t) => {
  const wide = [series('fd_pass', sampled([100, 140, 160], 5)), both[1] as Series];
  t.is(rowsOf(wide, true).find(({ target }) => target === '>= 1.3')?.met, null);
});

test('a short run has the same rows and judges nothing', (t) => {
  const whole = rowsOf(both, true);
  t.deepEqual(
    rowsOf(both, false),
    whole.map((row) => ({ ...row, met: null })),
  );
});

test("nginx's share is judged by itself, in percent", (t) => {
  const upload: Work = { ...work, key: 'upload', name: 'upload', unit: 'GB' };
  const samples = [{ "nginx's share of CPU": 0.01 }];
  const rows = rowsOf([series('fd_pass', samples, upload), series('proxy_pass', samples, upload)], true);
  t.deepEqual(
    rows.map(({ way, value, unit, target, met }) => ({ way, value, unit, target, met })),
    [
      { way: 'fd_pass', value: 1, unit: '%', target: '<= 2', met: true },
      { way: 'proxy_pass', value: 1, unit: '%', target: null, met: null },
    ],
  );
});
