// The configurations of deploy/nginx, each started as it is (helpers/deployed.ts says what is replaced) and used as its comments say.
// Those about who the client is are in deploy-clients.test.ts, those that let some requests in and others not in deploy-access.test.ts.
import { once } from 'node:events';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import test from 'ava';
import { WebSocket, WebSocketServer } from 'ws';
import { makeClientCertificate, makeServerCertificate } from '../helpers/certificates.js';
import { curl } from '../helpers/curl.js';
import { configuration, deployed, type Seen, seen } from '../helpers/deployed.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { root } from '../helpers/fdpass-command.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs, program } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule, program('curl'), program('openssl'));

const seenBy = ({ body }: { body: string }): Seen => JSON.parse(body);

test('every configuration is started by a test', (t) => {
  const folder = join(root, 'test', 'nginx');
  const tests = readdirSync(folder)
    .filter((name) => name.startsWith('deploy'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n');
  const names = readdirSync(join(root, 'deploy', 'nginx')).filter((name) => name.endsWith('.conf'));
  t.true(names.length > 0);
  t.deepEqual(
    names.filter((name) => !new RegExp(`deployed\\(t, '${name}'`).test(tests)),
    [],
  );
});

test('the README of deploy/nginx has every configuration, and no other', (t) => {
  const readme = readFileSync(join(root, 'deploy', 'nginx', 'README.md'), 'utf8');
  const names = readdirSync(join(root, 'deploy', 'nginx')).filter((name) => name.endsWith('.conf'));
  const rows = [...readme.matchAll(/^\| \[(\S+\.conf)\]\(\1\)/gm)].map(([, name]) => name);
  t.deepEqual(rows.sort(), names.sort());
});

withNginx('all of them can be in one nginx', async (t) => {
  const names = readdirSync(join(root, 'deploy', 'nginx')).filter((name) => name.endsWith('.conf'));
  const all = await deployed(t, 'plain.conf', {
    prepare: async (folder) => {
      await makeServerCertificate(folder);
      await makeClientCertificate(folder, '/CN=x');
    },
    edit: () => names.map(configuration).join('\n'),
  });
  t.is((await curl(all.url(80), '-H', 'Host: plain.example.test')).status, 200);
  t.notRegex(all.nginx.errorLog(), /\[(?:warn|error|emerg)\]/);
});

withNginx('plain: a client is handed over, and the log says to whom and how fast', async (t) => {
  const plain = await deployed(t, 'plain.conf');
  const facts = seenBy(await curl(plain.url(80)));
  t.is(facts.handover, 'full');
  t.false(facts.encrypted);
  const [line = ''] = await plain.log('plain.log', 1);
  t.regex(line, /^127\.\S+ "GET \/ HTTP\/1\.1" 000 full "unix:\S+\/app\.sock" \d\.\d{3}$/);
});

withNginx('plain: HTTP/1.0 gets 505, a socket without a listener 503, and a large body 413', async (t) => {
  const plain = await deployed(t, 'plain.conf');
  t.is((await curl(plain.url(80), '--http1.0')).status, 505);
  const { host, port } = plain.at(80);
  const client = await RawClient.connect(port, host);
  await client.send('POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 104857601\r\n\r\n');
  await client.readUntil('\r\n\r\n');
  t.regex(client.received, /^HTTP\/1\.1 413 /);
  await client.close();
  t.deepEqual(plain.reached, []);
  const nobody = await deployed(t, 'plain.conf', { backends: {} });
  t.is((await curl(nobody.url(80))).status, 503);
});

const served = { prepare: makeServerCertificate };

/** Answers what it saw, and the length of the body. */
const measuring = {
  handler: async (request: IncomingMessage, response: ServerResponse) => {
    const { length } = await buffer(request);
    response.end(JSON.stringify({ ...seen(request), length }));
  },
};

for (const { what, port, options, version, handover } of [
  { what: 'HTTP/1.1', port: 80, options: ['--http1.1'], version: '1.1', handover: 'full' },
  { what: 'HTTP/1.0', port: 80, options: ['--http1.0'], version: '1.1', handover: 'relay' },
  { what: 'HTTP/2', port: 443, options: ['--http2'], version: '2', handover: 'relay' },
]) {
  withNginx(`fallback: ${what} reaches the handler (${handover}) with its body whole`, async (t) => {
    const fallback = await deployed(t, 'fallback.conf', { ...served, backends: { 'app.sock': measuring } });
    const file = join(fallback.folder, 'body');
    writeFileSync(file, 'b'.repeat(300_000));
    const answer = await curl(fallback.url(port), ...options, '--data-binary', `@${file}`);
    t.is(answer.status, 200);
    t.is(answer.version, version);
    const facts = JSON.parse(answer.body) as Seen & { length: number };
    t.is(facts.handover, handover);
    t.is(facts.encrypted, port === 443);
    t.is(facts.length, 300_000);
    t.is(fallback.reached.length, 1);
  });
}

withNginx('failover: clients go to both in turn, and to the other one while one is down', async (t) => {
  const failover = await deployed(t, 'failover.conf', {
    backends: { 'app-1.sock': {}, 'app-2.sock': {} },
  });
  const url = failover.url(80);
  for (const path of ['/1', '/2']) t.is((await curl(url + path)).status, 200);
  const sockets = (): string[] => failover.reached.map((each) => each.split(' ')[0] ?? '').sort();
  t.deepEqual(sockets(), ['app-1.sock', 'app-2.sock']);

  const first = failover.servers['app-1.sock'];
  const ended = once(first as NonNullable<typeof first>, 'close');
  first?.close();
  await ended;
  for (const path of ['/3', '/4', '/5']) {
    const answer = await curl(url + path, '-d', 'name=value');
    t.is(answer.status, 200);
    t.is(seenBy(answer).handover, 'full', 'no relay was needed');
  }
  t.deepEqual(sockets(), ['app-1.sock', ...Array(4).fill('app-2.sock')]);
  const lines = (await failover.log('failover.log', 5)).slice(2);
  t.regex(lines.join('\n'), /"unix:\S+app-1\.sock, unix:\S+app-2\.sock"/, 'one of them was tried at both');
});

withNginx(
  'failover: one that is at its limit refuses, and is asked again with the next client',
  async (t) => {
    const failover = await deployed(t, 'failover.conf', {
      backends: { 'app-1.sock': { configure: (server) => (server.maxConnections = 0) }, 'app-2.sock': {} },
    });
    for (let sent = 0; sent < 4; sent++) t.is((await curl(failover.url(80))).status, 200);
    t.deepEqual(failover.reached, Array(4).fill('app-2.sock /'));
    t.is(failover.servers['app-1.sock']?.stats().refused, 2);
  },
);

withNginx('failover: with a socket that only closes, and one that does not exist, it is 502', async (t) => {
  const failover = await deployed(t, 'failover.conf', { backends: {} });
  const rude = createServer((connection) => connection.destroy());
  rude.listen(join(failover.folder, 'app-1.sock'));
  await once(rude, 'listening');
  t.teardown(() => rude.close());
  chmodSync(join(failover.folder, 'app-1.sock'), 0o666);
  t.is((await curl(failover.url(80))).status, 502);
});

withNginx('websocket: WebSockets are handed over, and nginx compresses the rest', async (t) => {
  const sockets = new WebSocketServer({ noServer: true });
  const upgrades: string[] = [];
  const websocket = await deployed(t, 'websocket.conf', {
    backends: {
      'app.sock': {
        configure: (server) =>
          server.on('upgrade', (request, socket, head) => {
            upgrades.push(seen(request).handover);
            sockets.handleUpgrade(request, socket, head, (each) => {
              each.on('message', (text) => each.send(`echo ${text}`));
            });
          }),
        handler: (request, response) => {
          response.setHeader('content-type', 'application/json');
          response.end(JSON.stringify({ ...seen(request), padding: 'x'.repeat(1000) }));
        },
      },
    },
  });
  const url = websocket.url(80);
  const client = new WebSocket(url.replace('http', 'ws'));
  await once(client, 'open');
  client.send('hello');
  t.is(String((await once(client, 'message'))[0]), 'echo hello');
  t.deepEqual(upgrades, ['full']);

  const answer = await curl(url, '--compressed', '-i');
  t.regex(answer.body, /^content-encoding: gzip\r$/im);
  t.regex(answer.body, /"handover":"relay"/);

  // A worker leaves when it has no connections left: this one is not its any more.
  const before = websocket.nginx.workers();
  await websocket.nginx.reload();
  await until('the worker has left', () => !websocket.nginx.workers().some((pid) => before.includes(pid)));
  client.send('still here');
  t.is(String((await once(client, 'message'))[0]), 'echo still here');
  client.close();
  await once(client, 'close');
});
