// Channels of our nginx module, as a backend sees them: which connections are made, which are used again, and when they end.
import { dirname, join } from 'node:path';
import test from 'ava';
import { ChannelBackend, KEPT, keeping } from '../helpers/channel-backend.js';
import { channelNginx, halted, inTurn } from '../helpers/channel-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';
import { TAKEN, WireBackend } from '../helpers/wire-backend.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const counts = ({ connections }: ChannelBackend): number[] =>
  connections.map(({ messages }) => messages.length);

withNginx('a backend that keeps the connection gets the next clients on it', async (t) => {
  const { ask, backend, descriptors, accessLog, path, nginx } = await channelNginx(t);
  t.deepEqual(
    await inTurn(20, (n) => ask(`/${n}`)),
    Array.from({ length: 20 }, (_none, n) => `200 kept /${n}`),
  );
  t.deepEqual(counts(backend), [20]);
  for (const message of backend.messages) t.deepEqual(message.values('FD_PASS_KEEPALIVE'), ['1']);
  await until('nginx has the channel and nothing else', () => descriptors() === 1);
  for (const line of await accessLog(20)) {
    t.true(line.startsWith('GET /'));
    t.true(line.includes(` 000 0 full "unix:${path}" `), line);
  }
  t.notRegex(nginx.errorLog(), /\[(warn|error|crit|alert|emerg)\]/);
});

withNginx('a backend that only knows 0x06 gets a connection for each client', async (t) => {
  const { ask, descriptors, socket } = await channelNginx(t, {
    locations: (_path, old) => `location / { fd_pass unix:${join(dirname(old), 'old.sock')}; }`,
  });
  const old = new WireBackend(join(dirname(socket), 'old.sock'), (offer) => {
    if (offer.isWhole && offer.close(TAKEN) === 0)
      offer.answer('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nold');
  });
  t.teardown(() => old.close());
  t.deepEqual(await inTurn(5, () => ask()), Array(5).fill('200 old'));
  t.is(old.offers.length, 5);
  await until('nginx has nothing left', () => descriptors() === 0);
});

withNginx('without fd_pass_keepalive a message does not ask for it, and 0x16 is no answer', async (t) => {
  const { ask, backend, nginx } = await channelNginx(t, {
    directives: '',
    behave: (message) => {
      message.connection.answer(KEPT);
      message.drop();
    },
  });
  t.regex(await ask(), /^502 /);
  t.deepEqual(backend.messages[0]?.values('FD_PASS_KEEPALIVE'), []);
  t.regex(nginx.errorLog(), /the backend answered 0x16 instead of an acknowledgement/);
});

withNginx('fd_pass_keepalive 3: three are opened one after the other, then used in turn', async (t) => {
  const { ask, backend, descriptors } = await channelNginx(t, { directives: 'fd_pass_keepalive 3;' });
  await inTurn(3, () => ask());
  t.deepEqual(counts(backend), [1, 1, 1]);
  await inTurn(9, () => ask());
  t.deepEqual(counts(backend), [4, 4, 4]);
  await until('nginx has three channels', () => descriptors() === 3);
});

withNginx('of more connections than channels the others are closed', async (t) => {
  const CLIENTS = 10;
  const { ask, backend, descriptors } = await channelNginx(t, { behave: () => {} });
  const answers = Array.from({ length: CLIENTS }, () => ask());
  await until('all are offered', () => backend.messages.length === CLIENTS);
  t.is(backend.connections.length, CLIENTS);
  for (const message of backend.messages) keeping()(message);
  t.deepEqual(await Promise.all(answers), Array(CLIENTS).fill('200 kept /'));
  await until('one is left', () => backend.connections.filter(({ isOver }) => !isOver).length === 1);
  await until('nginx has one channel', () => descriptors() === 1);
});

withNginx('fd_pass_keepalive_handovers: a channel that has had them is closed and replaced', async (t) => {
  const { ask, backend, descriptors } = await channelNginx(t, {
    directives: 'fd_pass_keepalive 1; fd_pass_keepalive_handovers 3;',
  });
  t.deepEqual(await inTurn(7, () => ask()), Array(7).fill('200 kept /'));
  t.deepEqual(counts(backend), [3, 3, 1]);
  await until(
    'the full ones are closed',
    () => backend.connections.filter((each) => each.isOver).length === 2,
  );
  await until('nginx has one channel', () => descriptors() === 1);
});

withNginx('fd_pass_keepalive_handovers 1 keeps none', async (t) => {
  const { ask, backend, descriptors } = await channelNginx(t, {
    directives: 'fd_pass_keepalive 1; fd_pass_keepalive_handovers 1;',
  });
  t.deepEqual(await inTurn(3, () => ask()), Array(3).fill('200 kept /'));
  t.deepEqual(counts(backend), [1, 1, 1]);
  await until('nginx has nothing left', () => descriptors() === 0);
});

withNginx('fd_pass_keepalive_timeout: an idle channel is closed', async (t) => {
  const { ask, backend, descriptors } = await channelNginx(t, {
    directives: 'fd_pass_keepalive 1; fd_pass_keepalive_timeout 300ms;',
  });
  await inTurn(2, () => ask());
  t.deepEqual(counts(backend), [2]);
  await until('nginx has closed it', () => backend.connections[0]?.isOver === true);
  t.is(descriptors(), 0);
  t.is(await ask(), '200 kept /');
  t.deepEqual(counts(backend), [2, 1]);
});

withNginx('a backend that closes an idle channel is asked over a new connection', async (t) => {
  const { ask, backend, descriptors, nginx } = await channelNginx(t);
  t.is(await ask(), '200 kept /');
  t.is(backend.connections[0]?.close(), 0);
  await until('nginx has closed its end', () => descriptors() === 0);
  t.is(await ask(), '200 kept /');
  t.deepEqual(counts(backend), [1, 1]);
  t.notRegex(nginx.errorLog(), /\[(warn|error|crit|alert|emerg)\]/);
});

withNginx('the same where nginx has not noticed yet', async (t) => {
  const { ask, backend, nginx, host, port, accessLog } = await channelNginx(t);
  t.is(await ask(), '200 kept /');
  const client = await RawClient.connect(port, host);
  await client.send('GET /late HTTP/1.1\r\nHost: exam');
  const [worker = 0] = nginx.workers();
  t.is(await ask('/accepted-behind-it'), '200 kept /accepted-behind-it');
  const goOn = await halted(worker);
  // nginx is told of the request first, then of the channel.
  await client.send('ple.test\r\nConnection: close\r\n\r\n');
  backend.connections[0]?.close();
  goOn();
  t.true((await client.readToEnd()).endsWith('\r\n\r\nkept /late'));
  t.deepEqual(counts(backend), [2, 1]);
  t.regex((await accessLog(3))[2] ?? '', /^GET \/late 000 0 full "unix:[^,"]+" /);
  t.notRegex(nginx.errorLog(), /\[(warn|error|crit|alert|emerg)\]/);
});

withNginx('0x06 on a channel takes the client and is the last answer on it', async (t) => {
  const { ask, backend, descriptors } = await channelNginx(t, {
    behave: (message) => {
      if (message.target !== '/last') return keeping()(message);
      message.connection.close(TAKEN);
      message.serve('taken');
    },
  });
  t.is(await ask(), '200 kept /');
  t.is(await ask('/last'), '200 taken');
  await until('nginx has closed it', () => descriptors() === 0);
  t.is(await ask(), '200 kept /');
  t.deepEqual(counts(backend), [2, 1]);
});

withNginx('nginx ends a channel whose last answer was 0x06 itself, too', async (t) => {
  const { ask, backend } = await channelNginx(t, {
    behave: (message) => {
      if (message.target !== '/last') return keeping()(message);
      message.connection.answer(TAKEN);
      message.serve('taken');
    },
  });
  t.is(await ask(), '200 kept /');
  t.is(await ask('/last'), '200 taken');
  await until('nginx has closed it', () => backend.connections[0]?.isOver === true);
});

withNginx('each backend of an upstream has its own channel, and nginx balances as before', async (t) => {
  const { ask, backend, socket } = await channelNginx(t, {
    http: (path, socket) =>
      `upstream two { server unix:${path}; server unix:${join(dirname(socket), 'b.sock')} weight=2; }`,
    locations: () => 'location / { fd_pass two; }',
  });
  const other = new ChannelBackend(join(dirname(socket), 'b.sock'), keeping('other'));
  t.teardown(() => other.close());
  const answers = await inTurn(12, () => ask());
  t.is(answers.filter((answer) => answer === '200 other /').length, 8);
  t.deepEqual([counts(backend), counts(other)], [[4], [8]]);
});

withNginx('locations share channels if their settings are the same', async (t) => {
  const { ask, backend, path } = await channelNginx(t, {
    locations: (path) => `
      location /a { fd_pass unix:${path}; }
      location /b { fd_pass unix:${path}; fd_pass_param WHERE b; }
      location /variable { fd_pass unix:$arg_path; }
      location /longer { fd_pass unix:${path}; fd_pass_keepalive_timeout 2m; }
      location /more { fd_pass unix:${path}; fd_pass_keepalive 2; }
      location /off { fd_pass unix:${path}; fd_pass_keepalive 0; }`,
    behave: (message) => {
      if (message.values('FD_PASS_KEEPALIVE').length > 0) return keeping()(message);
      message.connection.close(TAKEN);
      message.serve('off');
    },
  });
  for (const target of ['/a', '/b', '/a', `/variable?path=${path}`])
    t.is(await ask(target), `200 kept ${target}`);
  t.deepEqual(counts(backend), [4]);
  for (const target of ['/longer', '/longer', '/more', '/more', '/more', '/off', '/off']) await ask(target);
  t.deepEqual(counts(backend), [4, 2, 2, 1, 1, 1]);
});

withNginx('a request with early bytes goes on a channel with all of them', async (t) => {
  const { ask, backend, host, port } = await channelNginx(t);
  t.is(await ask(), '200 kept /');
  const client = await RawClient.connect(port, host);
  const body = 'b'.repeat(800);
  await client.send(`POST /early HTTP/1.1\r\nHost: example.test\r\nContent-Length: 800\r\n\r\n${body}`);
  t.true((await client.readToEnd()).endsWith('kept /early'));
  t.deepEqual(counts(backend), [2]);
  t.true(backend.messages[1]?.bytes.endsWith(`,${body}`));
});

for (const client of ['ends politely', 'resets'] as const) {
  withNginx(`a client that ${client} while it waits on a channel costs the others nothing`, async (t) => {
    const { ask, backend, host, port, descriptors } = await channelNginx(t, {
      behave: (message) => (message.target === '/' ? keeping()(message) : undefined),
    });
    t.is(await ask(), '200 kept /');
    const leaving = await RawClient.connect(port, host);
    await leaving.send('GET /leaving HTTP/1.1\r\nHost: example.test\r\n\r\n');
    const others = ['/1', '/2'].map((target) => ask(target));
    await until('all wait', () => backend.messages.length === 4);
    if (client === 'resets') leaving.socket.resetAndDestroy();
    else leaving.socket.end();
    const waiting = backend.messages.slice(1);
    t.is(backend.connections[0]?.answer(...waiting.map(() => KEPT)), 0);
    for (const message of waiting) {
      if (message.target === '/leaving') message.drop();
      else message.serve(message.target);
    }
    t.deepEqual(await Promise.all(others), ['200 /1', '200 /2']);
    t.is(await ask(), '200 kept /');
    t.deepEqual(counts(backend), [5]);
    await until('nginx has the channel and nothing else', () => descriptors() === 1);
  });
}
