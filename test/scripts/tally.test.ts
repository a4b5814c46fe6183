import { createRequire } from 'node:module';
import { join } from 'node:path';
import test from 'ava';
import { repositoryRoot } from './stand-in-workspace.js';

interface StageResult {
  readonly passed: number;
}
interface Tally {
  stage(title: string, body: () => Promise<StageResult>): Promise<boolean>;
  finish(): number;
}
const { Tally, stageFailed, stageMissing, stagePassed, stageReport } = createRequire(import.meta.url)(
  join(repositoryRoot, 'scripts', 'tally.cjs'),
) as {
  Tally: new (options: { ci: boolean; write(text: string): void }) => Tally;
  stageFailed(reason: string): StageResult;
  stageMissing(reason: string): StageResult;
  stagePassed(): StageResult;
  stageReport(report: { passed: number; failures: object[]; skips: string[] }): StageResult;
};

async function print(ci: boolean, stages: Record<string, StageResult>) {
  let text = '';
  const tally = new Tally({ ci, write: (piece) => (text += piece) });
  for (const [title, result] of Object.entries(stages)) await tally.stage(title, async () => result);
  const exitCode = tally.finish();
  return { text, exitCode, lines: text.trimEnd().split('\n') };
}

test('a passed stage counts as one, a suite as its tests', async (t) => {
  const { lines, exitCode } = await print(false, {
    Lint: stagePassed(),
    Tests: stageReport({ passed: 12, failures: [], skips: [] }),
  });
  t.is(lines.at(-1), '13 passed, 0 failed, 0 skipped');
  t.is(exitCode, 0);
});

test('each skip and each failure is listed again with its stage, then comes the line of totals', async (t) => {
  const failure = { title: 'reads', details: ['    message: no'] };
  const { text, exitCode } = await print(false, {
    Lint: stageFailed('problems above'),
    Tests: stageReport({ passed: 2, failures: [failure], skips: ['loads (needs wrk: apt-get install wrk)'] }),
    'Node.js 26': stageMissing('no network'),
  });
  t.is(exitCode, 1);
  t.true(
    text.endsWith(`
Skipped:
  Tests: loads (needs wrk: apt-get install wrk)
  Node.js 26: no network

Failed:
  Lint: problems above
  Tests: reads
    message: no

2 passed, 2 failed, 2 skipped
`),
    text,
  );
});

test('in CI a stage that cannot run here has failed', async (t) => {
  const { lines, exitCode } = await print(true, { 'Node.js 26': stageMissing('no network') });
  t.is(lines.at(-1), '0 passed, 1 failed, 0 skipped');
  t.true(lines.includes('  Node.js 26: no network'));
  t.is(exitCode, 1);
});

test('a stage prints a heading, its own counts and its time', async (t) => {
  const { text } = await print(false, { Lint: stagePassed() });
  t.regex(text, /^\n== Lint\n-- Lint: 1 passed, 0 failed, 0 skipped \(\d+\.\d s\)\n/);
});
