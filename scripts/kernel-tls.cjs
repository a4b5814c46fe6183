// The suites of test/ktls, as stages: each of them in a User-Mode Linux guest, because few machines have kernel TLS.
const fs = require('node:fs');
const path = require('node:path');
const { run } = require('./child.cjs');
const { hasHeaders, isCurrent } = require('./nginx-module.cjs');
const { filesUnder } = require('./outputs.cjs');
const { SILENCE_MS } = require('./suites.cjs');
const { SideBySide } = require('./side-by-side.cjs');
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

/** Runs a command in a guest. `options` are of scripts/child.cjs, and of the guest `kernel`, `processor` and `writable` folders. */
function runGuest(command, options) {
  const settings = [['timeout', GUEST_TIMEOUT_S]]
    .concat(options.kernel ? [['kernel', options.kernel]] : [])
    .concat(options.processor ? [['processor', options.processor]] : [])
    .concat((options.writable || []).map((folder) => ['writable', folder]));
  const args = settings.reduce(
    (list, [name, value]) => list.concat(`--${name}`, String(value)),
    [GUEST, 'run'],
  );
  return run(process.execPath, args.concat('--', command), options);
}

/** What guests are made of and may have to be downloaded: without it the rest is skipped. `found` is told where it is. */
async function fetchStage(what, found) {
  const { code, output, errors } = await run(process.execPath, [GUEST].concat(what), { quiet: true });
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

/** Runs `files` in a guest; `before` is what the command begins with, the rest is of {@link runGuest}. */
async function suiteStage(files, write, { before = [], env, kernel, processor }) {
  const report = new TapReport(
    ({ outcome, title }) => {
      write(`${outcome === 'failed' ? 'FAILED ' : `${outcome.slice(0, 4)}   `}${title}\n`);
    },
    (line) => write(`       ${line}\n`),
  );
  const ava = [process.execPath, AVA, '--config', path.join('test', 'ktls', 'ava.config.js'), '--tap'];
  const { code } = await runGuest(before.concat(ava, files), {
    kernel,
    processor,
    env: Object.assign({ NODE_EXTRA_CA_CERTS: undefined }, env),
    onOutput: (text) => report.push(text),
    silenceMs: SILENCE_MS,
  });
  return stageReport(report.finish(code));
}

const DEBIAN_13_MODULE = path.join(MODULE, 'build', 'debian-13');
const besideDebian13 = (debian) => [path.join(root, 'test', 'ktls', 'beside-debian-13.sh'), debian, root];

/** On the newest kernel, which starts processes in half of the time: a compiler is many of them. */
const buildForDebian13 = (debian) =>
  moduleStage(DEBIAN_13_MODULE, async (script) => {
    const command = besideDebian13(debian).concat('--', 'chroot', debian, script, DEBIAN_13_MODULE);
    const guest = { kernel: 'forky', processor: 1, writable: [DEBIAN_13_MODULE] };
    const result = await runGuest(command, Object.assign({ quiet: true }, guest));
    if (result.code !== 0) process.stderr.write(result.output + result.errors);
    return result;
  });

/** Its nginx; the clients and Node.js stay this machine's. */
const withDebian13 = (debian) => ({
  before: besideDebian13(debian).concat('--'),
  env: { FDPASS_NGINX_ROOT: debian, FDPASS_NGINX_MODULE: path.join(DEBIAN_13_MODULE, MODULE_FILE) },
});

/** All compiled suites, relative to the workspace. */
const allSuites = () =>
  filesUnder(path.join(root, COMPILED))
    .map((file) => path.relative(root, file))
    .filter((file) => file.endsWith('.guest.js'))
    .sort();

/** Suites whose outcome depends on what the kernel does with records. */
const isAboutKernel = (file) =>
  /(full-endings|unreadable-records|own-records|key-update|mismatch|back-pressure|full-buffers)\.guest/.test(
    file,
  );

/** Suites with one of `parts` in their path below test/ktls. */
const suitesMatching = (parts) =>
  allSuites().filter((file) => parts.some((part) => path.relative(COMPILED, file).includes(part)));

/**
 * Runs `files` on the pairs of a kernel and a web server that people have, two guests at a time, each on a processor of its own. What
 * cannot be had is a skip, or a failure in CI.
 */
async function runKernelTls(files, tally) {
  if (!hasHeaders()) {
    const reason = 'needs nginx and its headers: apt-get install nginx-light nginx-dev';
    await tally.stage('Kernel TLS', () => stageMissing(reason));
    return;
  }
  const stages = new SideBySide();
  const add = (title, order, body) => stages.add(`Kernel TLS: ${title}`, order, body);
  const fetched = (title, ...what) => add(title, {}, () => fetchStage(what, () => {}));

  const kernel = fetched('User-Mode Linux of this Debian', 'kernel');
  const module = add('module for this nginx', { needed: [kernel] }, () =>
    moduleStage(path.join(MODULE, 'build'), (script) => run(script, [], {})),
  );
  const suites = add('suites with this nginx', { needed: [module] }, (write) =>
    suiteStage(files, write, { processor: 0 }),
  );

  let debian;
  const kernel13 = fetched('User-Mode Linux of Debian 13', 'kernel', 'trixie');
  const debian13 = add('files of a Debian 13', { needed: [kernel] }, () =>
    fetchStage(['debian-13'], (folder) => (debian = folder)),
  );
  const newest = fetched('the newest User-Mode Linux', 'kernel', 'forky');
  const module13 = add('module for the nginx of Debian 13', { needed: [debian13, newest] }, () =>
    buildForDebian13(debian),
  );
  add('suites with the nginx and the kernel of Debian 13', { needed: [kernel13, module13] }, (write) =>
    suiteStage(files, write, Object.assign({ kernel: 'trixie', processor: 1 }, withDebian13(debian))),
  );

  const aboutKernel = files.filter(isAboutKernel);
  if (aboutKernel.length > 0) {
    // On the processor that is free then.
    add('suites with the newest kernel', { needed: [module13], after: [suites] }, (write) =>
      suiteStage(aboutKernel, write, Object.assign({ kernel: 'forky', processor: 0 }, withDebian13(debian))),
    );
  }
  await stages.tell(tally);
}

module.exports = { allSuites, runGuest, runKernelTls, suitesMatching };
