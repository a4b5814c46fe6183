import test from 'ava';
import { StandInWorkspace } from './stand-in-workspace.js';

function workspaceFor(t: { teardown(end: () => void): void }): StandInWorkspace {
  const workspace = new StandInWorkspace();
  t.teardown(() => workspace.remove());
  return workspace;
}

test('installs, builds the addon and compiles, in this order; afterwards installs no more', (t) => {
  const workspace = workspaceFor(t);
  t.is(workspace.run('build.cjs').status, 0);
  t.deepEqual(workspace.takeLog(), ['npx --yes pnpm@1.2.3 install --frozen-lockfile', 'addon', 'tsc -b .']);
  t.is(workspace.run('build.cjs').status, 0);
  t.deepEqual(workspace.takeLog(), ['addon', 'tsc -b .']);
});

test('deletes what was compiled from a source that is gone, and nothing else', (t) => {
  const workspace = workspaceFor(t);
  for (const file of ['gone.js', 'gone.js.map', 'gone.d.ts', 'gone.d.ts.map', 'written-by-hand.js']) {
    workspace.write(`packages/app/dist/deep/${file}`, '');
  }
  workspace.run('build.cjs');
  t.false(workspace.has('packages/app/dist/deep/gone.js'));
  t.false(workspace.has('packages/app/dist/deep/gone.d.ts.map'));
  t.true(workspace.has('packages/app/dist/deep/written-by-hand.js'));
  t.true(workspace.has('packages/app/dist/kept.js'));
});

test('makes the compiler forget a build whose output was deleted', (t) => {
  const workspace = workspaceFor(t);
  workspace.write('packages/app/tsconfig.tsbuildinfo', '{}');
  workspace.run('build.cjs');
  t.true(workspace.has('packages/app/tsconfig.tsbuildinfo'), 'complete output: kept');
  workspace.delete('packages/app/dist');
  workspace.run('build.cjs');
  t.false(workspace.has('packages/app/tsconfig.tsbuildinfo'));
});

for (const [file, sentence] of [
  ['native/addon/install.cjs', 'The native addon could not be built: the reason is above.'],
  ['node_modules/typescript/bin/tsc', 'The TypeScript build failed: its errors are above.'],
] as const) {
  test(`a failing ${file} ends the build with one sentence`, (t) => {
    const workspace = workspaceFor(t);
    workspace.write(file, "console.error('the reason'); process.exit(2);");
    const { status, stderr } = workspace.run('build.cjs');
    t.is(status, 1);
    t.is(stderr, `the reason\n${sentence}\n`);
  });
}
