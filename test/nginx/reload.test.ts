// nginx reloads, quits and dies while it hands clients over: who is handed over does not notice, who is not yet is not lost.
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { CountingLoad, loadAnswer } from '../helpers/counting-load.js';
import { guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';
import { TAKEN, WireBackend } from '../helpers/wire-backend.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const slow = (socket: string): string => join(dirname(socket), 'slow.sock');

interface Front extends BehindNginx {
  /** Requests that the backend was asked. */
  readonly served: string[];
  connect(target?: string): Promise<RawClient>;
  webSocket(): Promise<RawClient>;
}

/** `/slow` goes to `slow.sock`, the rest to a server in this process that answers a CountingLoad and echoes upgraded connections. */
async function front(t: ExecutionContext, workers = 2, main = ''): Promise<Front> {
  const served: string[] = [];
  const behind = await behindNginx(t, {
    handler: (request, response) => {
      served.push(request.url ?? '');
      response.end(loadAnswer(request.url, 'backend'));
    },
    nginx: { workers, main },
    locations: (socket) => `
      location / { fd_pass unix:${socket}; }
      location /slow { fd_pass unix:${slow(socket)}; }`,
  });
  behind.server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.pipe(socket);
  });
  const connect = async (target = '/', fields = 'Connection: close\r\n'): Promise<RawClient> => {
    const client = await RawClient.connect(behind.port, behind.host);
    await client.send(`GET ${target} HTTP/1.1\r\nHost: example.test\r\n${fields}\r\n`);
    return client;
  };
  return {
    ...behind,
    served,
    connect,
    webSocket: async () => {
      const client = await connect('/', 'Connection: Upgrade\r\nUpgrade: echo\r\n');
      await client.readUntil('101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
      return client;
    },
  };
}

/** Both directions of an upgraded connection. */
async function echoes(client: RawClient, text: string): Promise<void> {
  await client.send(text);
  await client.readUntil(text);
}

async function allEnd(clients: readonly RawClient[]): Promise<void> {
  for (const client of clients) {
    client.socket.end();
    await client.readToEnd();
  }
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

withNginx('reload under load: every client gets its one answer, and the old workers leave', async (t) => {
  const { nginx, port, host, served } = await front(t);
  const load = new CountingLoad(port, host);
  const former = new Set<number>();
  for (let n = 0; n < 5; n++) {
    await load.answered(100);
    for (const worker of nginx.workers()) former.add(worker);
    await nginx.reload();
  }
  await load.answered(100);
  const sent = await load.stop();
  t.deepEqual([...load.problems.values()], []);
  t.is(load.answers.size, sent);
  t.is(served.length, sent, 'nobody was handed over twice');
  await until('the old workers are gone', () => nginx.workers().every((worker) => !former.has(worker)));
  t.is(nginx.workers().length, 2);
});

withNginx('quit under load: whoever was handed over is answered, once, and nobody gets a part', async (t) => {
  const { nginx, port, host, served } = await front(t);
  const load = new CountingLoad(port, host);
  await load.answered(200);
  await nginx.quit();
  const sent = await load.stop();
  t.is(load.answers.size, served.length);
  t.is(load.answers.size + load.problems.size, sent);
  // nginx closes its listening socket with those it has not accepted yet.
  t.deepEqual(
    [...load.problems.values()].filter((problem) => !/^ECONN(REFUSED|RESET)$/.test(problem)),
    [],
  );
});

withNginx(
  'quit waits for whoever nginx has accepted: half a head, and a backend that takes its time',
  async (t) => {
    const { nginx, socket, host, port, connect } = await front(t, 1);
    const backend = new WireBackend(slow(socket));
    t.teardown(() => backend.close());
    const half = await RawClient.connect(port, host);
    await half.send('GET /?n=7 HTTP/1.1\r\nHost: exam');
    const [worker = 0] = nginx.workers();
    const before = openDescriptors(worker).size;
    const waiting = await connect('/slow');
    await until('the client waits for the backend', () => backend.offers[0]?.isWhole === true);
    await until('nginx has both', () => openDescriptors(worker).size >= before + 2);
    const quitting = nginx.quit();
    await until('nginx listens no more', () => nginx.errorLog().includes('gracefully shutting down'));
    await half.send('ple.test\r\nConnection: close\r\n\r\n');
    t.regex(await half.readToEnd(), /^HTTP\/1\.1 200 .*\r\n\r\n7 backend$/s);
    t.true(isAlive(worker));
    t.is(backend.offers[0]?.close(TAKEN), 0);
    backend.offers[0]?.answer('taken at last');
    t.is(await waiting.readToEnd(), 'taken at last');
    await quitting;
    t.false(isAlive(worker));
  },
);

withNginx(
  'worker_shutdown_timeout ends a handover that nobody has acknowledged, and the backend learns of it',
  async (t) => {
    const { nginx, socket, connect } = await front(t, 1, 'worker_shutdown_timeout 200ms;');
    const backend = new WireBackend(slow(socket));
    t.teardown(() => backend.close());
    const waiting = await connect('/slow');
    await until('the client waits for the backend', () => backend.offers[0]?.isWhole === true);
    await nginx.quit();
    t.notRegex(nginx.errorLog(), /alert|signal 11/);
    const EPIPE = 32;
    t.is(backend.offers[0]?.close(TAKEN), EPIPE);
    backend.offers[0]?.drop();
    t.notRegex(await waiting.readToEnd(), /^HTTP\/1\.1 200/);
  },
);

withNginx('upgraded connections go on through a reload, after quit, and without any nginx', async (t) => {
  const { nginx, webSocket } = await front(t);
  const clients = await Promise.all(Array.from({ length: 10 }, webSocket));
  const former = nginx.workers();
  await nginx.reload();
  await until('the old workers are gone', () => !former.some(isAlive), 20_000);
  for (const client of clients) await echoes(client, 'after the reload');
  clients.push(await webSocket());
  await nginx.quit();
  t.deepEqual(nginx.workers(), []);
  for (const client of clients) await echoes(client, 'x'.repeat(100_000));
  t.is(clients.length, 11);
  await allEnd(clients);
});

withNginx(
  'a worker that is killed takes nobody with it that was handed over, and who waits for a backend stays untouched',
  async (t) => {
    const { nginx, socket, connect, webSocket } = await front(t, 1);
    const backend = new WireBackend(slow(socket));
    t.teardown(() => backend.close());
    const clients = await Promise.all(Array.from({ length: 10 }, webSocket));
    const waiting = await connect('/slow');
    await until('the client waits for the backend', () => backend.offers[0]?.isWhole === true);
    const former = nginx.workers();
    process.kill(former[0] ?? 0, 'SIGKILL');
    await until('the backend sees it', () => backend.offers[0]?.isOver === true);
    for (const client of clients) await echoes(client, 'still here');
    // Its acknowledgement fails, so the backend lets go: the client is told by the end of its connection, and may ask again.
    const EPIPE = 32;
    t.is(backend.offers[0]?.close(TAKEN), EPIPE);
    backend.offers[0]?.drop();
    t.is(await waiting.readToEnd(), '');
    await until('there is a new worker', () => nginx.workers().some((worker) => !former.includes(worker)));
    t.regex(await (await connect('/?n=1')).readToEnd(), /\r\n\r\n1 backend$/);
    await allEnd(clients);
  },
);

withNginx('workers killed under load: each client has one whole answer or none', async (t) => {
  const { nginx, port, host, served } = await front(t);
  const AT_A_TIME = 8;
  const KILLS = 4;
  const load = new CountingLoad(port, host, AT_A_TIME);
  for (let n = 0; n < KILLS; n++) {
    await load.answered(50);
    const former = nginx.workers();
    process.kill(former[0] ?? 0, 'SIGKILL');
    await until(
      'there is a new worker',
      () => nginx.workers().filter((worker) => !former.includes(worker)).length === 1,
    );
  }
  await load.answered(50);
  const sent = await load.stop();
  const lost = [...load.problems.values()];
  t.log(`${sent} clients, ${lost.length} lost in ${KILLS} kills`);
  t.is(load.answers.size, served.length, 'whom the backend has served has the answer');
  t.is(load.answers.size + lost.length, sent);
  t.deepEqual(
    lost.filter((problem) => !/^(ECONNRESET)?$/.test(problem)),
    [],
  );
  t.true(lost.length <= KILLS * AT_A_TIME);
});
