// The plots of bench:scaling, as files: what is drawn where.
import test from 'ava';
import { type Chart, svg } from '../../bench/scaling/plot.js';

const flat = (value: number) => ({ median: value, low: value, high: value });

const CHART: Chart = {
  title: 'Cost <of> a & b',
  description: 'From 10 to 40.',
  xLabel: 'clients',
  yLabel: 'us',
  xs: [10, 100, 1000],
  isLogarithmic: true,
  series: [
    { name: 'Node.js', values: [flat(10), { median: 20, low: 15, high: 25 }, flat(40)] },
    { name: 'nginx', values: [flat(0), flat(0), flat(0)] },
  ],
};

const pointsOf = (text: string, part: 'line' | 'band'): number[][][] =>
  [...text.matchAll(new RegExp(`class="${part} s\\d" points="([^"]+)"`, 'g'))].map(([, points = '']) =>
    points.split(' ').map((point) => point.split(',').map(Number)),
  );

test('values lie at their places: a decade is as wide as the next, zero is the axis', (t) => {
  const [node = [], nginx = []] = pointsOf(svg(CHART), 'line');
  const [[x0 = 0, y10 = 0] = [], [x1 = 0, y20 = 0] = [], [x2 = 0, y40 = 0] = []] = node;
  t.is(x1 - x0, x2 - x1);
  t.true(Math.abs((y20 - y40) / (y10 - y20) - 2) < 0.01);
  const [[, y0 = 0] = []] = nginx;
  t.true(Math.abs((y0 - y10) / (y10 - y20) - 1) < 0.01);
});

test('without logarithms distances are those of the values', (t) => {
  const [node = []] = pointsOf(svg({ ...CHART, isLogarithmic: false }), 'line');
  const [x0 = 0, x1 = 0, x2 = 0] = node.map(([x]) => x);
  t.true(Math.abs((x2 - x1) / (x1 - x0) - 10) < 0.05);
});

test('the spread is a band around the line', (t) => {
  const text = svg(CHART);
  const [line = []] = pointsOf(text, 'line');
  const [band = []] = pointsOf(text, 'band');
  // There along the upper edge, and back along the lower one; y grows downwards.
  const [middle = 0, upper = 0, lower = 0] = [line[1]?.[1], band[1]?.[1], band[4]?.[1]];
  t.true(upper < middle && middle < lower);
});

test('what is written into it is text', (t) => {
  const text = svg(CHART);
  t.true(text.includes('<title id="title">Cost &lt;of&gt; a &amp; b</title>'));
  t.true(text.includes('<desc id="desc">From 10 to 40.</desc>'));
  t.true(text.includes('>1,000</text>'));
});

test('it has colors for light and for dark pages', (t) => {
  t.true(svg(CHART).includes('@media (prefers-color-scheme: dark)'));
});
