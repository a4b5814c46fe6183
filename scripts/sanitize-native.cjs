// Runs the suites of test/native against an addon built with AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer. All of it
// happens in a copy of the compiled tree in a temporary folder: the addon in use stays as it is, and its loader needs no switch.
// Then a few programs of those suites under valgrind, with the addon in use: it also sees memory that was never written.
//
// Exit codes: 0 nothing found, 1 found or failed, 77 a tool is missing (the last line on standard error says which).
// Leaks count when one of our frames is in the stack: what Node.js itself leaves behind (process.exit) is not ours to report.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..');
const addon = path.join('native', 'addon');
const { Refusal, headersPrefix, nodeGyp } = require(path.join(root, addon, 'build-inputs.cjs'));

const MISSING = 77;
// vptr checks need RTTI, which Node.js addons are built without.
const SANITIZE = '-fsanitize=address,undefined -fno-sanitize=vptr';
const CXXFLAGS = `${SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1`;
const OURS = /fdpass(_native|::)/;

/** Ends the run: what was begun is removed first. */
class End extends Error {
  constructor(code, sentence) {
    super(sentence);
    this.code = code;
  }
}

/** A runtime library of the compiler, to be loaded before Node.js, which is not instrumented itself. */
function runtimeLibrary(name) {
  const { stdout, error } = spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' });
  if (error) throw new End(MISSING, 'The sanitizers need g++: apt-get install g++');
  // The compiler answers the bare name for a file it does not have.
  const file = stdout.trim();
  if (!path.isAbsolute(file))
    throw new End(MISSING, `The sanitizers need ${name}, which comes with g++ of Debian`);
  return fs.realpathSync(file);
}

function copyTree(tree) {
  const copy = (part) => {
    if (!fs.existsSync(path.join(root, part)))
      throw new End(1, `There is no ${part}: run "npm run build" first.`);
    fs.cpSync(path.join(root, part), path.join(tree, part), { recursive: true });
  };
  for (const part of ['package.json', 'ava.config.js', 'build/test/native', 'build/test/helpers']) copy(part);
  for (const part of ['package.json', 'binding.gyp', 'src', 'dist']) copy(path.join(addon, part));
  for (const part of ['node_modules', path.join(addon, 'node_modules')]) {
    fs.symlinkSync(path.join(root, part), path.join(tree, part));
  }
}

function buildAddon(tree) {
  const [program, ...first] = nodeGyp();
  const args = [...first, 'rebuild', `--nodedir=${headersPrefix()}`, '--jobs=max'];
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: path.join(tree, addon),
    env: { ...process.env, CXXFLAGS, LDFLAGS: SANITIZE },
    encoding: 'utf8',
  });
  if (status === 0) return;
  process.stderr.write(`${stdout}${stderr}`);
  throw new End(1, 'The addon could not be built with sanitizers: the output of node-gyp is above.');
}

function runSuites(tree, reports) {
  const suites = path.join(tree, 'build', 'test', 'native');
  // The installer's tests load no addon here, and their compilers must not run under a sanitizer.
  const files = fs
    .readdirSync(suites)
    .filter((name) => name.endsWith('.test.js') && name !== 'install.test.js');
  const log = `log_path=${path.join(reports, 'report')}`;
  const ava = path.join('node_modules', 'ava', 'entrypoints', 'cli.mjs');
  const args = [ava, '--timeout=5m', ...files.map((name) => path.join('build', 'test', 'native', name))];
  const { status } = spawnSync(process.execPath, args, {
    cwd: tree,
    env: {
      ...process.env,
      LD_PRELOAD: [runtimeLibrary('libasan.so'), runtimeLibrary('libubsan.so')].join(':'),
      ASAN_OPTIONS: `detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:${log}`,
      // A leak of Node.js must not fail the process it is in: the reports are read afterwards.
      LSAN_OPTIONS: 'exitcode=0',
      UBSAN_OPTIONS: `halt_on_error=1:print_stacktrace=1:${log}`,
      NODE_V8_COVERAGE: '',
    },
    stdio: 'inherit',
  });
  return status;
}

/** The parts of all reports that concern the addon: every error, and leaks with our frames. */
function findings(reports) {
  const texts = fs.readdirSync(reports).map((name) => fs.readFileSync(path.join(reports, name), 'utf8'));
  return texts.flatMap((text) => {
    if (/ERROR: AddressSanitizer|runtime error:/.test(text)) return [text];
    return text.split('\n\n').filter((block) => / leak of /.test(block) && OURS.test(block));
  });
}

/** Too slow for whole suites; these go through the listener, the poller, sendfile, exceptions and a worker. */
const VALGRIND_PROGRAMS = ['fd-zero.js', 'throwing.js', 'sigpipe.js'];

function runUnderValgrind() {
  for (const name of VALGRIND_PROGRAMS) {
    const file = path.join(root, 'build', 'test', 'native', 'children', name);
    const args = ['--quiet', '--error-exitcode=9', '--smc-check=all-non-file', process.execPath, file];
    const { status, error, stderr } = spawnSync('valgrind', args, {
      encoding: 'utf8',
      env: { ...process.env, NODE_V8_COVERAGE: '' },
    });
    if (error)
      throw new End(MISSING, 'The sanitizers found nothing; valgrind is missing: apt-get install valgrind');
    if (status === 0) continue;
    process.stderr.write(stderr);
    throw new End(1, `valgrind found the problems above in ${name}.`);
  }
}

function main() {
  const tree = fs.mkdtempSync(path.join(os.tmpdir(), 'fdpass-sanitized-'));
  const reports = path.join(tree, 'reports');
  try {
    runtimeLibrary('libasan.so');
    fs.mkdirSync(reports);
    copyTree(tree);
    buildAddon(tree);
    const status = runSuites(tree, reports);
    const found = findings(reports);
    for (const text of found) process.stderr.write(`${text}\n\n`);
    if (found.length > 0) throw new End(1, `The sanitizers reported ${found.length} findings, see above.`);
    if (status !== 0) throw new End(1, 'A suite failed under the sanitizers, without a report of theirs.');
    runUnderValgrind();
    process.stdout.write('The sanitizers and valgrind found nothing.\n');
  } finally {
    fs.rmSync(tree, { recursive: true, force: true });
  }
}

try {
  main();
} catch (error) {
  if (!(error instanceof End) && !(error instanceof Refusal)) throw error;
  process.stderr.write(error instanceof End ? `${error.message}\n` : `@fdpass/native ${error.message}\n`);
  process.exitCode = error instanceof End ? error.code : MISSING;
}
