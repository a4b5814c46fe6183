// A line chart as SVG that reads on light and on dark pages: a few series over one axis from 0, with the spread as a band. Knows
// nothing of what is plotted.
import type { Summary } from '../statistics.js';

export interface Series {
  readonly name: string;
  /** One for each x. */
  readonly values: readonly Summary[];
}

export interface Chart {
  readonly title: string;
  /** For readers who do not see it: what it shows. */
  readonly description: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Ascending; from above 0 if logarithmic. */
  readonly xs: readonly number[];
  readonly isLogarithmic: boolean;
  /** At most as many as there are colors: 2. */
  readonly series: readonly Series[];
}

const WIDTH = 760;
const HEIGHT = 360;
const LEFT = 64;
const RIGHT = WIDTH - 96;
const TOP = 56;
const BOTTOM = HEIGHT - 56;
const STEPS = [1, 2, 2.5, 5, 10];
const MAX_TICKS = 5;

const STYLE = `
    text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; font-size: 13px; fill: #59636e; }
    .title { font-size: 16px; font-weight: 600; fill: #1f2328; }
    .panel { fill: #ffffff; stroke: #d1d9e0; }
    .grid { stroke: #d1d9e0; }
    .line { fill: none; stroke-width: 2.2; }
    .band { opacity: 0.16; }
    .name { font-weight: 600; }
    .line.s0 { stroke: #1a7f37; } .band.s0, .dot.s0, .name.s0 { fill: #1a7f37; }
    .line.s1 { stroke: #0969da; } .band.s1, .dot.s1, .name.s1 { fill: #0969da; }
    @media (prefers-color-scheme: dark) {
      text { fill: #9198a1; }
      .title { fill: #f0f6fc; }
      .panel { fill: #0d1117; stroke: #3d444d; }
      .grid { stroke: #3d444d; }
      .line.s0 { stroke: #3fb950; } .band.s0, .dot.s0, .name.s0 { fill: #3fb950; }
      .line.s1 { stroke: #4493f8; } .band.s1, .dot.s1, .name.s1 { fill: #4493f8; }
    }`;

/** @returns the whole file */
export function svg({ title, description, xLabel, yLabel, xs, isLogarithmic, series }: Chart): string {
  const most = Math.max(...series.flatMap(({ values }) => values.map(({ high }) => high)));
  const step = niceStep(most / MAX_TICKS);
  const ticks = Math.ceil(most / step);
  const top = step * ticks;
  const place = isLogarithmic ? Math.log10 : (x: number) => x;
  const [first = 0, last = 1] = [xs.at(0), xs.at(-1)];
  const toX = (x: number) =>
    LEFT + ((place(x) - place(first)) / (place(last) - place(first))) * (RIGHT - LEFT);
  const toY = (y: number) => BOTTOM - (y / top) * (BOTTOM - TOP);
  const points = (values: readonly number[]) =>
    values.map((y, index) => `${rounded(toX(xs[index] ?? 0))},${rounded(toY(y))}`);

  const yTicks = Array.from({ length: ticks + 1 }, (_, index) => index * step).map(
    (y) =>
      `<line class="grid" x1="${LEFT}" x2="${RIGHT}" y1="${rounded(toY(y))}" y2="${rounded(toY(y))}"/>
  <text x="${LEFT - 8}" y="${rounded(toY(y) + 4)}" text-anchor="end">${rounded(y)}</text>`,
  );
  const xTicks = xs.map(
    (x) =>
      `<text x="${rounded(toX(x))}" y="${BOTTOM + 20}" text-anchor="middle">${x.toLocaleString('en')}</text>`,
  );
  const lines = series.map(({ name, values }, index) => {
    const upper = points(values.map(({ high }) => high));
    const lower = points(values.map(({ low }) => low)).reverse();
    const middle = points(values.map(({ median }) => median));
    const dots = middle.map((point) => {
      const [x, y] = point.split(',');
      return `<circle class="dot s${index}" cx="${x}" cy="${y}" r="3.5"/>`;
    });
    const [, endY] = (middle.at(-1) ?? '0,0').split(',').map(Number);
    return `<polygon class="band s${index}" points="${[...upper, ...lower].join(' ')}"/>
  <polyline class="line s${index}" points="${middle.join(' ')}"/>
  ${dots.join('')}
  <text class="name s${index}" x="${RIGHT + 10}" y="${rounded((endY ?? 0) + 4)}">${escaped(name)}</text>`;
  });

  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-labelledby="title desc">
  <title id="title">${escaped(title)}</title>
  <desc id="desc">${escaped(description)}</desc>
  <style>${STYLE}
  </style>
  <rect class="panel" x="1" y="1" width="${WIDTH - 2}" height="${HEIGHT - 2}" rx="12"/>
  <text class="title" x="${LEFT - 40}" y="30">${escaped(title)}</text>
  <text x="${WIDTH - 24}" y="30" text-anchor="end">${escaped(yLabel)}</text>
  ${[...yTicks, ...xTicks].join('\n  ')}
  <text x="${(LEFT + RIGHT) / 2}" y="${BOTTOM + 42}" text-anchor="middle">${escaped(xLabel)}</text>
  ${lines.join('\n  ')}
</svg>
`;
}

/** 1, 2, 2.5 or 5 times a power of ten, at least `step`. */
function niceStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  return (STEPS.find((each) => each * power >= step) ?? 10) * power;
}

const rounded = (value: number): number => Math.round(value * 10) / 10;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
