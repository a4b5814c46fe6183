// Backends that die, restart and take over while nginx hands clients over to them: what the acknowledgement promises, counted.
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { CommandedProcess } from '../helpers/commanded-process.js';
import { CountingLoad, loadAnswer } from '../helpers/counting-load.js';
import { guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';
import { temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const first = (socket: string): string => join(dirname(socket), 'first.sock');

/** nginx asks `first.sock`, then the server in this process, which calls itself `second`. */
const twoBackends = (t: ExecutionContext, locations?: (socket: string) => string): Promise<BehindNginx> =>
  behindNginx(t, {
    handler: (request, response) => response.end(loadAnswer(request.url, 'second')),
    nginx: { connections: 512 },
    http: (socket) =>
      `upstream app { server unix:${first(socket)} max_fails=0; server unix:${socket} backup; }`,
    locations: locations ?? (() => 'location / { fd_pass app; }'),
  });

/** Not listening yet. */
const backendProcess = (t: ExecutionContext, path: string, answerAfterMs = 0): Promise<CommandedProcess> =>
  CommandedProcess.start(t, 'backend-process.js', [path, String(answerAfterMs)]);

const pids = (processes: readonly CommandedProcess[]): string[] => processes.map(({ pid }) => String(pid));

async function killed({ child }: CommandedProcess): Promise<void> {
  child.kill('SIGKILL');
  await until('it is dead', () => child.signalCode !== null);
}

/** What a title ends with, and what nginx is told. */
const WAYS = [
  ['', ''],
  [', over channels', 'fd_pass_keepalive 2;'],
] as const;

const CLIENTS = 40;

withNginx(`killed with ${CLIENTS} handovers in its accept queue: none is lost`, async (t) => {
  const { port, host, socket, nginx, accessLog } = await twoBackends(
    t,
    (path) => `
      location / { fd_pass app; }
      location /fallback { fd_pass unix:${first(path)}; fd_pass_fallback @fallback; }
      location @fallback { return 200 "fallback"; }`,
  );
  const backend = await backendProcess(t, first(socket));
  t.is(await backend.ask('listen'), 'listening');
  backend.child.kill('SIGSTOP');

  const [worker = 0] = nginx.workers();
  const before = openDescriptors(worker).size;
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, async (_none, n) => {
      const client = await RawClient.connect(port, host);
      await client.send(
        `GET ${n % 2 === 0 ? '/' : '/fallback'}?n=${n} HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n`,
      );
      return client;
    }),
  );
  // Each client and its connection to the backend.
  await until('all wait', () => openDescriptors(worker).size === before + 2 * CLIENTS);
  await killed(backend);
  const answers = await Promise.all(clients.map((client) => client.readToEnd()));
  answers.forEach((answer, n) => {
    t.regex(
      answer,
      n % 2 === 0
        ? new RegExp(`^HTTP/1\\.1 200 [^]*\r\n\r\n${n} second$`)
        : /^HTTP\/1\.1 200 .*\r\n\r\nfallback$/s,
    );
    t.is(answer.split('HTTP/1.1').length, 2);
  });
  t.true(clients.every(({ error }) => error === undefined));
  const lines = await accessLog(CLIENTS);
  const count = (pattern: RegExp): number => lines.filter((line) => pattern.test(line)).length;
  t.is(count(/^GET \/ 000 0 full "unix:\S+first\.sock, unix:\S+app\.sock" /), CLIENTS / 2);
  t.is(count(/^GET \/fallback 200 8 none "unix:\S+first\.sock" /), CLIENTS / 2);
});

for (const [version, promise] of [
  [0, 'all are lost'],
  [1, "all are still the sender's"],
] as const) {
  test(`the same for a sender of version ${version}: ${promise}`, async (t) => {
    const path = join(await temporaryFolder(t), 'socket');
    const backend = await backendProcess(t, path);
    await backend.ask('listen');
    backend.child.kill('SIGSTOP');
    const handed = Array.from({ length: 20 }, () =>
      handOver(path, { version }).catch((error) => error as Error),
    );
    if (version === 0) {
      // It has let go of them already.
      const clients = (await Promise.all(handed)) as HandedClient[];
      await killed(backend);
      t.deepEqual(await Promise.all(clients.map((client) => client.readToEnd())), Array(20).fill(''));
    } else {
      await killed(backend);
      const codes = (await Promise.all(handed)).map((outcome) => (outcome as NodeJS.ErrnoException).code);
      t.true(
        codes.every((code) => code?.startsWith('FDPASS_ERR_')),
        codes.join(' '),
      );
    }
  });
}

for (const [over, directives] of WAYS) {
  withNginx(
    `killed and restarted under load: only what it had acknowledged can be lost${over}`,
    async (t) => {
      const AT_A_TIME = 8;
      const KILLS = 4;
      const { port, host, socket } = await twoBackends(t, () => `location / { fd_pass app; ${directives} }`);
      const processes = await Promise.all(
        Array.from({ length: KILLS + 1 }, () => backendProcess(t, first(socket), 20)),
      );
      await processes[0]?.ask('listen');
      const load = new CountingLoad(port, host, AT_A_TIME);
      await load.answered(100);
      for (const [n, backend] of processes.entries()) {
        if (n === KILLS) break;
        // With at least one client that it had acknowledged.
        backend.child.send('die');
        await until('it is dead', () => backend.child.signalCode === 'SIGKILL');
        await load.answered(50);
        t.is(await processes[n + 1]?.ask('listen'), 'listening');
        await load.answered(100);
      }
      const sent = await load.stop();
      const lost = [...load.problems.values()];
      t.log(`${sent} clients, ${lost.length} lost in ${KILLS} kills`);
      t.is(load.answers.size + lost.length, sent);
      // No part of an answer, no 502: those it had taken end without a byte.
      t.deepEqual(
        lost.filter((problem) => !/^(ECONNRESET)?$/.test(problem)),
        [],
      );
      t.true(lost.length > 0 && lost.length <= KILLS * AT_A_TIME);
      t.deepEqual(load.names(), ['second', ...pids(processes)].sort());
    },
  );
}

for (const [over, directives] of WAYS) {
  withNginx(`closed politely and restarted under load: nothing is lost${over}`, async (t) => {
    const { port, host, socket } = await twoBackends(t, () => `location / { fd_pass app; ${directives} }`);
    const processes = await Promise.all(Array.from({ length: 4 }, () => backendProcess(t, first(socket))));
    await processes[0]?.ask('listen');
    const load = new CountingLoad(port, host);
    for (const [n, backend] of processes.entries()) {
      await load.answered(100);
      if (n === processes.length - 1) break;
      t.is(await backend.ask('close'), 'closed');
      await load.answered(50);
      t.is(await processes[n + 1]?.ask('listen'), 'listening');
    }
    t.is(await load.stop(), load.answers.size);
    t.deepEqual([...load.problems.values()], []);
    t.deepEqual(load.names(), ['second', ...pids(processes)].sort());
  });
}

for (const [way, locations] of Object.entries({
  'over channels': (socket: string) => `location / { fd_pass unix:${first(socket)}; fd_pass_keepalive 2; }`,
  'with nothing but its path': (socket: string) => `location / { fd_pass unix:${first(socket)}; }`,
  'with a fallback to the same socket': (socket: string) =>
    `location / { fd_pass unix:${first(socket)}; fd_pass_fallback @relay; }
     location @relay { include /etc/nginx/scgi_params; scgi_pass unix:${first(socket)}; }`,
  'in an upstream that names it twice': () => 'location / { fd_pass twice; }',
})) {
  withNginx(`one takes the socket over from the other under load, ${way}: nothing is lost`, async (t) => {
    const { port, host, socket } = await behindNginx(t, {
      locations,
      http: (path) =>
        `upstream twice { server unix:${first(path)} max_fails=0; server unix:${first(path)} max_fails=0 backup; }`,
    });
    const processes = await Promise.all(Array.from({ length: 5 }, () => backendProcess(t, first(socket))));
    let draining: Promise<unknown> | undefined;
    let before: CommandedProcess | undefined;
    let load: CountingLoad | undefined;
    for (const backend of processes) {
      t.is(await backend.ask('takeover'), 'listening');
      draining = before?.ask('close');
      load ??= new CountingLoad(port, host);
      await load.answered(150);
      await draining;
      before = backend;
    }
    t.is(await load?.stop(), load?.answers.size);
    t.deepEqual([...(load?.problems.values() ?? [])], []);
    t.deepEqual(load?.names(), pids(processes).sort());
  });
}
