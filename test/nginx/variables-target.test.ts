// fd_pass with variables: which values name a backend, and that no other value, and no client, makes nginx connect anywhere.
import { join } from 'node:path';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { Recorder, type RecordingNginx, recordingNginx, valuesOf } from '../helpers/recording-nginx.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

async function get({ host, port }: RecordingNginx, name: string, target = '/'): Promise<string> {
  const client = await RawClient.connect(port, host);
  await client.send(`GET ${target} HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`);
  return await client.readToEnd();
}

const hostsOf = ({ messages }: Recorder): string[] =>
  messages.flatMap((message) => valuesOf(message, 'HTTP_HOST'));

withNginx('a map by host chooses a path or an upstream, whatever the case of its name', async (t) => {
  const front = await recordingNginx(t, {
    http: `upstream pool { server unix:@FOLDER@/pool.sock; }
      map $host $app { path.test unix:@FOLDER@/app.sock; pool.test pool; upper.test POOL; }`,
    server: 'location / { fd_pass $app; }',
  });
  const pool = await Recorder.listen(join(front.folder, 'pool.sock'));
  t.teardown(() => pool.close());
  for (const host of ['path.test', 'pool.test', 'PATH.test', 'upper.test']) t.is(await get(front, host), '');
  t.deepEqual(hostsOf(front.recorder), ['path.test', 'PATH.test']);
  t.deepEqual(hostsOf(pool), ['pool.test', 'upper.test']);
  t.deepEqual(
    (await front.accessLog(4)).map((line) => line.split(' ')[3]),
    ['app', 'pool', 'app', 'pool'].map((name) => `"unix:${front.folder}/${name}.sock"`),
  );
});

withNginx('a path may be put together from parts', async (t) => {
  const front = await recordingNginx(t, {
    server: 'location / { set $name app; fd_pass unix:@FOLDER@/$name.sock; }',
  });
  t.is(await get(front, 'example.test'), '');
  t.deepEqual(hostsOf(front.recorder), ['example.test']);
});

const NEITHER = 'neither "unix:" with an absolute path nor a known upstream';

const wrong: Readonly<Record<string, string>> = {
  'unix:app.sock': `"fd_pass" evaluated to "unix:app.sock", ${NEITHER}`,
  'unix:': `"fd_pass" evaluated to "unix:", ${NEITHER}`,
  'unix:/': `"fd_pass" evaluated to "unix:/", ${NEITHER}`,
  '@FOLDER@/app.sock': `"fd_pass" evaluated to "@FOLDER@/app.sock", ${NEITHER}`,
  'http://unix:@FOLDER@/app.sock': `"fd_pass" evaluated to "http://unix:@FOLDER@/app.sock", ${NEITHER}`,
  'UNIX:@FOLDER@/app.sock': `"fd_pass" evaluated to "UNIX:@FOLDER@/app.sock", ${NEITHER}`,
  '127.0.0.1:9': `"fd_pass" evaluated to "127.0.0.1:9", ${NEITHER}`,
  '127.0.0.1': `"fd_pass" evaluated to "127.0.0.1", ${NEITHER}`,
  localhost: `"fd_pass" evaluated to "localhost", ${NEITHER}`,
  nowhere: `"fd_pass" evaluated to "nowhere", ${NEITHER}`,
  poo: `"fd_pass" evaluated to "poo", ${NEITHER}`,
  pools: `"fd_pass" evaluated to "pools", ${NEITHER}`,
  '': `"fd_pass" evaluated to "", ${NEITHER}`,
  tcp: '"fd_pass" needs UNIX sockets, and upstream "tcp" has "127.0.0.1:9"',
  [`unix:/${'p'.repeat(107)}`]: `"fd_pass" evaluated to "unix:/${'p'.repeat(107)}": too long path in the unix domain socket`,
};

for (const [value, complaint] of Object.entries(wrong)) {
  withNginx(`"${value}" is a 500, not the fallback, and the log says why`, async (t) => {
    const front = await recordingNginx(t, {
      http: `upstream pool { server unix:@FOLDER@/app.sock; }
        upstream tcp { server unix:@FOLDER@/app.sock; server 127.0.0.1:9; }`,
      // nginx makes an upstream of its own for proxy_pass: that is none an operator declared.
      server: `location /proxied { proxy_pass http://127.0.0.1:9; } location /also { scgi_pass unix:@FOLDER@/app.sock; }
        location / { set $to "${value}"; fd_pass $to; fd_pass_fallback @relay; } location @relay { return 204; }`,
    });
    t.regex(await get(front, 'example.test'), /^HTTP\/1\.1 500 /);
    t.deepEqual(front.recorder.messages, []);
    t.deepEqual(await front.accessLog(1), ['/ 500 "none" "-" "-"']);
    const errors = front.nginx.errorLog().match(/(?<=\[error\] \d+#\d+: \*\d+ ).*(?=, client: )/g);
    t.deepEqual(errors, [complaint.replaceAll('@FOLDER@', front.folder)]);
  });
}

withNginx('a client cannot steer the documented configuration to another socket', async (t) => {
  const front = await recordingNginx(t, {
    http: `map $host $app { default ""; a.test unix:@FOLDER@/app.sock; }
      map $host $own { default unix:@FOLDER@/apps/$host.sock; }`,
    server: 'server_name ~.; location / { fd_pass $app; } location /own/ { fd_pass $own; }',
  });
  const other = await Recorder.listen(join(front.folder, 'other.sock'));
  t.teardown(() => other.close());
  const path = `${front.folder}/other.sock`;
  const hosts = [
    'b.test',
    `unix:${path}`,
    `unix%3A${path}`,
    '../other',
    '..',
    './../other',
    'a\\..\\other',
    `a.test/${path}`,
    '[unix:]',
    '"',
  ];
  for (const host of hosts) {
    for (const target of ['/', '/own/', `/?app=unix:${path}`, `http://${host}/own/`]) {
      t.regex(await get(front, host, target), /^HTTP\/1\.1 (400|500|503) /, `${host} ${target}`);
    }
  }
  t.deepEqual(other.messages, []);
  t.deepEqual(front.recorder.messages, []);
});
