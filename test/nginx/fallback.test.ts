// What cannot be handed over: with fd_pass_fallback it is served by another location, whole and with its connection kept; without, the
// status says why. What backends do wrong is in backend-failures.test.ts.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { createConnection } from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { connectionInfo } from '@fdpass/backend-runtime';
import test from 'ava';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { recordingNginx } from '../helpers/recording-nginx.js';
import { needs } from '../helpers/requirements.js';
import type { Handler } from '../helpers/serve.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const sha256 = (bytes: string): string => createHash('sha256').update(bytes, 'latin1').digest('hex');
const BODY = Array.from({ length: 300_000 }, (_, at) => String.fromCharCode((at * 7) & 255)).join('');

/** Answers how the request came, its method and target, and the hash of its body. */
const report: Handler = async (request, response) => {
  const body = await buffer(request);
  const { handover } = connectionInfo(request);
  response.end(`${handover} ${request.method} ${request.url} ${sha256(body.toString('latin1'))}\n`);
};
const NO_BODY = sha256('');

const relayTo = (socket: string): string =>
  `location @relay { include /etc/nginx/scgi_params; scgi_pass unix:${socket}; }`;

/** Sends all on one connection, in one go, the last one asking for its end. */
async function exchange({ host, port }: Pick<BehindNginx, 'host' | 'port'>, bytes: string): Promise<string> {
  const client = await RawClient.connect(port, host);
  await client.send(bytes);
  return await client.readToEnd();
}

const post = (target: string, body: string, ...fields: string[]): string =>
  [
    `POST ${target} HTTP/1.1`,
    'Host: example.test',
    `Content-Length: ${body.length}`,
    ...fields,
    '',
    body,
  ].join('\r\n');

const LAST = 'GET /last HTTP/1.0\r\n\r\n';
const lastReport = `relay GET /last ${NO_BODY}\n`;
/** The first lines of the reports in what came, in order. */
const reports = (received: string): string[] =>
  received.match(/(?:full|relay) [A-Z]+ \/\S* [0-9a-f]{64}\n/g) ?? [];

withNginx('HTTP/1.0 falls back with its body, and keeps its connection', async (t) => {
  const front = await behindNginx(t, { handler: report });
  const head = `POST /a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: ${BODY.length}\r\n\r\n`;
  const received = await exchange(front, `${head}${BODY}${LAST}`);
  t.deepEqual(reports(received), [`relay POST /a ${sha256(BODY)}\n`, lastReport]);
  const log = await front.accessLog(2);
  t.regex(log[0] ?? '', /^POST \/a 200 \d+ none "-" -$/);
});

withNginx('HTTP/2 falls back with its body, each stream for itself', async (t) => {
  let listen = '';
  const front = await behindNginx(t, {
    handler: report,
    locations: (socket) => {
      listen = `${socket}.h2`;
      return `listen unix:${listen} http2; ${relayTo(socket)}
        location / { fd_pass unix:${socket}; fd_pass_fallback @relay; }`;
    },
  });
  const session = connectHttp2('http://example.test', { createConnection: () => createConnection(listen) });
  const answers = await Promise.all(
    ['/1', '/2'].map(async (target) => {
      const stream = session.request({ ':method': 'POST', ':path': target });
      stream.end(BODY, 'latin1');
      return await text(stream);
    }),
  );
  session.close();
  await once(session, 'close');
  t.deepEqual(
    answers,
    ['/1', '/2'].map((target) => `relay POST ${target} ${sha256(BODY)}\n`),
  );
  t.deepEqual(
    (await front.accessLog(2)).map((line) => line.split(' ')[4]),
    ['none', 'none'],
  );
});

for (const [what, locations] of [
  ['auth_request', `location /page { auth_request /part; root @WEB@; try_files /page.html =404; }`],
  ['ssi', 'location /page { ssi on; root @WEB@; try_files /page.html =404; }'],
  ['add_after_body', 'location /page { add_after_body /part; root @WEB@; try_files /page.html =404; }'],
] as const) {
  withNginx(`a subrequest falls back: ${what}`, async (t) => {
    const targets: string[] = [];
    const front = await behindNginx(t, {
      handler: (request, response) => {
        targets.push(`${connectionInfo(request).handover} ${request.headers['x-part']}`);
        response.end('of the part');
      },
      locations: (socket) => {
        writeFileSync(`${socket}.page.html`, 'page <!--# include virtual="/part" -->');
        return `${locations.replace('@WEB@', '/').replace('/page.html', `${socket}.page.html`)}
          default_type text/html;
          location = /part { fd_pass unix:${socket}; fd_pass_fallback @relay; } ${relayTo(socket)}`;
      },
    });
    const received = await exchange(
      front,
      'GET /page HTTP/1.1\r\nHost: a\r\nX-Part: 1\r\nConnection: close\r\n\r\n',
    );
    t.regex(received, /^HTTP\/1\.1 200 /);
    t.deepEqual(targets, ['relay 1']);
    t.is(received.includes('of the part'), what !== 'auth_request');
  });

  withNginx(`a subrequest without a fallback is a 500 of its own: ${what}`, async (t) => {
    const front = await recordingNginx(t, {
      server: `${locations.replace('@WEB@', '@FOLDER@')} default_type text/html;
        location = /part { fd_pass unix:@FOLDER@/app.sock; }`,
    });
    writeFileSync(`${front.folder}/page.html`, 'page <!--# include virtual="/part" -->');
    const received = await exchange(front, 'GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    if (what === 'auth_request') t.regex(received, /^HTTP\/1\.1 500 /);
    else t.regex(received, /^HTTP\/1\.1 200 .*page .*/s);
    t.deepEqual(front.recorder.messages, []);
    t.regex(
      front.nginx.errorLog(),
      /fd_pass answers 500: a subrequest cannot be handed over, and there is no "fd_pass_fallback"/,
    );
  });
}

withNginx('auth_request to a relayed location, and what it lets in is handed over', async (t) => {
  const front = await behindNginx(t, {
    handler: (request, response) => {
      if (request.url?.startsWith('/in') && request.headers['x-deny'] !== undefined)
        response.statusCode = 403;
      report(request, response);
    },
    locations: (
      socket,
    ) => `location / { auth_request /auth; fd_pass unix:${socket}; fd_pass_fallback @relay; }
      location = /auth { internal; fd_pass unix:${socket}; fd_pass_fallback @relay; } ${relayTo(socket)}`,
  });
  t.deepEqual(reports(await exchange(front, post('/in', 'body'))), [`full POST /in ${sha256('body')}\n`]);
  t.regex(await exchange(front, post('/in', 'body', 'X-Deny: 1', 'Connection: close')), /^HTTP\/1\.1 403 /);
  const [allowed = '', denied = ''] = await front.accessLog(2);
  t.regex(allowed, /^POST \/in 000 0 full /);
  // It did not get as far as fd_pass, only its subrequest did.
  t.regex(denied, /^POST \/in 403 \d+ - "-" -$/);
});

withNginx('a body that another module has read falls back, with the rest of its connection', async (t) => {
  const front = await behindNginx(t, {
    handler: report,
    locations: (socket) => `location / { mirror /mirror; fd_pass unix:${socket}; fd_pass_fallback @relay; }
      location = /mirror { internal; return 204; } ${relayTo(socket)}`,
  });
  const chunked = `POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n0\r\n\r\n`;
  const received = await exchange(front, `${post('/a', BODY)}${post('/b', 'small')}${chunked}${LAST}`);
  t.deepEqual(reports(received), [
    `relay POST /a ${sha256(BODY)}\n`,
    `relay POST /b ${sha256('small')}\n`,
    `relay POST /c ${sha256('chunk')}\n`,
    lastReport,
  ]);
});

withNginx('a body that another module has read, without a fallback, is a 500', async (t) => {
  const front = await recordingNginx(t, {
    server: `location / { mirror /mirror; fd_pass unix:@FOLDER@/app.sock; } location = /mirror { return 204; }`,
  });
  t.regex(await exchange(front, post('/', 'body', 'Connection: close')), /^HTTP\/1\.1 500 /);
  t.is(await exchange(front, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'), '');
  t.is(front.recorder.messages.length, 1);
  t.regex(front.nginx.errorLog(), /fd_pass answers 500: another module has read the request body/);
});

withNginx('a mirror that does not want the body leaves it to the backend', async (t) => {
  const front = await recordingNginx(t, {
    server: `location / { mirror /mirror; mirror_request_body off; fd_pass unix:@FOLDER@/app.sock; }
      location = /mirror { return 204; }`,
  });
  t.is(await exchange(front, post('/', 'body')), '');
  t.is(front.recorder.messages[0]?.earlyBytes, 'body');
});

withNginx('a mirrored request without a body is handed over, and its mirror falls back', async (t) => {
  const front = await behindNginx(t, {
    handler: report,
    locations: (socket) => `log_subrequest on;
      location / { mirror /mirror; fd_pass unix:${socket}; fd_pass_fallback @relay; }
      location = /mirror { internal; fd_pass unix:${socket}; fd_pass_fallback @relay; } ${relayTo(socket)}`,
  });
  t.deepEqual(reports(await exchange(front, 'GET /a HTTP/1.1\r\nHost: a\r\n\r\n')), [
    `full GET /a ${NO_BODY}\n`,
  ]);
  const log = (await front.accessLog(2)).map((line) => line.split(' '));
  t.deepEqual(log.map(([, uri, status, , handover]) => [uri, status, handover]).sort(), [
    ['/a', '000', 'full'],
    ['/mirror', '200', 'none'],
  ]);
});

withNginx('no backend: the fallback has the body, and the connection goes on', async (t) => {
  const front = await behindNginx(t, {
    handler: report,
    locations: (socket) =>
      `location / { fd_pass unix:${socket}.none; fd_pass_fallback @relay; } ${relayTo(socket)}`,
  });
  const received = await exchange(front, `${post('/a', BODY)}${post('/b', 'small')}${LAST}`);
  t.deepEqual(reports(received), [
    `relay POST /a ${sha256(BODY)}\n`,
    `relay POST /b ${sha256('small')}\n`,
    lastReport,
  ]);
  const log = await front.accessLog(3);
  t.deepEqual(
    log.map((line) => line.split(' ').slice(4, 6)),
    [
      ['none', `"unix:${front.socket}.none"`],
      ['none', `"unix:${front.socket}.none"`],
      ['none', '"-"'],
    ],
  );
});

withNginx(
  'without a fallback: 505 for HTTP/1.0, 503 for no backend, and the connection goes on after a body',
  async (t) => {
    const front = await recordingNginx(t, { server: 'location / { fd_pass unix:@FOLDER@/none.sock; }' });
    const received = await exchange(
      front,
      `${post('/a', BODY)}${post('/b', 'small')}GET /c HTTP/1.0\r\n\r\n`,
    );
    t.deepEqual(received.match(/^HTTP\/1\.1 \d+/gm), ['HTTP/1.1 503', 'HTTP/1.1 503', 'HTTP/1.1 505']);
    const log = front.nginx.errorLog();
    t.regex(log, /fd_pass answers 503: no backend accepts connections, and there is no "fd_pass_fallback"/);
    t.regex(
      log,
      /fd_pass answers 505: only HTTP\/1\.1 can be handed over, and there is no "fd_pass_fallback"/,
    );
  },
);

withNginx('a backend that refuses and one that is not there: the connection goes on', async (t) => {
  const front = await recordingNginx(t, {
    answer: 'refused',
    http: 'upstream app { server unix:@FOLDER@/app.sock max_fails=0; server unix:@FOLDER@/none.sock backup max_fails=0; }',
    server: 'location / { fd_pass app; fd_pass_fallback @relay; } location @relay { return 200; }',
  });
  const received = await exchange(front, `${post('/a', 'body')}${post('/b', 'body')}${LAST}`);
  t.deepEqual(received.match(/^HTTP\/1\.1 \d+/gm), ['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 200']);
  // Whoever refuses is asked twice.
  const [one, two] = [`body${post('/b', 'body')}${LAST}`, `body${LAST}`];
  t.deepEqual(
    front.recorder.messages.map(({ earlyBytes }) => earlyBytes),
    [one, one, two, two],
  );
});

for (const [what, server] of [
  [
    'to itself',
    'location / { fd_pass unix:@FOLDER@/none.sock; fd_pass_fallback @self; } location @self { fd_pass unix:@FOLDER@/none.sock; fd_pass_fallback @self; }',
  ],
  [
    'in a circle',
    'location / { fd_pass unix:@FOLDER@/none.sock; fd_pass_fallback @one; } location @one { fd_pass unix:@FOLDER@/none.sock; fd_pass_fallback @two; } location @two { fd_pass unix:@FOLDER@/none.sock; fd_pass_fallback @one; }',
  ],
] as const) {
  withNginx(`a fallback that leads ${what} ends in a 500`, async (t) => {
    const front = await recordingNginx(t, { server });
    t.regex(await exchange(front, post('/', 'body')), /^HTTP\/1\.1 500 /);
    t.regex(await exchange(front, 'GET / HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 500 /);
    t.regex(front.nginx.errorLog(), /internal redirection cycle/);
  });
}

withNginx('a fallback that http names and the server does not have is a 500', async (t) => {
  const front = await recordingNginx(t, { http: 'fd_pass_fallback @relay;' });
  t.regex(await exchange(front, 'GET / HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 500 /);
  t.regex(front.nginx.errorLog(), /could not find named location "@relay"/);
});

withNginx('the nearest fallback counts', async (t) => {
  const front = await recordingNginx(t, {
    http: 'fd_pass_fallback @http;',
    server: `fd_pass_fallback @server; set $to unix:@FOLDER@/app.sock;
      location / { fd_pass $to; }
      location /own/ { fd_pass $to; fd_pass_fallback @own; location /own/nested/ { fd_pass $to; } }
      location /if/ { fd_pass $to; if ($arg_a) { fd_pass_fallback @if; } }
      location @http { return 200 http; } location @server { return 200 server; }
      location @own { return 200 own; } location @if { return 200 if; }`,
  });
  const bodies: string[] = [];
  for (const target of ['/', '/own/', '/own/nested/', '/if/', '/if/?a=1']) {
    bodies.push((await exchange(front, `GET ${target} HTTP/1.0\r\n\r\n`)).split('\r\n\r\n')[1] ?? '');
  }
  t.deepEqual(bodies, ['server', 'own', 'own', 'server', 'if']);
});
