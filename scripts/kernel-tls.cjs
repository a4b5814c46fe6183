// The suites of test/ktls, as stages: each of them in a User-Mode Linux guest, because few machines have kernel TLS.
const fs = require('node:fs');
const path = require('node:path');
const { run } = require('./child.cjs');
const { hasHeaders, isCurrent } = require('./nginx-module.cjs');
const { filesUnder } = require('./outputs.cjs');
const { SILENCE_MS } = require('./suites.cjs');
const { stageFailed, stageMissing, stagePassed, stageReport } = require('./tally.cjs');
const { TapReport } = require('./tap.cjs');
const { root } = require('./workspace.cjs');

const COMPILED = path.join('build', 'test', 'ktls');
const GUEST = path.join('build', 'test', 'helpers', 'uml', 'main.js');
const AVA = path.join('scripts', 'ava.mjs');
/** For all suites, and by hand. */
const GUEST_TIMEOUT_S = 2400;

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
  const report = new TapReport(
    ({ outcome, title }) => {
      process.stdout.write(`${outcome === 'failed' ? 'FAILED ' : `${outcome.slice(0, 4)}   `}${title}\n`);
    },
    (line) => process.stdout.write(`       ${line}\n`),
  );
  const ava = [process.execPath, AVA, '--config', path.join('test', 'ktls', 'ava.config.js'), '--tap'];
  const { code } = await runGuest(before.concat(ava, files), {
    env: Object.assign({ NODE_EXTRA_CA_CERTS: undefined }, env),
    onOutput: (text) => report.push(text),
    silenceMs: SILENCE_MS,
  });
  return stageReport(report.finish(code));
}

/** nginx as this machine has it. */
async function withThisDebian(files, tally) {
  await tally.stage('Kernel TLS: module for this nginx', () =>
    moduleStage(path.join(MODULE, 'build'), (script) => run(script, [], {})),
  );
  await tally.stage('Kernel TLS: suites with this nginx', () => suiteStage(files, [], {}));
}

const DEBIAN_13_MODULE = path.join(MODULE, 'build', 'debian-13');
const besideDebian13 = (debian) => [path.join(root, 'test', 'ktls', 'beside-debian-13.sh'), debian, root];

/**
 * nginx 1.26 with OpenSSL 3.5, and the module built there: begun at once, since other suites can run while apt and the compiler do.
 * `fetched` and `built` are stages, the second undefined without the first.
 */
function prepareDebian13() {
  const prepared = { root: undefined };
  prepared.fetched = fetchStage('debian-13', (folder) => (prepared.root = folder));
  prepared.built = prepared.fetched.then(() => prepared.root && buildForDebian13(prepared.root));
  return prepared;
}

const buildForDebian13 = (debian) =>
  moduleStage(DEBIAN_13_MODULE, async (script) => {
    const command = besideDebian13(debian).concat('--', 'chroot', debian, script, DEBIAN_13_MODULE);
    const result = await runGuest(command, { writable: [DEBIAN_13_MODULE], quiet: true });
    if (result.code !== 0) process.stderr.write(result.output + result.errors);
    return result;
  });

/** There the kernel decrypts TLS 1.3, too. The clients and Node.js stay this machine's. */
async function withDebian13(files, tally, prepared) {
  await tally.stage('Kernel TLS: files of a Debian 13', () => prepared.fetched);
  if (prepared.root === undefined) return;
  await tally.stage('Kernel TLS: module for the nginx of Debian 13', () => prepared.built);
  await tally.stage('Kernel TLS: suites with the nginx of Debian 13', () =>
    suiteStage(files, besideDebian13(prepared.root).concat('--'), {
      FDPASS_NGINX_ROOT: prepared.root,
      FDPASS_NGINX_MODULE: path.join(DEBIAN_13_MODULE, MODULE_FILE),
    }),
  );
}

/** All compiled suites, relative to the workspace. */
const allSuites = () =>
  filesUnder(path.join(root, COMPILED))
    .map((file) => path.relative(root, file))
    .filter((file) => file.endsWith('.guest.js'))
    .sort();

/** Suites with one of `parts` in their path below test/ktls. */
const suitesMatching = (parts) =>
  allSuites().filter((file) => parts.some((part) => path.relative(COMPILED, file).includes(part)));

/** Runs `files` with this machine's nginx and with Debian 13's. What cannot be had is one skip, or a failure in CI. */
async function runKernelTls(files, tally) {
  let kernel;
  await tally.stage('Kernel TLS: User-Mode Linux', () =>
    hasHeaders()
      ? fetchStage('kernel', (program) => (kernel = program))
      : stageMissing('needs nginx and its headers: apt-get install nginx-light nginx-dev'),
  );
  if (kernel === undefined) return;
  const debian13 = prepareDebian13();
  await withThisDebian(files, tally);
  await withDebian13(files, tally, debian13);
}

module.exports = { allSuites, runGuest, runKernelTls, suitesMatching };
