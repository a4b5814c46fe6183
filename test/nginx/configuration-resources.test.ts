// What a handover costs nginx and gives back: the counters of stub_status, limit_conn, and a worker that has no connection left.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { type RecordingNginx, recordingNginx } from '../helpers/recording-nginx.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const get = (target: string, ...fields: string[]): string =>
  ['GET ', target, ' HTTP/1.1\r\nHost: a\r\n', ...fields.map((each) => `${each}\r\n`), '\r\n'].join('');
const LAST = 'Connection: close';

async function exchange({ host, port }: RecordingNginx, bytes: string): Promise<string> {
  const client = await RawClient.connect(port, host);
  await client.send(bytes);
  return await client.readToEnd();
}

interface Counters {
  readonly active: number;
  readonly accepted: number;
  readonly handled: number;
  readonly reading: number;
  readonly writing: number;
  readonly waiting: number;
}

/** Of `location = /status`, by a connection of its own, which is counted. */
async function counters(front: RecordingNginx): Promise<Counters> {
  const text = await exchange(front, get('/status', LAST));
  const numbers =
    /connections: (\d+) \n.*\n (\d+) (\d+) \d+ \nReading: (\d+) Writing: (\d+) Waiting: (\d+)/.exec(text);
  const [active = -1, accepted = -1, handled = -1, reading = -1, writing = -1, waiting = -1] = (numbers ?? [])
    .slice(1)
    .map(Number);
  return { active, accepted, handled, reading, writing, waiting };
}

/** Until no other connection is counted. */
async function assertIdle(front: RecordingNginx): Promise<void> {
  let last: Counters | undefined;
  for (let attempt = 0; attempt < 100; attempt++) {
    last = await counters(front);
    const { active, reading, writing, waiting } = last;
    if (active === 1 && reading === 0 && writing === 1 && waiting === 0) return;
  }
  throw new Error(`the counters do not come to rest: ${JSON.stringify(last)}`);
}

withNginx(
  'the counters of stub_status are as before after handovers, refusals, fallbacks and clients that left',
  async (t) => {
    const front = await recordingNginx(t, {
      server: `location = /status { stub_status; access_log off; } location / { fd_pass unix:@FOLDER@/app.sock; }
      location /down { fd_pass unix:@FOLDER@/none.sock; } location /static { return 204; }
      location /falls { fd_pass unix:@FOLDER@/none.sock; fd_pass_fallback @relay; } location @relay { return 204; }`,
    });
    await assertIdle(front);
    const before = await counters(front);
    const kinds = [
      get('/'),
      get('/static') + get('/'),
      get('/down') + get('/falls') + get('/'),
      get('/down', LAST),
      get('/falls', LAST),
      'GET / HTTP/1.0\r\n\r\n',
    ];
    for (let round = 0; round < 20; round++) {
      await Promise.all([
        ...kinds.map((bytes) => exchange(front, bytes)),
        RawClient.connect(front.port, front.host).then(async (client) => {
          await client.send(get('/'));
          await client.close();
        }),
      ]);
    }
    await assertIdle(front);
    const after = await counters(front);
    t.is(after.handled, after.accepted);
    t.true(after.accepted >= before.accepted + 140);
    t.true(front.recorder.messages.length >= 60);
  },
);

withNginx(
  'while it is offered a client is one that nginx writes to, and limit_conn counts it; after the handover neither',
  async (t) => {
    const front = await recordingNginx(t, {
      answer: 'later',
      http: 'limit_conn_zone $server_name zone=clients:32k;',
      server: `location = /status { stub_status; } location / { limit_conn clients 1; fd_pass unix:@FOLDER@/app.sock;
      fd_pass_fallback @relay; } location @relay { return 200 relayed; }`,
    });
    const first = await RawClient.connect(front.port, front.host);
    await first.send(get('/first'));
    await until('the first is offered', () => front.recorder.messages.length === 1);
    const { active, writing } = await counters(front);
    t.deepEqual({ active, writing }, { active: 2, writing: 2 });
    t.regex(await exchange(front, get('/second', LAST)), /^HTTP\/1\.1 503 /);

    front.recorder.takeWaiting();
    await first.readToEnd();
    await assertIdle(front);
    const third = exchange(front, get('/third'));
    await until('the third is offered', () => front.recorder.messages.length === 2);
    front.recorder.takeWaiting();
    t.is(await third, '');
  },
);

withNginx('limit_conn does not count a client that a backend has', async (t) => {
  const front = await recordingNginx(t, {
    http: 'limit_conn_zone $server_name zone=clients:32k;',
    server: 'location / { limit_conn clients 1; fd_pass unix:@FOLDER@/app.sock; }',
  });
  for (let nth = 0; nth < 10; nth++) t.is(await exchange(front, get(`/${nth}`)), '');
  t.is(front.recorder.messages.length, 10);
});

withNginx('a connection that keepalive holds for proxy_pass is not used for a handover', async (t) => {
  const front = await recordingNginx(t, {
    http: `upstream shared { server unix:@FOLDER@/origin.sock; keepalive 4; } log_format origin '$connection';
      server { listen unix:@FOLDER@/origin.sock; access_log @FOLDER@/origin.log origin; return 204; }`,
    server: `location /proxied { proxy_pass http://shared; proxy_http_version 1.1; proxy_set_header Connection ""; }
      location = /status { stub_status; } location / { fd_pass shared; }`,
  });
  t.regex(await exchange(front, get('/proxied', LAST)), /^HTTP\/1\.1 204 /);
  // What listens there is nginx itself, which speaks HTTP.
  t.regex(await exchange(front, get('/', LAST)), /^HTTP\/1\.1 502 /);
  t.regex(front.nginx.errorLog(), /fd_pass answers 502: the backend speaks another protocol/);
  const connections = readFileSync(join(front.folder, 'origin.log'), 'latin1').trimEnd().split('\n');
  t.is(new Set(connections).size, 2);
  await assertIdle(front);
});

/**
 * Takes every connection that the worker has: each client has begun a request, for nginx would close one that has not to make room.
 */
async function fillUp(t: ExecutionContext, { host, port }: RecordingNginx): Promise<RawClient[]> {
  const held: RawClient[] = [];
  for (;;) {
    const client = await RawClient.connect(port, host);
    t.teardown(() => client.close());
    await client.send(`${get('/fill')}GET /`);
    const isServed = (): boolean => client.received.includes('filled up');
    const isSentAway = (): boolean => client.socket.readableEnded || client.socket.destroyed;
    await until('nginx serves the client or sends it away', () => isServed() || isSentAway());
    if (!isServed()) return held;
    held.push(client);
  }
}

for (const [what, fallback, expected] of [
  ['a clean 500', '', /^HTTP\/1\.1 500 /],
  ['the fallback', 'fd_pass_fallback @relay;', /^HTTP\/1\.1 204 /],
] as const) {
  withNginx(`a worker without a connection left: ${what}, and afterwards all is well`, async (t) => {
    const front = await recordingNginx(t, {
      server: `location = /status { stub_status; } location @relay { return 204; }
        location = /fill { return 200 'filled up'; } location / { fd_pass unix:@FOLDER@/app.sock; ${fallback} }`,
      nginx: { connections: 16 },
    });
    const held = await fillUp(t, front);
    const [first, second] = held as [RawClient, RawClient];
    await first.send(` HTTP/1.1\r\nHost: a\r\n${LAST}\r\n\r\n`);
    t.regex((await first.readToEnd()).replace(/^.*filled up/s, ''), expected);
    t.regex(front.nginx.errorLog(), /fd_pass .*no connection to a backend could be made/);
    t.deepEqual(front.recorder.messages, []);

    // Its place is free now: the next one can be handed over.
    await second.send(' HTTP/1.1\r\nHost: a\r\n\r\n');
    t.true((await second.readToEnd()).endsWith('filled up'));
    t.is(front.recorder.messages.length, 1);
    await Promise.all(held.map((client) => client.close()));
    await assertIdle(front);
  });
}
