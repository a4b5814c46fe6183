// Runs compiled AVA suites: which files, on which Node.js, with or without coverage.
const fs = require('node:fs');
const path = require('node:path');
const { run } = require('./child.cjs');
const { filesUnder } = require('./outputs.cjs');
const { TapReport } = require('./tap.cjs');
const { stageFailed, stageMissing, stageReport } = require('./tally.cjs');
const { root } = require('./workspace.cjs');

const COMPILED = path.join('build', 'test');
const COVERAGE = path.join('build', 'coverage');
const AVA = path.join('scripts', 'ava.mjs');
// AVA gives up after a minute: this is for AVA itself.
const SILENCE_MS = 150_000;
const C8 = path.join('node_modules', 'c8', 'bin', 'c8.js');

const allTestFiles = () =>
  filesUnder(path.join(root, COMPILED))
    .map((file) => path.relative(root, file))
    .filter((file) => file.endsWith('.test.js'))
    .sort();

/** Compiled test files below one of `folders` (of test/). */
const testFilesIn = (folders) =>
  allTestFiles().filter((file) =>
    folders.some((folder) => file.startsWith(path.join(COMPILED, folder) + path.sep)),
  );

/** Compiled test files that `filter` means: a folder of test/, a source file, or a part of its path. */
function testFilesMatching(filter) {
  const wanted = filter.replace(/^(\.\/)?(build\/)?test\//, '').replace(/\.ts$/, '.js');
  const inFolder = testFilesIn([wanted.replace(/\/$/, '')]);
  return inFolder.length > 0
    ? inFolder
    : allTestFiles().filter((file) => path.relative(COMPILED, file).includes(wanted));
}

/** Runs `files` and resolves to a stage result. With `verbose` every test is a line, else only what did not pass. */
async function runSuites({ files, node = process.execPath, env, verbose }) {
  if (files.length === 0) return stageFailed('there is no test file to run');
  const report = new TapReport(({ outcome, title }) => {
    if (verbose || outcome !== 'passed')
      process.stdout.write(`${outcome === 'failed' ? 'FAILED ' : `${outcome.slice(0, 4)}   `}${title}\n`);
  });
  const { code } = await run(node, [AVA, '--tap'].concat(files), {
    // Newer Node.js reads such a file in the background: a descriptor that comes and goes. No suite leaves the loopback.
    env: Object.assign({ NODE_EXTRA_CA_CERTS: undefined }, env),
    onOutput: (text) => report.push(text),
    silenceMs: SILENCE_MS,
  });
  return stageReport(report.finish(code));
}

/** Like {@link runSuites}, then prints how much of our own TypeScript (not of tests or dependencies) was run. */
async function runSuitesWithCoverage(files) {
  const raw = path.join(COVERAGE, 'raw');
  fs.rmSync(path.join(root, COVERAGE), { recursive: true, force: true });
  const result = await runSuites({ files, env: { NODE_V8_COVERAGE: path.join(root, raw) }, verbose: true });
  const own = ['--all', '--include', 'packages/*/dist/**/*.js', '--include', 'native/addon/dist/**/*.js'];
  const report = ['report', '--temp-directory', raw, '--reports-dir', COVERAGE, '--reporter', 'text-summary'];
  const { code } = await run(process.execPath, [C8].concat(report, own), {});
  if (code !== 0) result.failures.push({ title: 'the coverage report could not be made', details: [] });
  return result;
}

/** Runs `files` on another release line of Node.js, which npx fetches as an npm package if it is not in its cache. */
async function runSuitesOn(major, files) {
  const probe = ['--yes', '-p', `node@${major}`, 'node', '-p', 'process.execPath'];
  const impatient = ['--fetch-retry-mintimeout=500', '--fetch-retry-maxtimeout=2000'];
  const { code, output, errors } = await run('npx', impatient.concat(probe), { quiet: true });
  const node = output.trim();
  if (code !== 0 || !fs.existsSync(node)) {
    const lines = errors.trim().split('\n');
    const why = lines.find((line) => /^npm (error|ERR!) \S+ \S+ /.test(line)) || lines[lines.length - 1];
    return stageMissing(`npx could not fetch it: ${why.replace(/^npm (error|ERR!) /, '')}`);
  }
  // First on PATH, so that a test that starts `node` gets the same one.
  return runSuites({
    files,
    node,
    env: { PATH: `${path.dirname(node)}${path.delimiter}${process.env.PATH}` },
  });
}

module.exports = {
  SILENCE_MS,
  allTestFiles,
  runSuites,
  runSuitesOn,
  runSuitesWithCoverage,
  testFilesIn,
  testFilesMatching,
};
