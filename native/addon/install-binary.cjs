// Makes sure there is a binary for this machine: a prebuild that loads, or a build from the sources beside this file. Downloads
// nothing. What a machine lacks is said in one sentence, without a stack trace.
const { spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const {
  Refusal,
  copySources,
  headersPrefix,
  isFile,
  nodeGyp,
  onPath,
  sources,
} = require('./build-inputs.cjs');

const TARGET = 'fdpass_native.node';
const buildFolder = path.join(__dirname, 'build');
const binary = path.join(buildFolder, 'Release', TARGET);
const stampFile = path.join(buildFolder, 'fdpass.stamp');

/** In a process of its own: a binary for another libc may end the process that loads it. */
const loads = (file) =>
  spawnSync(process.execPath, ['-e', 'require(process.argv[1])', file], { stdio: 'ignore' }).status === 0;

function prebuildLoads() {
  const folder = path.join(__dirname, 'prebuilds', `linux-${process.arch}`);
  if (!fs.existsSync(folder)) return false;
  return fs.readdirSync(folder).some((name) => name.endsWith('.node') && loads(path.join(folder, name)));
}

/** What the binary is made from. Not the Node.js version: an N-API binary serves all of them. */
function stamp() {
  const hash = crypto.createHash('sha256');
  for (const name of sources()) hash.update(`${name}\n`).update(fs.readFileSync(path.join(__dirname, name)));
  for (const name of ['CXX', 'CXXFLAGS', 'CPPFLAGS', 'LDFLAGS'])
    hash.update(`${name}=${process.env[name] ?? ''}\n`);
  return `${hash.update(process.arch).digest('hex')}\n`;
}

const isCurrent = (wanted) =>
  isFile(binary) && isFile(stampFile) && fs.readFileSync(stampFile, 'utf8') === wanted;

/** Whether it runs: a version manager's stand-in is a file too. */
const runs = (program) => onPath(program) !== undefined && spawnSync(program, ['--version']).status === 0;

function checkTools() {
  // CXX may be more than a program ("ccache g++").
  const compiler = (process.env.CXX ?? 'g++').split(' ')[0];
  const python = process.env.npm_config_python ?? process.env.PYTHON ?? 'python3';
  const missing = [compiler, process.env.MAKE ?? 'make', python].filter((program) => !runs(program));
  if (missing.length === 0) return;
  throw new Refusal(
    `has no prebuilt binary for ${process.arch} here, and the build lacks ${missing.join(' and ')}: install g++, make and ` +
      `python3 (Debian: build-essential, python3), then run "node install.cjs" in ${__dirname}.`,
  );
}

/** Builds in a copy and renames the result over the old binary: a build that fails leaves a working one in place. */
function build(wanted) {
  const headers = headersPrefix();
  const [program, ...first] = nodeGyp();
  fs.mkdirSync(path.dirname(binary), { recursive: true });
  const work = fs.mkdtempSync(path.join(buildFolder, 'work-'));
  try {
    copySources(work);
    const answer = spawnSync(program, [...first, 'rebuild', `--nodedir=${headers}`, '--jobs=max'], {
      cwd: work,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    });
    const built = path.join(work, 'build', 'Release', TARGET);
    if (answer.status !== 0 || !isFile(built)) {
      process.stderr.write(`${answer.stdout ?? ''}${answer.stderr ?? ''}`);
      throw new Refusal('could not be built: the output of node-gyp is above.');
    }
    if (!loads(built)) {
      throw new Refusal(
        `was built, but Node.js ${process.version} (${process.arch}) does not load the binary.`,
      );
    }
    fs.renameSync(built, binary);
    fs.writeFileSync(stampFile, wanted);
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

try {
  const wanted = stamp();
  // Where it was built from source once it is kept up with the sources, whatever prebuild lies beside them.
  if (!isCurrent(wanted) && (isFile(stampFile) || !prebuildLoads())) {
    checkTools();
    build(wanted);
  }
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  process.stderr.write(`@fdpass/native ${error.message}\n`);
  process.exitCode = 1;
}
