// nginx reloads and quits with channels in use: everybody gets one answer, and no worker stays for an idle channel.
import test, { type ExecutionContext } from 'ava';
import { KEPT, keeping } from '../helpers/channel-backend.js';
import { channelNginx } from '../helpers/channel-nginx.js';
import { CountingLoad, loadAnswer } from '../helpers/counting-load.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const EPIPE = 32;

/** nginx with channels and two workers, before a backend that answers whoever it is handed. `served()`: how many that were. */
async function servingNginx(t: ExecutionContext) {
  let served = 0;
  const scene = await channelNginx(t, {
    directives: 'fd_pass_keepalive 2;',
    nginx: { workers: 2 },
    behave: (message) => {
      if (message.connection.answer(KEPT) !== 0) return message.drop();
      served++;
      message.serve(loadAnswer(message.target, 'backend'));
    },
  });
  return { ...scene, served: () => served };
}

withNginx(
  'reload under load: every client gets its one answer, over channels, and the old workers leave',
  async (t) => {
    const { nginx, port, host, backend, served } = await servingNginx(t);
    const load = new CountingLoad(port, host);
    const former = new Set<number>();
    for (let n = 0; n < 5; n++) {
      await load.answered(200);
      for (const worker of nginx.workers()) former.add(worker);
      await nginx.reload();
    }
    await load.answered(200);
    const sent = await load.stop();
    t.deepEqual([...load.problems.values()], []);
    t.is(load.answers.size, sent);
    t.is(served(), sent, 'nobody was handed over twice');
    await until('the old workers are gone', () => nginx.workers().every((worker) => !former.has(worker)));
    t.true(
      backend.connections.length < sent / 5,
      `${backend.connections.length} connections for ${sent} clients`,
    );
    // Two of each worker at most.
    await until(
      'their channels are gone',
      () => backend.connections.filter((each) => !each.isOver).length <= 4,
    );
    t.notRegex(nginx.errorLog(), /\[(warn|error|crit|alert|emerg)\]/);
  },
);

withNginx('quit under load: whoever was handed over is answered, once', async (t) => {
  const { nginx, port, host, backend, served } = await servingNginx(t);
  const load = new CountingLoad(port, host);
  await load.answered(300);
  await nginx.quit();
  const sent = await load.stop();
  t.is(load.answers.size, served());
  t.is(load.answers.size + load.problems.size, sent);
  // nginx closes its listening socket with those it has not accepted yet.
  t.deepEqual(
    [...load.problems.values()].filter((problem) => !/^ECONN(REFUSED|RESET)$/.test(problem)),
    [],
  );
  t.true(backend.connections.every(({ isOver }) => isOver));
  t.notRegex(nginx.errorLog(), /alert|open socket/);
});

withNginx('quit closes idle channels at once, and waits for those with clients on them', async (t) => {
  const { nginx, ask, backend } = await channelNginx(t, {
    directives: 'fd_pass_keepalive 2;',
    behave: (message) => (message.target === '/later' ? undefined : keeping()(message)),
  });
  t.is(await ask(), '200 kept /');
  t.is(await ask(), '200 kept /');
  const later = ask('/later');
  await until('it waits', () => backend.messages.length === 3);
  const [busy, idle] = backend.connections;
  t.is(busy?.messages.length, 2);
  const quitting = nginx.quit();
  await until('the idle one is closed', () => idle?.isOver === true);
  t.false(busy?.isOver);
  t.is(busy?.answer(KEPT), 0);
  backend.messages[2]?.serve('taken at last');
  t.is(await later, '200 taken at last');
  await quitting;
  t.notRegex(nginx.errorLog(), /alert/);
});

withNginx('a worker that is to leave opens no channels', async (t) => {
  const { nginx, backend, host, port, descriptors } = await channelNginx(t);
  const half = await Promise.all(
    Array.from({ length: 3 }, async (_none, n) => {
      const client = await RawClient.connect(port, host);
      await client.send(`GET /${n} HTTP/1.1\r\nHost: exam`);
      return client;
    }),
  );
  await until('nginx has them', () => descriptors() === half.length);
  const quitting = nginx.quit();
  await until('nginx listens no more', () => nginx.errorLog().includes('gracefully shutting down'));
  for (const [n, client] of half.entries()) {
    await client.send('ple.test\r\nConnection: close\r\n\r\n');
    t.true((await client.readToEnd()).endsWith(`kept /${n}`));
  }
  await quitting;
  t.deepEqual(
    backend.connections.map(({ messages }) => messages.length),
    [1, 1, 1],
  );
});

withNginx(
  'worker_shutdown_timeout ends those that wait on a channel, and the backend learns of it',
  async (t) => {
    const { nginx, ask, backend } = await channelNginx(t, {
      nginx: { main: 'worker_shutdown_timeout 200ms;' },
      behave: (message) => (message.target === '/' ? keeping()(message) : undefined),
    });
    t.is(await ask(), '200 kept /');
    const waiting = [ask('/1'), ask('/2'), ask('/3')];
    await until('all wait', () => backend.messages.length === 4);
    await nginx.quit();
    t.notRegex(nginx.errorLog(), /alert|signal 11/);
    t.is(backend.connections[0]?.answer(KEPT, KEPT, KEPT), EPIPE);
    t.is(backend.messages.length, 4);
    for (const message of backend.messages) message.drop();
    for (const answer of await Promise.all(waiting)) t.notRegex(answer, /^200/);
  },
);
