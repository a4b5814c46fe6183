import test from 'ava';
import { StandInWorkspace } from './stand-in-workspace.js';

const pnpmInstall = 'npx --yes pnpm@1.2.3 install --frozen-lockfile';

function installed(t: { teardown(end: () => void): void }): StandInWorkspace {
  const workspace = new StandInWorkspace();
  t.teardown(() => workspace.remove());
  workspace.run('install.cjs');
  workspace.takeLog();
  return workspace;
}

test('the first install runs the pnpm of package.json with a frozen lockfile', (t) => {
  const workspace = new StandInWorkspace();
  t.teardown(() => workspace.remove());
  const { status, stdout } = workspace.run('install.cjs');
  t.is(status, 0);
  t.regex(stdout, /pnpm@1\.2\.3/);
  t.deepEqual(workspace.takeLog(), [pnpmInstall]);
});

test('an unchanged workspace starts nothing and prints nothing', (t) => {
  const workspace = installed(t);
  const { status, stdout, stderr } = workspace.run('install.cjs');
  t.is(status, 0);
  t.is(stdout + stderr, '');
  t.deepEqual(workspace.takeLog(), []);
});

const changes: Record<string, (workspace: StandInWorkspace) => void> = {
  'another lockfile': (workspace) => workspace.write('pnpm-lock.yaml', 'lockfileVersion: 10'),
  'another package.json': (workspace) => workspace.write('packages/app/package.json', '{"name":"app2"}'),
  'a new package': (workspace) => workspace.write('packages/more/package.json', '{}'),
  'a deleted dependency': (workspace) => workspace.delete('node_modules/typescript'),
  'a deleted node_modules': (workspace) => workspace.delete('node_modules'),
};
for (const [title, change] of Object.entries(changes)) {
  test(`${title} installs again`, (t) => {
    const workspace = installed(t);
    change(workspace);
    workspace.run('install.cjs');
    t.deepEqual(workspace.takeLog(), [pnpmInstall]);
  });
}

test('npm, NODE_ENV and NODE_OPTIONS do not reach pnpm, but the registry does', (t) => {
  const workspace = new StandInWorkspace();
  t.teardown(() => workspace.remove());
  const env = {
    npm_config_registry: 'http://127.0.0.1:4873/',
    npm_config_devdir: '/nowhere',
    npm_config_yes: '',
    npm_package_json: '/nowhere/package.json',
    npm_lifecycle_event: 'demo',
    NODE_ENV: 'production',
    NODE_OPTIONS: '--no-warnings',
  };
  workspace.run('install.cjs', { env });
  const names = Object.keys(workspace.npxEnvironment()).filter((name) => name in env);
  t.deepEqual(names, ['npm_config_registry']);
});

test('a failed install shows what pnpm said, ends in one sentence, and is tried again', (t) => {
  const workspace = new StandInWorkspace();
  t.teardown(() => workspace.remove());
  const { status, stderr } = workspace.run('install.cjs', { env: { STAND_IN_NPX_FAILS: '1' } });
  t.is(status, 1);
  t.is(stderr, 'the registry is away\nThe dependencies could not be installed: pnpm@1.2.3 says why above.\n');
  workspace.takeLog();
  t.is(workspace.run('install.cjs').status, 0);
  t.deepEqual(workspace.takeLog(), [pnpmInstall]);
});

test('without npx the sentence names the package that has it', (t) => {
  const workspace = new StandInWorkspace();
  t.teardown(() => workspace.remove());
  const { status, stderr } = workspace.run('install.cjs', { env: { PATH: '/nowhere' } });
  t.is(status, 1);
  t.is(stderr, 'npx is missing, it comes with npm: apt-get install npm\n');
});
