import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { repositoryRoot } from './stand-in-workspace.js';

/** What .ci/run wants to be there, from its own table of program:package. */
const programs = Array.from(
  readFileSync(join(repositoryRoot, '.ci', 'run'), 'utf8').matchAll(/^ {2}(\S+):\S+$/gm),
  ([, program]) => program!,
);

/** What the suites of kernel TLS keep in their cache. */
const KERNELS = ['user-mode-linux', 'user-mode-linux-trixie', 'user-mode-linux-forky'];

/** Runs .ci/run where PATH has only `present`, the shell's own tools, and stand-ins of apt-get, sudo and npm that log. */
function runCi(
  t: ExecutionContext,
  present: readonly string[],
  { npmExitCode = 0, packageQueryExitCode = 0, kernels = KERNELS } = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-ci-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const bin = join(folder, 'bin');
  const log = join(folder, 'log');
  mkdirSync(bin);
  cpSync(join(repositoryRoot, '.ci'), join(folder, '.ci'), { recursive: true });
  const standIn = (name: string, script: string) => {
    writeFileSync(join(bin, name), `#!/bin/bash\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  for (const name of ['bash', 'dirname', 'readlink', 'env']) symlinkSync(`/usr/bin/${name}`, join(bin, name));
  for (const name of present) standIn(name, 'exit 0');
  standIn('apt-get', `echo "apt-get $*" >> ${log}`);
  standIn('dpkg-query', `exit ${packageQueryExitCode}`);
  standIn('sudo', '"$@"');
  standIn('npm', `echo "npm $* CI=$CI" >> ${log}; exit ${npmExitCode}`);
  // A Node.js with its headers beside it.
  mkdirSync(join(folder, 'include', 'node'), { recursive: true });
  writeFileSync(join(folder, 'include', 'node', 'node.h'), '');
  standIn('node', 'exit 0');
  const cache = join(folder, 'cache');
  for (const kernel of kernels) mkdirSync(join(cache, 'fdpass', kernel), { recursive: true });
  const env = { PATH: bin, XDG_CACHE_HOME: cache };
  const { status } = spawnSync('/bin/bash', [join(folder, '.ci', 'run')], { env, cwd: '/' });
  return { status, log: existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [] };
}

test('with everything there it installs nothing and runs npm test with CI=true', (t) => {
  t.deepEqual(runCi(t, programs), { status: 0, log: ['npm test CI=true'] });
});

test('what is missing is installed by its package name, after one apt-get update', (t) => {
  const { status, log } = runCi(
    t,
    programs.filter((name) => name !== 'wrk' && name !== 'flock'),
  );
  t.is(status, 0);
  t.deepEqual(log, [
    'apt-get update',
    'apt-get install --yes --no-install-recommends wrk util-linux',
    'npm test CI=true',
  ]);
});

test('a package that is no program is looked for by its name', (t) => {
  t.deepEqual(runCi(t, programs, { packageQueryExitCode: 1 }).log, [
    'apt-get update',
    'apt-get install --yes --no-install-recommends build-essential',
    'npm test CI=true',
  ]);
});

test("what the suites fetch with apt needs apt's lists", (t) => {
  for (const missing of KERNELS) {
    const kernels = KERNELS.filter((kernel) => kernel !== missing);
    t.deepEqual(runCi(t, programs, { kernels }).log, ['apt-get update', 'npm test CI=true'], missing);
  }
});

test("it ends with npm test's exit code", (t) => {
  t.is(runCi(t, programs, { npmExitCode: 1 }).status, 1);
});
