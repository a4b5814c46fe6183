import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { StandInWorkspace } from './stand-in-workspace.js';

// A server of a kind: says how it was started, counts signals, ends with 0 a little after the first.
const standInServer = `
setInterval(() => {}, 1000);
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    console.log(signal);
    if (process.env.STAND_IN_SERVER_HANGS) return;
    setTimeout(() => process.exit(0), 300);
  });
}
// Last: whoever reads it may send a signal at once.
console.log(JSON.stringify({ pid: process.pid, args: process.argv.slice(2) }));
`;

function workspaceFor(t: ExecutionContext): StandInWorkspace {
  const workspace = new StandInWorkspace();
  t.teardown(() => workspace.remove());
  workspace.write('packages/backend-runtime/bin/fdpass.js', standInServer);
  return workspace;
}

const underNpm = (script: string) => [
  '-e',
  `require('child_process').spawn(process.execPath, ['${script}'], { stdio: 'inherit' })`,
];

/**
 * Starts the demo in a process group of its own, like a terminal would, and waits for the server's first line.
 * `command` gives Node.js's arguments: the script itself, or a parent that starts it as npm does.
 */
async function startDemo(
  t: ExecutionContext,
  env: Record<string, string> = {},
  command = (path: string) => [path],
) {
  const workspace = workspaceFor(t);
  const demo = spawn(process.execPath, command(join(workspace.folder, 'scripts', 'demo.cjs')), {
    env: workspace.environment(env),
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => endGroup(demo));
  const lines: string[] = [];
  const ready = new Promise<{ pid: number; args: string[] }>((resolve) => {
    createInterface({ input: demo.stdout }).on('line', (line) => {
      lines.push(line);
      if (line.startsWith('{')) resolve(JSON.parse(line));
    });
  });
  // 'close' comes when the server, too, has let go of stdout.
  const closed = once(demo, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  const server = await ready;
  return { workspace, demo, server, lines, closed };
}

/** The server, in a group of its own, ends with the demo. */
function endGroup(demo: ChildProcess): void {
  try {
    process.kill(-demo.pid!, 'SIGKILL');
  } catch {
    // Nothing of it is left.
  }
}

/** Whether the process runs: not so once it is a zombie, which a container's first process may never collect. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

/** Its stdout is closed a moment before a process is gone. */
async function untilGone(pid: number): Promise<void> {
  while (isRunning(pid)) await setTimeout(5);
}

const interruptGroup = (demo: ChildProcess) => process.kill(-demo.pid!, 'SIGINT');

test('runs the demo application on port 8080, or the port of PORT', async (t) => {
  for (const [env, port] of [
    [{}, '8080'],
    [{ PORT: '0' }, '0'],
    [{ PORT: '65535' }, '65535'],
  ] as const) {
    const { workspace, demo, server, closed } = await startDemo(t, env);
    t.is(workspace.takeLog().at(-1), 'tsc -b packages/demo-app', 'the tests are not compiled');
    t.deepEqual(server.args.slice(0, 4), ['dev', 'packages/demo-app', '--port', port]);
    demo.kill('SIGTERM');
    await closed;
  }
});

for (const value of ['65536', '-1', '80a', 'http', '1e3', '0x50']) {
  test(`PORT=${value} is refused in one sentence, before anything is built`, (t) => {
    const workspace = workspaceFor(t);
    const { status, stdout, stderr } = workspace.run('demo.cjs', { env: { PORT: value } });
    t.is(status, 1);
    t.is(stdout, '');
    t.is(stderr, `PORT is "${value}": it must be a number from 0 to 65535 (0 lets the kernel choose).\n`);
    t.deepEqual(workspace.takeLog(), []);
  });
}

test('Ctrl-C from the terminal and again from npm reaches the server once; both end, with 0', async (t) => {
  const { demo, server, lines, closed } = await startDemo(t);
  interruptGroup(demo);
  demo.kill('SIGINT');
  t.deepEqual(await closed, [0, null]);
  t.deepEqual(lines.slice(-1), ['SIGINT']);
  t.is(lines.filter((line) => line === 'SIGINT').length, 1);
  await untilGone(server.pid);
});

test('SIGTERM is passed on', async (t) => {
  const { demo, server, lines, closed } = await startDemo(t);
  demo.kill('SIGTERM');
  t.deepEqual(await closed, [0, null]);
  t.is(lines.at(-1), 'SIGTERM');
  await untilGone(server.pid);
});

test('the server does not outlive a demo that was killed', async (t) => {
  const { demo, server, lines, closed } = await startDemo(t);
  demo.kill('SIGKILL');
  t.deepEqual(await closed, [null, 'SIGKILL']);
  t.is(lines.at(-1), 'SIGTERM');
  await untilGone(server.pid);
});

test('neither does the demo outlive an npm that was killed', async (t) => {
  const { demo: npm, server, lines, closed } = await startDemo(t, { npm_lifecycle_event: 'demo' }, underNpm);
  npm.kill('SIGKILL');
  await closed;
  t.is(lines.at(-1), 'SIGTERM');
  await untilGone(server.pid);
});

test('a second Ctrl-C ends a server that does not stop', async (t) => {
  const { demo, server, closed } = await startDemo(t, { STAND_IN_SERVER_HANGS: '1' });
  const repeat = setInterval(() => isRunning(demo.pid!) && interruptGroup(demo), 200);
  t.teardown(() => clearInterval(repeat));
  const [code] = await closed;
  clearInterval(repeat);
  t.is(code, 1);
  await untilGone(server.pid);
});

test("the server's own failure is the demo's exit code", (t) => {
  const workspace = workspaceFor(t);
  workspace.write('packages/backend-runtime/bin/fdpass.js', 'process.exitCode = 3;');
  t.is(workspace.run('demo.cjs').status, 3);
});
