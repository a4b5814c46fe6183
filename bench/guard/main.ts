// `npm run bench:guard`: figures that do not depend on the clock, against the ones recorded in bench/guard.json. With `--update` they
// are recorded.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Mode } from '../receiver/programs.js';
import { allocationsOf } from './allocations.js';
import {
  compare,
  type Definition,
  type Figure,
  isFailure,
  type Origin,
  type Record,
  report,
} from './figures.js';
import { instructionsOf } from './instructions.js';

const { values } = parseArgs({
  options: {
    update: { type: 'boolean', default: false },
    file: { type: 'string', default: 'bench/guard.json' },
  },
});

const INSTRUCTIONS: Omit<Definition, 'name'> = {
  unit: 'per handover',
  tolerance: 0.02,
  because: 'runs differ by up to 0.7 %: addresses decide how hash tables and copies go.',
};
const SYSTEM_CALLS: Omit<Definition, 'name'> = {
  unit: 'per handover',
  tolerance: 0.005,
  because:
    'two runs do the same; what belongs to a wake-up is shared by 32 handovers, so that one more there is 0.3 %.',
};
const BYTES: Omit<Definition, 'name'> = {
  unit: 'bytes per request',
  tolerance: 0.02,
  because:
    'runs differ by up to 1.3 %: feedback of functions, timers. An object more for each request is 0.2 to 0.6 %.',
};

async function measure(): Promise<Figure[]> {
  const figures: Figure[] = [];
  const native = async (mode: Mode, name: string): Promise<void> => {
    const cost = await instructionsOf(mode);
    if (cost === undefined) {
      process.stdout.write('our receiver keeps no connection: handovers over one channel are not counted\n');
      return;
    }
    figures.push({ name: `native instructions, ${name}`, value: cost.instructions, ...INSTRUCTIONS });
    figures.push({ name: `native system calls, ${name}`, value: cost.systemCalls, ...SYSTEM_CALLS });
  };
  const server = async (kind: 'lean' | 'ordinary', name: string): Promise<void> => {
    const { heap, external } = await allocationsOf(kind);
    // Together: what is given back of buffers that were there before would be a figure below nothing.
    figures.push({ name: `heap and buffers allocated, ${name}`, value: heap + external, ...BYTES });
  };
  await native('each', 'a connection each');
  await native('kept', 'one channel');
  await server('lean', 'a new connection each');
  await server('ordinary', 'a new connection each, not lean');
  return figures.map((figure) => ({ ...figure, value: rounded(figure.value) }));
}

/** To three decimals: the file is read by people. */
const rounded = (value: number): number => Math.round(value * 1000) / 1000;

const version = (program: string): string =>
  execFileSync(program, ['-dumpversion'], { encoding: 'utf8' }).trim();

async function main(): Promise<void> {
  try {
    execFileSync('valgrind', ['--version'], { stdio: 'ignore' });
  } catch {
    process.stderr.write('npm run bench:guard needs valgrind (apt-get install valgrind).\n');
    process.exitCode = 1;
    return;
  }
  const origin: Origin = {
    node: process.version.replace(/\..*/, ''),
    arch: process.arch,
    compiler: `g++ ${version('g++')}`,
  };
  const record = readRecord(values.file);
  const measured = await measure();
  const comparisons = compare(measured, record, origin);
  process.stdout.write(`${report(comparisons, record, origin)}\n`);
  if (values.update) {
    const next: Record = { recorded: origin, figures: measured };
    writeFileSync(values.file, `${JSON.stringify(next, null, 2)}\n`);
    process.stdout.write(`recorded in ${values.file}\n`);
  } else if (comparisons.some(isFailure)) {
    process.exitCode = 1;
  }
}

/** @returns undefined if there is no such file */
function readRecord(file: string): Record | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

await main();
