// `npm run bench:scaling`: what a handover costs when there are many connections, many headers or many early bytes. Writes the
// figures and the plots of docs/performance.md.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../machine.js';
import { descriptorsUpTo, Lack, nginxVersion, requireMachine } from '../nginx/requirements.js';
import { type Summary, summarize } from '../statistics.js';
import { textTable } from '../text-table.js';
import { svg } from './plot.js';
import { type Cost, connectionsSweep, earlyBytesSweep, headersSweep, type Sweep } from './sweeps.js';

const { values } = parseArgs({
  options: {
    module: { type: 'string', default: 'native/nginx/build/ngx_http_fd_pass_module.so' },
    rounds: { type: 'string', default: '4' },
    connections: { type: 'string', default: '20000' },
    out: { type: 'string', default: 'bench/results/scaling.json' },
    images: { type: 'string', default: 'docs/images' },
  },
});

/** Of a process with many clients: its other files, connections under way, and what a receiver keeps free. */
const SPARE_DESCRIPTORS = 300;

interface Result {
  readonly key: Sweep['key'];
  readonly unit: 'us/handover';
  readonly points: readonly { readonly x: number; readonly nginx: Summary; readonly node: Summary }[];
}

async function main(): Promise<void> {
  requireMachine(values.module);
  const wanted = Number(values.connections);
  const most = Math.min(wanted, descriptorsUpTo(wanted + SPARE_DESCRIPTORS) - SPARE_DESCRIPTORS);
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-scaling-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  // Nothing is downloaded.
  const scene = { folder, module: resolve(values.module), download: folder };

  const sweeps = [
    await connectionsSweep(scene, most),
    await headersSweep(scene),
    await earlyBytesSweep(scene),
  ];
  const costs = new Map(sweeps.map((sweep) => [sweep, [] as Cost[][]]));
  try {
    // The first round warms code and connections; it does not count.
    for (let round = 0; round <= Number(values.rounds); round++) {
      for (const sweep of sweeps) {
        const measured = await sweep.round();
        if (round > 0) costs.get(sweep)?.push(measured);
      }
      process.stdout.write(round === 0 ? 'warmed up\n' : `round ${round} of ${values.rounds}\n`);
    }
  } finally {
    await Promise.all(sweeps.map((sweep) => sweep.close()));
  }

  const results = sweeps.map((sweep) => resultOf(sweep, costs.get(sweep) ?? []));
  mkdirSync(dirname(values.out), { recursive: true });
  mkdirSync(values.images, { recursive: true });
  const machine = { ...thisMachine(), nginx: nginxVersion() };
  const written = { machine, date: new Date().toISOString(), rounds: Number(values.rounds), results };
  writeFileSync(values.out, `${JSON.stringify(written, null, 2)}\n`);
  for (const [index, sweep] of sweeps.entries()) {
    const { points = [] } = results[index] ?? {};
    writeFileSync(join(values.images, `scaling-${sweep.key}.svg`), plot(sweep, points));
    process.stdout.write(`\n${table(sweep, points)}\n`);
  }
  process.stdout.write(
    `\nMedians of ${values.rounds} rounds; ${values.out} has the spread, ${values.images} the plots.\n`,
  );
}

const resultOf = ({ key, xs }: Sweep, rounds: readonly Cost[][]): Result => ({
  key,
  unit: 'us/handover',
  points: xs.map((x, index) => ({
    x,
    nginx: summarize(rounds.map((costs) => costs[index]?.nginx ?? Number.NaN)),
    node: summarize(rounds.map((costs) => costs[index]?.node ?? Number.NaN)),
  })),
});

const plot = ({ title, xLabel, isLogarithmic, xs }: Sweep, points: Result['points']): string =>
  svg({
    title,
    xLabel,
    isLogarithmic,
    xs,
    yLabel: 'CPU time, us',
    description: `CPU time of nginx and of Node.js for one handover with its request, in microseconds: ${points
      .map(({ x, nginx, node }) => `at ${x} ${nginx.median.toFixed(0)} and ${node.median.toFixed(0)}`)
      .join(', ')}.`,
    series: [
      { name: 'Node.js', values: points.map(({ node }) => node) },
      { name: 'nginx', values: points.map(({ nginx }) => nginx) },
    ],
  });

const table = ({ xLabel }: Sweep, points: Result['points']): string =>
  textTable([
    [xLabel, 'nginx, us', 'Node.js, us'],
    ...points.map(({ x, nginx, node }) => [String(x), nginx.median.toFixed(1), node.median.toFixed(1)]),
  ]);

main().catch((error: unknown) => {
  const message =
    error instanceof Lack ? error.message : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`${message}\n`);
  process.exit(1);
});
