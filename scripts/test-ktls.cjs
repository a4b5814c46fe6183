// `npm run test:ktls`: the suites of test/ktls, in a User-Mode Linux guest, because few machines have kernel TLS.
// `npm run test:ktls -- nginx` runs only files with that in their path; `npm run test:ktls -- run <command>` any command there.
require('./preflight.cjs').checkMachine();
const fs = require('node:fs');
const path = require('node:path');
const { build } = require('./build.cjs');
const { run } = require('./child.cjs');
const { giveUp, runCommand } = require('./command.cjs');
const { filesUnder } = require('./outputs.cjs');
const { Tally, stageFailed, stagePassed, stageReport } = require('./tally.cjs');
const { TapReport } = require('./tap.cjs');
const { root } = require('./workspace.cjs');

const COMPILED = path.join('build', 'test', 'ktls');
const GUEST = path.join('build', 'test', 'helpers', 'uml', 'main.js');
const AVA = path.join('node_modules', 'ava', 'entrypoints', 'cli.mjs');
/** For all suites, and by hand. */
const GUEST_TIMEOUT_S = 900;

const guestArguments = (command) => [path.join(root, GUEST), String(GUEST_TIMEOUT_S)].concat(command);

const MODULE = path.join(root, 'native', 'nginx');
const modified = (file) => fs.statSync(file).mtimeMs;

/** Builds the nginx module if there is none, or one of its sources is newer. */
async function moduleStage() {
  const built = path.join(MODULE, 'build', 'ngx_http_fd_pass_module.so');
  const sources = filesUnder(path.join(MODULE, 'src')).concat(path.join(MODULE, 'config'));
  if (fs.existsSync(built) && sources.every((file) => modified(file) < modified(built))) return stagePassed();
  const { code } = await run(path.join(MODULE, 'build.sh'), [], {});
  return code === 0 ? stagePassed() : stageFailed('the nginx module could not be built: the reason is above');
}

async function suiteStage(files) {
  const report = new TapReport(({ outcome, title }) => {
    process.stdout.write(`${outcome === 'failed' ? 'FAILED ' : `${outcome.slice(0, 4)}   `}${title}\n`);
  });
  const config = path.join('test', 'ktls', 'ava.config.js');
  const ava = [process.execPath, AVA, '--config', config, '--tap'].concat(files);
  const { code } = await run(process.execPath, guestArguments(ava), {
    env: { NODE_EXTRA_CA_CERTS: undefined },
    onOutput: (text) => report.push(text),
  });
  return stageReport(report.finish(code));
}

async function main(args) {
  build();
  if (args[0] === 'run') {
    const { code } = await run(process.execPath, guestArguments(args.slice(1)), {});
    process.exitCode = code;
    return;
  }
  const all = filesUnder(path.join(root, COMPILED))
    .map((file) => path.relative(root, file))
    .filter((file) => file.endsWith('.guest.js'))
    .sort();
  const files = all.filter(
    (file) => args.length === 0 || args.some((part) => path.relative(COMPILED, file).includes(part)),
  );
  if (files.length === 0)
    giveUp(`No suite matches "${args.join('" or "')}": name a part of a path in test/ktls.`);
  const tally = new Tally({ ci: process.env.CI === 'true', write: (text) => process.stdout.write(text) });
  await tally.stage('Build of the nginx module', moduleStage);
  await tally.stage('Suites with kernel TLS', () => suiteStage(files));
  process.exitCode = tally.finish();
}

runCommand(() => main(process.argv.slice(2)));
