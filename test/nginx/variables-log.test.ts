// $fd_pass_handover, $fd_pass_upstream and $fd_pass_time: in the access log, in header fields, and across redirects.
import { join } from 'node:path';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { Recorder, type RecordingNginx, recordingNginx } from '../helpers/recording-nginx.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

async function exchange({ host, port }: RecordingNginx, ...requests: string[]): Promise<string> {
  const client = await RawClient.connect(port, host);
  await client.send(requests.join(''));
  return await client.readToEnd();
}

const get = (target: string, version = '1.1'): string => `GET ${target} HTTP/${version}\r\nHost: a\r\n\r\n`;

/** The lines of the log with the folder and what a time depends on left out. */
const logOf = async (front: RecordingNginx, count: number): Promise<string[]> =>
  (await front.accessLog(count)).map((line) =>
    line.replaceAll(`unix:${front.folder}/`, '').replace(/"0\.[0-4]\d\d"$/, '"fast"'),
  );

withNginx('what was handed over is logged as 000, full, with its backend and its time', async (t) => {
  const front = await recordingNginx(t);
  t.is(await exchange(front, get('/a')), '');
  t.deepEqual(await logOf(front, 1), ['/a 000 "full" "app.sock" "fast"']);
});

withNginx('the time is that until the acknowledgement, in seconds with milliseconds', async (t) => {
  const front = await recordingNginx(t, {
    answer: 'later',
    server: `location / { fd_pass unix:@FOLDER@/app.sock;
    fd_pass_send_timeout 1200ms; }`,
  });
  const received = await exchange(front, get('/a').replace('Host', 'Connection: close\r\nHost'));
  front.recorder.takeWaiting();
  t.regex(received, /^HTTP\/1\.1 504 /);
  const [line = ''] = await front.accessLog(1);
  t.regex(line, /^\/a 504 "none" ".*" "1\.[2-9]\d\d"$/);
});

withNginx('where no fd_pass location was entered there is nothing to log', async (t) => {
  const front = await recordingNginx(t, {
    server: `location / { return 204; } location /denied { deny all; fd_pass unix:@FOLDER@/app.sock; }
      location /app/ { fd_pass unix:@FOLDER@/app.sock; }`,
  });
  await exchange(front, get('/'), get('/denied'), get('/app'), 'rubbish\r\n\r\n');
  t.deepEqual(await logOf(front, 4), [
    '/ 204 "-" "-" "-"',
    '/denied 403 "-" "-" "-"',
    '/app 301 "-" "-" "-"',
    '- 400 "-" "-" "-"',
  ]);
});

withNginx(
  'none survives the fallback, error_page and try_files; backends are named where some were tried',
  async (t) => {
    const front = await recordingNginx(t, {
      server: `set $to unix:@FOLDER@/app.sock;
      location /old { fd_pass $to; fd_pass_fallback @relay; }
      location /down { fd_pass unix:@FOLDER@/none.sock; fd_pass_fallback @relay; }
      location /page { fd_pass unix:@FOLDER@/none.sock; error_page 503 /sorry; }
      location /named { fd_pass unix:@FOLDER@/none.sock; error_page 503 = @tried; }
      location @tried { try_files /nothing @relay; }
      location /wrong { set $to unix:none; fd_pass $to; error_page 500 = @relay; }
      location @relay { add_header X-Handover "$fd_pass_handover $fd_pass_upstream"; return 200 $fd_pass_time; }
      location = /sorry { return 200 sorry; }`,
    });
    const received = [
      await exchange(front, get('/down'), get('/page'), get('/named'), get('/old', '1.0')),
      // A 500 ends the connection, whatever is made of it.
      await exchange(front, get('/wrong')),
    ].join('');
    t.deepEqual(await logOf(front, 5), [
      '/down 200 "none" "none.sock" "fast"',
      '/sorry 503 "none" "none.sock" "fast"',
      '/named 200 "none" "none.sock" "fast"',
      '/old 200 "none" "-" "-"',
      '/wrong 200 "none" "-" "-"',
    ]);
    t.deepEqual(received.replaceAll(front.folder, '').match(/(?<=X-Handover: ).*(?=\r)/g), [
      'none unix:/none.sock',
      'none unix:/none.sock',
      'none ',
      'none ',
    ]);
  },
);

withNginx('every backend that was tried is named, in order, also one that was tried again', async (t) => {
  const front = await recordingNginx(t, {
    http: `upstream app { server unix:@FOLDER@/a.sock max_fails=0; server unix:@FOLDER@/refuses.sock max_fails=0;
      server unix:@FOLDER@/app.sock max_fails=0; }
      upstream down { server unix:@FOLDER@/a.sock max_fails=0; server unix:@FOLDER@/b.sock backup max_fails=0; }`,
    server: `location / { fd_pass app; } location /down { fd_pass down; fd_pass_fallback @app; }
      location @app { fd_pass unix:@FOLDER@/app.sock; }`,
  });
  const refusing = await Recorder.listen(join(front.folder, 'refuses.sock'), 'refused');
  t.teardown(() => refusing.close());
  t.is(await exchange(front, get('/a')), '');
  t.is(await exchange(front, get('/down')), '');
  t.deepEqual(await logOf(front, 2), [
    `/a 000 "full" "${['a', 'refuses'].map((name) => `${name}.sock`).join(', ')}, app.sock" "fast"`,
    // What counts is the fd_pass location that was entered last.
    '/down 000 "full" "app.sock" "fast"',
  ]);
  t.is(refusing.messages.length, 1);
});

withNginx('each request of a connection has its own values', async (t) => {
  const front = await recordingNginx(t, {
    server: `location / { return 204; } location /down { fd_pass unix:@FOLDER@/none.sock; }
      location /app { fd_pass unix:@FOLDER@/app.sock; }`,
  });
  const received = await exchange(front, get('/down'), get('/'), get('/app'), get('/not-nginxs-any-more'));
  t.deepEqual(received.match(/^HTTP\/1\.1 \d+/gm), ['HTTP/1.1 503', 'HTTP/1.1 204']);
  t.deepEqual(await logOf(front, 3), [
    '/down 503 "none" "none.sock" "fast"',
    '/ 204 "-" "-" "-"',
    '/app 000 "full" "app.sock" "fast"',
  ]);
  t.is(front.recorder.messages[0]?.earlyBytes, get('/not-nginxs-any-more'));
});

withNginx('a log may leave out what was handed over', async (t) => {
  const front = await recordingNginx(t, {
    http: `map $fd_pass_handover $is_answered_here { default 1; full 0; partial 0; }
      server { listen unix:@FOLDER@/clients.sock; access_log @FOLDER@/access.log recorded if=$is_answered_here;
        location / { fd_pass unix:@FOLDER@/app.sock; } location /here { return 204; } }`,
  });
  const client = await RawClient.connect(join(front.folder, 'clients.sock'));
  await client.send(`${get('/here')}${get('/app')}`);
  await client.readToEnd();
  await exchange(front, get('/last'));
  t.deepEqual(await logOf(front, 2), ['/here 204 "-" "-" "-"', '/last 000 "full" "app.sock" "fast"']);
});
