import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { StandInWorkspace } from './stand-in-workspace.js';

const workspace = new StandInWorkspace();
test.after.always(() => workspace.remove());

/** Runs a script after `pretend`, a piece of JavaScript that changes what the machine looks like. */
function runOn(
  pretend: string,
  { script = 'preflight.cjs', path = process.env.PATH ?? '', home = workspace, env = {} } = {},
) {
  const hook = join(home.folder, `pretend-${Buffer.from(pretend).toString('hex').slice(0, 60)}.cjs`);
  writeFileSync(hook, pretend);
  const args = ['-r', hook, join(home.folder, 'scripts', script)];
  return spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: home.environment({ ...env, PATH: path }),
  });
}

const oneSentence = /^[^\n]+\n$/;
const nodeVersion = (version: string) =>
  `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } });`;

for (const script of ['preflight.cjs', 'install.cjs', 'build.cjs', 'demo.cjs', 'test.cjs']) {
  test(`${script}: an old Node.js gets one sentence with both versions`, (t) => {
    const { status, stdout, stderr } = runOn(nodeVersion('18.20.4'), { script });
    t.is(status, 1);
    t.is(stdout, '');
    t.regex(stderr, oneSentence);
    t.regex(stderr, /20\.19 or newer and this is 18\.20\.4: install a newer one/);
  });
}

for (const [version, isEnough] of [
  ['8.17.0', false],
  ['20.18.3', false],
  ['20.19.0', true],
  ['21.0.0', true],
  ['26.1.0', true],
] as const) {
  test(`Node.js ${version} is ${isEnough ? 'enough' : 'too old'}`, (t) => {
    t.is(runOn(nodeVersion(version)).status, isEnough ? 0 : 1);
  });
}

test('another operating system gets one sentence that names both', (t) => {
  const { status, stderr } = runOn("Object.defineProperty(process, 'platform', { value: 'darwin' });");
  t.is(status, 1);
  t.regex(stderr, oneSentence);
  t.regex(stderr, /runs on Linux only and this is darwin/);
});

test('with a compiled addon no compiler is asked for', (t) => {
  t.is(runOn('', { path: '' }).status, 0);
});

test('without a compiled addon the missing packages are named in one sentence', (t) => {
  const bare = new StandInWorkspace();
  const path = mkdtempSync(join(tmpdir(), 'fdpass-path-'));
  t.teardown(() => {
    bare.remove();
    rmSync(path, { recursive: true });
  });
  bare.delete('native/addon/build');

  const nothing = runOn('', { path, home: bare });
  t.is(nothing.status, 1);
  t.regex(nothing.stderr, oneSentence);
  t.regex(nothing.stderr, /missing: python3, make, g\+\+.*Do: apt-get install python3 make g\+\+/);

  for (const program of ['python3', 'make']) symlinkSync('/bin/true', join(path, program));
  writeFileSync(join(path, 'g++'), '');
  const notExecutable = runOn('', { path, home: bare });
  t.regex(notExecutable.stderr, /missing: g\+\+.*Do: apt-get install g\+\+/);

  const ownCompiler = runOn('', { path, home: bare, env: { CXX: '/bin/true -O2' } });
  t.is(ownCompiler.status, 0, 'CXX says what to compile with');

  chmodSync(join(path, 'g++'), 0o755);
  const noHeaders = runOn(
    "const fs = require('fs'); const { existsSync } = fs; fs.existsSync = (file) => !file.endsWith('node.h') && existsSync(file);",
    { path, home: bare },
  );
  t.is(noHeaders.status, 1);
  t.regex(noHeaders.stderr, /missing: the headers of Node\.js .*Do: apt-get install libnode-dev/);

  bare.write(`native/addon/prebuilds/linux-${process.arch}/fdpass.node`, '');
  t.is(runOn('', { path: '', home: bare }).status, 0, 'a prebuild for this architecture will do');
});
