// `npm test`: every check this machine can run, in stages, and one line of totals at the end.
// `npm test -- unit` (a folder of test/, or a part of a file's path) runs only those suites.
require('./preflight.cjs').checkMachine();
const path = require('node:path');
const { build } = require('./build.cjs');
const { run } = require('./child.cjs');
const { Failure, giveUp } = require('./command.cjs');
const { allSuites, runKernelTls } = require('./kernel-tls.cjs');
const { buildNginxModule } = require('./nginx-module.cjs');
const suites = require('./suites.cjs');
const { Tally, stageFailed, stageMissing, stagePassed } = require('./tally.cjs');

// The addon is one N-API binary for all of these, so what touches it is run on each.
const NODE_MAJORS = [20, 22, 24, 26];
const NATIVE_FOLDERS = ['native', 'integration', 'contract'];
// Then the last line on its stderr says what is missing.
const SANITIZER_SKIPPED = 77;

async function buildStage() {
  try {
    build();
    buildNginxModule();
    return stagePassed();
  } catch (error) {
    if (error instanceof Failure) return stageFailed(error.message);
    throw error;
  }
}

async function lintStage() {
  const biome = path.join('node_modules', '@biomejs', 'biome', 'bin', 'biome');
  const { code } = await run(process.execPath, [biome, 'check', '.'], {});
  return code === 0 ? stagePassed() : stageFailed('biome found the problems above');
}

async function sanitizerStage() {
  const script = path.join(__dirname, 'sanitize-native.cjs');
  const { code, errors } = await run(process.execPath, [script], { keepErrors: true });
  if (code === SANITIZER_SKIPPED) return stageMissing(errors.trim().split('\n').pop());
  return code === 0 ? stagePassed() : stageFailed('the sanitizers found the problems above');
}

async function everything(tally) {
  if (!(await tally.stage('Build and type-check', buildStage))) return;
  await tally.stage('Lint', lintStage);
  await tally.stage(`Tests, Node.js ${process.versions.node}`, () =>
    suites.runSuitesWithCoverage(suites.allTestFiles()),
  );
  await tally.stage('Native code under sanitizers', sanitizerStage);
  const running = Number(process.versions.node.split('.')[0]);
  for (const major of NODE_MAJORS.filter((candidate) => candidate !== running)) {
    await tally.stage(`Native and integration tests, Node.js ${major}`, () =>
      suites.runSuitesOn(major, suites.testFilesIn(NATIVE_FOLDERS)),
    );
  }
  await runKernelTls(allSuites(), tally);
}

async function only(filters, tally) {
  if (!(await tally.stage('Build and type-check', buildStage))) return;
  const files = new Set();
  for (const filter of filters) {
    const matching = suites.testFilesMatching(filter);
    if (matching.length === 0)
      giveUp(`No test file matches "${filter}": name a folder of test/ or a part of a path in it.`);
    for (const file of matching) files.add(file);
  }
  await tally.stage(`Tests (${filters.join(', ')})`, () =>
    suites.runSuites({ files: Array.from(files), verbose: true }),
  );
}

async function main(filters) {
  const tally = new Tally({ ci: process.env.CI === 'true', write: (text) => process.stdout.write(text) });
  await (filters.length > 0 ? only(filters, tally) : everything(tally));
  process.exitCode = tally.finish();
}

main(process.argv.slice(2));
