// `npm run test:ktls`: the suites of test/ktls, in a User-Mode Linux guest, because few machines have kernel TLS.
// `npm run test:ktls -- nginx` runs only files with that in their path; `npm run test:ktls -- run <command>` any command there.
require('./preflight.cjs').checkMachine();
const fs = require('node:fs');
const path = require('node:path');
const { build } = require('./build.cjs');
const { run } = require('./child.cjs');
const { giveUp, runCommand } = require('./command.cjs');
const { isCurrent } = require('./nginx-module.cjs');
const { filesUnder } = require('./outputs.cjs');
const { Tally, stageFailed, stageMissing, stagePassed, stageReport } = require('./tally.cjs');
const { TapReport } = require('./tap.cjs');
const { root } = require('./workspace.cjs');

const COMPILED = path.join('build', 'test', 'ktls');
const GUEST = path.join('build', 'test', 'helpers', 'uml', 'main.js');
const AVA = path.join('node_modules', 'ava', 'entrypoints', 'cli.mjs');
/** For all suites, and by hand. */
const GUEST_TIMEOUT_S = 900;

const MODULE = path.join(root, 'native', 'nginx');
const MODULE_FILE = 'ngx_http_fd_pass_module.so';

/** Runs a command in a guest. `options` are of scripts/child.cjs, and `writable` folders. */
function runGuest(command, options) {
  const writable = (options.writable || []).reduce((args, folder) => args.concat('--writable', folder), []);
  const args = [GUEST, 'run'].concat(writable, String(GUEST_TIMEOUT_S), command);
  return run(process.execPath, args, options);
}

/** What the guest is made of and may have to be downloaded: without it the rest is skipped. */
async function fetchStage(what, found) {
  const { code, output, errors } = await run(process.execPath, [GUEST, what], { quiet: true });
  if (code !== 0) return stageMissing(errors.trim());
  found(output.trim());
  return stagePassed();
}

/** Builds the module into `folder` with `build(script)`, unless there is a current one. */
async function moduleStage(folder, build) {
  if (isCurrent(path.join(folder, MODULE_FILE))) return stagePassed();
  fs.mkdirSync(folder, { recursive: true });
  const { code } = await build(path.join(MODULE, 'build.sh'));
  return code === 0 ? stagePassed() : stageFailed('it could not be built: the reason is above');
}

/** Runs `files`; `before` is what the command begins with. */
async function suiteStage(files, before, env) {
  const report = new TapReport(({ outcome, title }) => {
    process.stdout.write(`${outcome === 'failed' ? 'FAILED ' : `${outcome.slice(0, 4)}   `}${title}\n`);
  });
  const ava = [process.execPath, AVA, '--config', path.join('test', 'ktls', 'ava.config.js'), '--tap'];
  const { code } = await runGuest(before.concat(ava, files), {
    env: Object.assign({ NODE_EXTRA_CA_CERTS: undefined }, env),
    onOutput: (text) => report.push(text),
  });
  return stageReport(report.finish(code));
}

/** nginx as this machine has it. */
async function withThisDebian(files, tally) {
  await tally.stage('Module for this nginx', () =>
    moduleStage(path.join(MODULE, 'build'), (script) => run(script, [], {})),
  );
  await tally.stage('Suites with this nginx', () => suiteStage(files, [], {}));
}

/** nginx 1.26 with OpenSSL 3.5, where the kernel decrypts TLS 1.3, too. The clients and Node.js stay this machine's. */
async function withDebian13(files, tally) {
  let debian;
  const fetching = () => fetchStage('debian-13', (folder) => (debian = folder));
  await tally.stage('Files of a Debian 13', fetching);
  if (debian === undefined) return;
  const folder = path.join(MODULE, 'build', 'debian-13');
  const beside = [path.join(root, 'test', 'ktls', 'beside-debian-13.sh'), debian, root];
  await tally.stage('Module for the nginx of Debian 13', () =>
    moduleStage(folder, (script) => {
      const build = beside.concat('--', 'chroot', debian, script, folder);
      return runGuest(build, { writable: [folder] });
    }),
  );
  await tally.stage('Suites with the nginx of Debian 13', () =>
    suiteStage(files, beside.concat('--'), {
      FDPASS_NGINX_ROOT: debian,
      FDPASS_NGINX_MODULE: path.join(folder, MODULE_FILE),
    }),
  );
}

async function main(args) {
  build();
  if (args[0] === 'run') {
    const { code } = await runGuest(args.slice(1), {});
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
  let kernel;
  const fetching = () => fetchStage('kernel', (program) => (kernel = program));
  await tally.stage('User-Mode Linux', fetching);
  if (kernel !== undefined) {
    await withThisDebian(files, tally);
    await withDebian13(files, tally);
  }
  process.exitCode = tally.finish();
}

runCommand(() => main(process.argv.slice(2)));
