// The install script of the addon, each time in a copy: from a prebuild, from source, and on a machine that lacks something.
import { spawn } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { needs, privilege, program } from '../helpers/requirements.js';

guardDescriptors(test);

const root = fileURLToPath(new URL('../../../', import.meta.url));
const addon = join('native', 'addon');
const binaryPath = join('build', 'Release', 'fdpass_native.node');
const prebuiltFolder = join('prebuilds', `linux-${process.arch}`);
/** Two builds, on a machine that is busy with other things. */
const BUILD_TIMEOUT_MS = 600_000;
const noTools = '/nonexistent';

/** A folder with what the package contains, and beside it what a workspace has installed. @returns the package's folder */
function copy(t: ExecutionContext): string {
  const workspace = mkdtempSync(join(tmpdir(), 'fdpass-install-'));
  t.teardown(() => rmSync(workspace, { recursive: true }));
  const folder = join(workspace, addon);
  mkdirSync(folder, { recursive: true });
  const { files } = JSON.parse(readFileSync(join(root, addon, 'package.json'), 'utf8')) as {
    files: string[];
  };
  for (const name of [...files, 'package.json']) {
    if (name !== 'prebuilds') cpSync(join(root, addon, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(workspace, 'node_modules'));
  symlinkSync(join(root, addon, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

interface Run {
  status: number | null;
  stdout: string;
  stderr: string;
}

function run(folder: string, command: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  const [file, ...args] = command;
  const child = spawn(file!, args, {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const answer: Run = { status: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    answer.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    answer.stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve({ ...answer, status }));
  });
}

const install = (folder: string, env: Record<string, string> = {}): Promise<Run> =>
  run(folder, [process.execPath, 'install.cjs'], env);

/** Loads the package as a user of it would. */
const load = (folder: string): Promise<Run> => {
  const script =
    "import('./dist/index.js').then(({ loadNative }) => console.log(typeof loadNative().FdListener))";
  return run(folder, [process.execPath, '-e', script]);
};

/** One sentence on standard error, no stack trace, exit code 1. */
function refused(t: ExecutionContext, { status, stdout, stderr }: Run, sentence: RegExp): void {
  t.regex(stderr, sentence);
  t.regex(stderr, /^@fdpass\/native [^\n]+\.\n$/);
  t.is(stdout, '');
  t.is(status, 1);
}

test.serial('builds from source quietly, once, and again only when a source changes', async (t) => {
  t.timeout(BUILD_TIMEOUT_MS);
  const folder = copy(t);
  t.deepEqual(await install(folder), { status: 0, stdout: '', stderr: '' });
  t.is((await load(folder)).stdout, 'function\n');
  t.deepEqual(readdirSync(join(folder, 'build')).sort(), ['Release', 'fdpass.stamp']);
  const built = statSync(join(folder, binaryPath));

  t.deepEqual(
    await install(folder, { PATH: noTools }),
    { status: 0, stdout: '', stderr: '' },
    'nothing to do needs no tool',
  );
  t.is(statSync(join(folder, binaryPath)).ino, built.ino);

  appendFileSync(join(folder, 'src', 'addon.cc'), '\nthis is no C++\n');
  const broken = await install(folder);
  t.is(broken.status, 1);
  t.regex(broken.stderr, /addon\.cc:\d+/, 'the log of a build that fails is shown');
  t.regex(broken.stderr, /\n@fdpass\/native could not be built: [^\n]+\n$/);
  t.notRegex(broken.stderr, /install-binary/);
  t.is(statSync(join(folder, binaryPath)).ino, built.ino, 'the working binary stays');
  t.is((await load(folder)).status, 0);
  t.deepEqual(
    readdirSync(join(folder, 'build')).sort(),
    ['Release', 'fdpass.stamp'],
    'nothing is left of the attempt',
  );

  const prebuilt = copy(t);
  mkdirSync(join(prebuilt, prebuiltFolder), { recursive: true });
  renameSync(join(folder, binaryPath), join(prebuilt, prebuiltFolder, '@fdpass+native.node'));
  t.deepEqual(
    await install(prebuilt, { PATH: noTools }),
    { status: 0, stdout: '', stderr: '' },
    'a prebuild needs no tool',
  );
  t.false(existsSync(join(prebuilt, 'build')));
  t.is((await load(prebuilt)).stdout, 'function\n');
});

test.serial(
  'prebuild.cjs makes a binary that installs without a compiler, and leaves build/ alone',
  async (t) => {
    t.timeout(BUILD_TIMEOUT_MS);
    const folder = copy(t);
    cpSync(join(root, addon, 'prebuild.cjs'), join(folder, 'prebuild.cjs'));
    mkdirSync(join(folder, 'build'));
    const { status, stderr } = await run(folder, [process.execPath, 'prebuild.cjs']);
    t.is(status, 0, stderr);
    t.deepEqual(readdirSync(join(folder, prebuiltFolder)), ['@fdpass+native.node']);
    t.deepEqual(readdirSync(join(folder, 'build')), []);
    rmSync(join(folder, 'build'), { recursive: true });
    t.deepEqual(await install(folder, { PATH: noTools }), { status: 0, stdout: '', stderr: '' });
    t.is((await load(folder)).stdout, 'function\n');
  },
);

test.serial('a prebuild that does not load is no reason not to build', async (t) => {
  const folder = copy(t);
  mkdirSync(join(folder, prebuiltFolder), { recursive: true });
  writeFileSync(join(folder, prebuiltFolder, '@fdpass+native.node'), 'for another machine');
  refused(t, await install(folder, { PATH: noTools }), /the build lacks g\+\+ and make and python3/);
});

test.serial('a machine without a compiler, make or python3 is told which it lacks', async (t) => {
  const folder = copy(t);
  refused(
    t,
    await install(folder, { PATH: noTools }),
    /lacks g\+\+ and make and python3: install g\+\+, make and python3/,
  );
  refused(t, await install(folder, { CXX: 'no-such-compiler -O2' }), /lacks no-such-compiler:/);
  refused(t, await install(folder, { MAKE: 'no-such-make' }), /lacks no-such-make:/);
  refused(t, await install(folder, { PYTHON: 'no-such-python' }), /lacks no-such-python:/);
  t.false(existsSync(join(folder, 'build')));
});

needs(
  test.serial,
  program('unshare', 'util-linux'),
  privilege('sysAdmin'),
)(
  'a machine without the headers of Node.js is told which package has them, and nothing is downloaded',
  async (t) => {
    const folder = copy(t);
    const own = join(dirname(dirname(process.execPath)), 'include', 'node');
    const hide = [own, '/usr/include/node']
      .filter((headers) => existsSync(headers))
      .map((headers) => `mount -t tmpfs none '${headers}'`);
    // Without a network a download would fail with another message.
    const script = [...hide, `exec '${process.execPath}' install.cjs`].join(' && ');
    const answer = await run(folder, ['unshare', '--mount', '--net', 'sh', '-c', script]);
    refused(
      t,
      answer,
      /needs the Node\.js headers .* install the package libnode-dev, or Node\.js from its official/,
    );
  },
);

for (const [title, change, sentence] of [
  [
    'another system',
    "Object.defineProperty(process, 'platform', { value: 'darwin' })",
    /cannot be installed on darwin/,
  ],
  ['Node.js 20.18', withVersion('20.18.3'), /needs Node\.js 20\.19 or newer: this is 20\.18\.3\./],
  ['Node.js 0.12', withVersion('0.12.18'), /needs Node\.js 20\.19 or newer: this is 0\.12\.18\./],
] as const) {
  test.serial(`${title} is refused in one sentence`, async (t) => {
    const folder = copy(t);
    refused(t, await run(folder, [process.execPath, '-e', `${change}; require('./install.cjs')`]), sentence);
  });
}

function withVersion(version: string): string {
  return `Object.defineProperty(process, 'versions', { value: { node: '${version}' } })`;
}

test.serial('the gate is written in old JavaScript', async (t) => {
  const text = readFileSync(join(root, addon, 'install.cjs'), 'utf8').replace(/^\/\/.*$/gm, '');
  t.notRegex(text, /=>|`|\b(const|let|class|async|await)\b|\?\.|\?\?|\.\.\.|node:/);
});

test('what cannot be loaded says what to do', async (t) => {
  const folder = copy(t);
  const script =
    "import('./dist/index.js').then(({ loadNative }) => loadNative()).catch((error) => console.log(error.code, error.message))";
  const { stdout } = await run(folder, [process.execPath, '-e', script]);
  t.regex(stdout, /^ERR_FDPASS_ADDON .*node install\.cjs/);
});
