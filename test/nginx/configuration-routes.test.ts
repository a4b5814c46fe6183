// The ways into an fd_pass location that nginx has, and the modules that stand before it: what they let in is handed over as the client
// sent it, and what they deny reaches no backend and no fallback.
import { mkdirSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { type RecordingNginx, recordingNginx, valuesOf } from '../helpers/recording-nginx.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const PASS = 'fd_pass unix:@FOLDER@/app.sock;';

const get = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
const post = (target: string): string =>
  `POST ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody`;

async function exchange({ host, port }: RecordingNginx, bytes: string): Promise<string> {
  const client = await RawClient.connect(port, host);
  await client.send(bytes);
  return await client.readToEnd();
}

const summaries = ({ recorder }: RecordingNginx): string[] =>
  recorder.messages.map((message) =>
    [...valuesOf(message, 'REQUEST_METHOD'), ...valuesOf(message, 'REQUEST_URI'), message.earlyBytes]
      .join(' ')
      .trim(),
  );

interface Route {
  readonly what: string;
  readonly http?: string;
  readonly server: string;
  /** A request, and what of it is handed over; or, if that is a pattern, what the client gets instead. */
  readonly requests: readonly (readonly [request: string, outcome: string | RegExp])[];
}

const APP = `location /app/ { ${PASS} }`;
const NAMED = `location @app { ${PASS} }`;
/** The server behind proxy_pass. */
const ORIGIN = `server { listen unix:@FOLDER@/origin.sock; location / { return 404; }
  location /accel { add_header X-Accel-Redirect /app/x; return 200; } location /fine { return 200 fine; } }`;

const routes: readonly Route[] = [
  {
    what: 'try_files to a named location',
    server: `location / { root @FOLDER@/web; try_files $uri @app; } ${NAMED}`,
    requests: [
      [post('/some/where?a=b'), 'POST /some/where?a=b body'],
      [get('/page.html'), /^HTTP\/1\.1 200 .*a page$/s],
    ],
  },
  {
    what: 'try_files to another location',
    server: `location / { root @FOLDER@/web; try_files $uri /app/; } ${APP}`,
    requests: [[post('/some/where?a=b'), 'POST /some/where?a=b body']],
  },
  {
    what: 'index',
    server: `location / { root @FOLDER@/web; index page.html; } location = /page.html { ${PASS} }`,
    requests: [
      [get('/'), 'GET /'],
      [get('/page.html?a'), 'GET /page.html?a'],
    ],
  },
  {
    what: 'rewrite',
    server: `location /last { rewrite ^ /app/rewritten last; } location /break { rewrite ^ /app/rewritten break; ${PASS} }
      location /moved { rewrite ^ /app/rewritten redirect; ${PASS} } ${APP}`,
    requests: [
      [post('/last?a'), 'POST /last?a body'],
      [post('/break?a'), 'POST /break?a body'],
      [get('/moved'), /^HTTP\/1\.1 302 /],
    ],
  },
  {
    what: 'error_page, which makes a GET of it for a path and not for a named location',
    server: `location /path { error_page 404 = /app/; return 404; } location /named { error_page 404 = @app; return 404; }
      ${APP} ${NAMED}`,
    requests: [
      [get('/path'), 'GET /path'],
      [post('/path'), 'GET /path body'],
      [post('/named'), 'POST /named body'],
    ],
  },
  {
    what: 'an intercepted error of another backend, and X-Accel-Redirect',
    http: ORIGIN,
    server: `location /error { proxy_pass http://unix:@FOLDER@/origin.sock; proxy_intercept_errors on; error_page 404 = @app; }
      location /accel { proxy_pass http://unix:@FOLDER@/origin.sock; } ${APP} ${NAMED}`,
    requests: [
      [get('/error?a'), 'GET /error?a'],
      [get('/accel'), 'GET /accel'],
      [post('/error'), /^HTTP\/1\.1 500 /],
    ],
  },
  {
    what: 'an internal location is not for clients',
    server: `location /app/ { internal; ${PASS} } location / { rewrite ^ /app/ last; }`,
    requests: [
      [get('/app/'), /^HTTP\/1\.1 404 /],
      [get('/other'), 'GET /other'],
    ],
  },
  {
    what: 'a location that ends with a slash redirects to itself',
    server: APP,
    requests: [
      [get('/app?a'), /^HTTP\/1\.1 301 .*Location: [^\r]*\/app\/\?a\r/s],
      [get('/app/'), 'GET /app/'],
    ],
  },
  {
    what: 'if chooses another backend, or keeps that of its location',
    server: `location / { fd_pass unix:@FOLDER@/none.sock; if ($arg_a) { ${PASS} } }
      location /kept/ { ${PASS} if ($arg_a) { set $b 1; } }
      location /only/ { if ($arg_a) { ${PASS} } return 204; }`,
    requests: [
      [get('/?a=1'), 'GET /?a=1'],
      [get('/'), /^HTTP\/1\.1 503 /],
      [get('/kept/?a=1'), 'GET /kept/?a=1'],
      [get('/only/'), /^HTTP\/1\.1 204 /],
    ],
  },
  {
    what: 'limit_except denies, and what it allows is handed over',
    server: `location /denied { ${PASS} limit_except GET { deny all; } }
      location /allowed { ${PASS} limit_except GET { allow all; } }
      set $to unix:@FOLDER@/app.sock; location /variables { fd_pass $to; limit_except GET { allow all; } }
      location /static { root @FOLDER@/web; limit_except GET { allow all; } location /static/app { ${PASS} } }
      location /nested { ${PASS} location /nested/static { root @FOLDER@/web; limit_except GET { allow all; } } }`,
    requests: [
      [get('/denied'), 'GET /denied'],
      [post('/denied'), /^HTTP\/1\.1 403 /],
      [get('/allowed'), 'GET /allowed'],
      [post('/allowed'), 'POST /allowed body'],
      [post('/variables'), 'POST /variables body'],
      [post('/static'), /^HTTP\/1\.1 40[45] /],
      [post('/nested/static'), /^HTTP\/1\.1 40[45] /],
    ],
  },
  {
    what: 'access and auth_basic with satisfy',
    server: `auth_basic_user_file @FOLDER@/web/users; fd_pass_fallback @relay; location @relay { return 200 relayed; }
      location /any { satisfy any; allow 127.0.0.0/8; deny all; auth_basic a; ${PASS} }
      location /all { satisfy all; allow 127.0.0.0/8; deny all; auth_basic a; ${PASS} }
      location /password { satisfy any; deny all; auth_basic a; ${PASS} }
      location /nobody { deny all; ${PASS} }`,
    requests: [
      [post('/any'), 'POST /any body'],
      [post('/all'), /^HTTP\/1\.1 401 /],
      [
        get('/password').replace('Connection', 'Authorization: Basic dXNlcjpzZWNyZXQ=\r\nConnection'),
        'GET /password',
      ],
      [get('/password'), /^HTTP\/1\.1 401 /],
      [post('/nobody'), /^HTTP\/1\.1 403 /],
    ],
  },
  {
    what: 'a denial of auth_request or limit_req is no reason to fall back, whatever its status',
    http: 'limit_req_zone $server_name zone=requests:32k rate=1r/m;',
    server: `fd_pass_fallback @relay; location @relay { return 200 relayed; }
      location /limited { limit_req zone=requests; ${PASS} }
      location /broken { auth_request /auth; ${PASS} } location = /auth { return 503; }`,
    requests: [
      [post('/limited'), 'POST /limited body'],
      [post('/limited'), /^HTTP\/1\.1 503 /],
      [post('/broken'), /^HTTP\/1\.1 500 /],
    ],
  },
  {
    what: 'a body that is announced as too large is refused here, one within the limit goes unread',
    server: `client_max_body_size 3; location /small { ${PASS} } location /enough { client_max_body_size 4; ${PASS} }`,
    requests: [
      [post('/small'), /^HTTP\/1\.1 413 /],
      [post('/enough'), 'POST /enough body'],
    ],
  },
  {
    what: 'post_action comes after the answer: with an fd_pass location it does nothing, after a handover it is not run',
    server: `location /page.html { root @FOLDER@/web; post_action /app/; } ${APP}
      location /handed { ${PASS} post_action /app/; }`,
    requests: [
      [get('/page.html'), /^HTTP\/1\.1 200 .*a page$/s],
      [get('/handed'), 'GET /handed'],
    ],
  },
];

for (const { what, http = '', server, requests } of routes) {
  withNginx(what, async (t) => {
    const front = await recordingNginx(t, { http, server });
    mkdirSync(`${front.folder}/web`);
    writeFileSync(`${front.folder}/web/page.html`, 'a page');
    writeFileSync(`${front.folder}/web/users`, 'user:{PLAIN}secret\n');
    const handedOver: string[] = [];
    for (const [request, outcome] of requests) {
      const received = await exchange(front, request);
      if (typeof outcome === 'string') handedOver.push(outcome);
      else t.regex(received, outcome);
      if (typeof outcome === 'string') t.is(received, '', request);
    }
    t.deepEqual(summaries(front), handedOver);
    t.deepEqual(front.nginx.errorLog().match(/\[(?:alert|emerg)\].*/g), null);
  });
}
