// The comparison behind nginx, tiny: that it runs and what it writes, not how fast anything is.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import type { Results } from '../../bench/nginx/report.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { condition, needs, program } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const root = fileURLToPath(new URL('../../..', import.meta.url));
const MAIN = join(root, 'build', 'bench', 'nginx', 'main.js');
const MODULE = join(root, 'native', 'nginx', 'build', 'ngx_http_fd_pass_module.so');
// So many clients that what they take is seen: forty fit into memory that a process may have already, and then there is no ratio.
const TINY = ['--quick', '--rounds', '1', '--idle', '400', '--download-mb', '8', '--upload-mb', '4'];

const withAll = needs(
  test,
  program('nginx', 'nginx-light'),
  program('wrk'),
  program('cc', 'gcc'),
  program('setpriv', 'util-linux'),
  condition(existsSync(MODULE), `${MODULE}: native/nginx/build.sh`),
);

/** With a temporary folder of its own, so that what it leaves there is seen. */
function start(t: ExecutionContext, args: readonly string[], env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-bench-test-'));
  const out = join(folder, 'out', 'nginx.json');
  const child = spawn(process.execPath, [MAIN, ...args, '--out', out], {
    cwd: root,
    env: { ...process.env, TMPDIR: folder, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true });
  });
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  return { child, folder, out, output, exited };
}

withAll('a tiny run has every way, every metric and every target, and judges none', async (t) => {
  t.timeout(300_000);
  const { out, output, exited } = start(t, TINY);
  const [stdout, stderr] = await output;
  t.is(stderr, '');
  t.deepEqual(await exited, [0, null]);
  t.regex(stdout, /A short run: no target is judged by it\./);

  const { machine, date, rows } = JSON.parse(readFileSync(out, 'utf8')) as Results;
  t.true(machine.cpus > 0);
  t.regex(machine.nginx, /^nginx\/\d/);
  t.false(Number.isNaN(Date.parse(date)));
  for (const row of rows) {
    const shown = JSON.stringify(row);
    t.is(typeof row.value, 'number', shown);
    t.is(typeof row.ratio, row.against === null ? 'object' : 'number', shown);
    t.is(row.met, null, shown);
    t.is(row.rounds, 1, shown);
  }

  const figures = rows.filter(({ against }) => against === null);
  const waysOf = (work: string) => [
    ...new Set(figures.filter((row) => row.work === work).map(({ way }) => way)),
  ];
  const through = ['fd_pass', 'proxy_pass', 'scgi_pass', 'straight to Node.js'];
  const idle = through.filter((way) => way !== 'scgi_pass');
  const receivers = ['our receiver', 'receiver in C'];
  t.deepEqual(Object.fromEntries(figures.map(({ work }) => [work, waysOf(work)])), {
    'hello JSON, kept-alive, 32 connections': [...through, 'fd_pass, a connection each'],
    'hello JSON, a new connection each': [...through, 'fd_pass, a connection each', 'fd_pass, not lean'],
    '8 MB download': [...through, 'nginx static'],
    '4 MB upload, hashed': through,
    'hello JSON at a fixed rate, 70 % of proxy_pass': idle,
    '400 idle WebSockets': idle,
    '400 idle kept-alive clients': idle,
    'receiver alone, a connection each': receivers,
    'receiver alone, one channel': receivers,
  } as Record<string, string[]>);
  const metricsOf = (work: string) =>
    figures.filter((row) => row.work === work && row.way === 'fd_pass').map(({ metric }) => metric);
  t.deepEqual(metricsOf('hello JSON, kept-alive, 32 connections'), [
    'rate',
    'p50',
    'p99',
    'CPU',
    'CPU of nginx',
    'CPU of Node.js',
    "nginx's share of CPU",
    'memory',
    'memory of nginx',
    'memory of Node.js',
  ]);
  t.is(rows.filter(({ target }) => target !== null).length, 16);
});

withAll('a run that is interrupted leaves no process and no file', async (t) => {
  const { child, folder, exited } = start(t, TINY);
  let worker = '';
  await until('nginx serves', () => {
    const log = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((file) =>
      file.endsWith('nginx.log'),
    );
    if (log !== undefined)
      worker = /start worker process (\d+)/.exec(readFileSync(join(folder, log), 'utf8'))?.[1] ?? '';
    return worker !== '';
  });
  child.kill('SIGTERM');
  t.deepEqual(await exited, [1, null]);
  await until("nginx's worker is gone", () => !existsSync(`/proc/${worker}`));
  t.deepEqual(readdirSync(folder), []);
});

test('what is missing is named with its cure, in one line', async (t) => {
  const { output, exited } = start(t, ['--module', '/nonexistent/module.so'], { PATH: '/nonexistent' });
  const [stdout, stderr] = await output;
  t.is(stdout, '');
  t.is(stderr.trimEnd().split('\n').length, 1);
  for (const cure of [/install nginx/, /install wrk/, /install gcc/, /native\/nginx\/build\.sh/])
    t.regex(stderr, cure);
  t.deepEqual(await exited, [1, null]);
});
