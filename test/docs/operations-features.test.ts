// Holds the table of docs/operations.md about what nginx no longer does after a handover against nginx: each feature is configured for
// two locations, one handed over and one relayed, and works in the second one only (or for the first request only).
import { readFileSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { connectionInfo } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';
import type { Handler } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import { root } from './markdown.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

interface Compared extends BehindNginx {
  /** What a request below /over/ or /relay/ is answered with, on a connection of its own. */
  ask(target: string, ...fields: string[]): Promise<Awaited<ReturnType<typeof readAnswer>>>;
  connect(): Promise<RawClient>;
  /** Targets the handler was asked for. */
  reached: string[];
}

const get = (target: string, ...fields: string[]): string =>
  [`GET ${target} HTTP/1.1`, 'Host: example.test', ...fields, '', ''].join('\r\n');

interface Setting {
  /** For both locations. `$folder` is nginx's. */
  directives?: string;
  handler?: Handler;
  /** Beside the two. */
  locations?: string;
  http?: string;
}

async function compare(t: ExecutionContext, setting: Setting): Promise<Compared> {
  const { directives = '', handler, locations = '', http = '' } = setting;
  const reached: string[] = [];
  const front = await behindNginx(t, {
    server: { keepAlive: { scope: '/' } },
    handler: (request, response) => {
      reached.push(request.url ?? '');
      if (handler !== undefined) return handler(request, response);
      return response.end(`served ${connectionInfo(request).handover}`);
    },
    http: (socket) => http.replaceAll('$folder', dirname(socket)),
    locations: (socket) =>
      `${locations}
      location /over/ { ${directives} fd_pass unix:${socket}; }
      location /relay/ { ${directives} include /etc/nginx/scgi_params; scgi_pass unix:${socket}; }`.replaceAll(
        '$folder',
        dirname(socket),
      ),
  });
  const connect = async (): Promise<RawClient> => {
    const client = await RawClient.connect(front.port, front.host);
    t.teardown(() => client.close());
    return client;
  };
  const ask = async (target: string, ...fields: string[]) =>
    exchange(await connect(), get(target, ...fields));
  return { ...front, connect, ask, reached };
}

/** By what the first column of the table says. */
const FEATURES: Readonly<Record<string, (t: ExecutionContext) => Promise<void>>> = {
  access_log: async (t) => {
    const { ask, accessLog } = await compare(t, {});
    await ask('/over/');
    await ask('/relay/');
    const [over = '', relay = ''] = await accessLog(2);
    t.regex(over, /^GET \/over\/ 000 0 full "unix:\S+" \d\.\d{3}$/);
    t.regex(relay, /^GET \/relay\/ 200 12 - "-" -$/);
  },

  gzip: async (t) => {
    const { ask } = await compare(t, { directives: 'gzip on; gzip_min_length 1; gzip_types *;' });
    t.is((await ask('/relay/', 'Accept-Encoding: gzip')).headers['content-encoding'], 'gzip');
    const { headers, body } = await ask('/over/', 'Accept-Encoding: gzip');
    t.is(headers['content-encoding'], undefined);
    t.is(body, 'served full');
  },

  'add_header, expires': async (t) => {
    const { ask } = await compare(t, { directives: 'add_header X-Added yes; expires 1h;' });
    const names = async (target: string): Promise<string[]> =>
      Object.keys((await ask(target)).headers).filter((name) =>
        ['x-added', 'expires', 'cache-control'].includes(name),
      );
    t.deepEqual((await names('/relay/')).sort(), ['cache-control', 'expires', 'x-added']);
    t.deepEqual(await names('/over/'), []);
  },

  server_tokens: async (t) => {
    const { ask } = await compare(t, { directives: 'server_tokens off;' });
    t.is((await ask('/relay/')).headers.server, 'nginx');
    t.is((await ask('/over/')).headers.server, undefined);
  },

  sub_filter: async (t) => {
    const { ask } = await compare(t, { directives: 'sub_filter served changed; sub_filter_types *;' });
    t.is((await ask('/relay/')).body, 'changed relay');
    t.is((await ask('/over/')).body, 'served full');
  },

  limit_rate: async (t) => {
    const length = 64 * 1024;
    const { connect, ask } = await compare(t, {
      directives: 'limit_rate 1k;',
      handler: (_request, response) => response.end('x'.repeat(length)),
    });
    const slow = await connect();
    await slow.send(get('/relay/'));
    await slow.readUntil('\r\n\r\n');
    t.is((await ask('/over/')).body.length, length);
    t.true(slow.received.length < length);
  },

  'scgi_cache, proxy_cache': async (t) => {
    const { ask, reached } = await compare(t, {
      directives: 'scgi_cache answers; scgi_cache_key $request_uri; scgi_cache_valid 1m;',
      http: 'scgi_cache_path $folder/cache keys_zone=answers:1m;',
    });
    for (const target of ['/relay/', '/relay/', '/over/', '/over/']) t.is((await ask(target)).status, 200);
    t.deepEqual(reached, ['/relay/', '/over/', '/over/']);
  },

  error_page: async (t) => {
    const { ask } = await compare(t, {
      directives: 'error_page 404 /own-page; scgi_intercept_errors on;',
      locations: `location = /own-page { return 200 "nginx's page"; }
        location /down/ { error_page 503 /own-page; fd_pass unix:/run/fdpass-nobody.sock; }`,
      handler: (_request, response) => response.writeHead(404).end('not here'),
    });
    t.is((await ask('/relay/')).body, "nginx's page");
    t.is((await ask('/over/')).body, 'not here');
    t.is((await ask('/down/')).body, "nginx's page", 'where nginx itself answers');
  },

  'X-Accel-Redirect': async (t) => {
    const { ask } = await compare(t, {
      locations: "location /files/ { internal; return 200 'the file'; }",
      handler: (_request, response) => response.setHeader('X-Accel-Redirect', '/files/a').end('no file'),
    });
    t.is((await ask('/relay/')).body, 'the file');
    const { headers, body } = await ask('/over/');
    t.is(headers['x-accel-redirect'], '/files/a');
    t.is(body, 'no file');
  },

  'allow, deny, auth_basic, auth_request, satisfy': async (t) => {
    const { ask, connect, reached, nginx } = await compare(t, {
      directives: 'satisfy any; deny all; auth_basic realm; auth_basic_user_file $folder/passwords;',
    });
    writeFileSync(join(nginx.folder, 'passwords'), 'ada:{PLAIN}lovelace\n');
    t.is((await ask('/over/')).status, 401);
    const client = await connect();
    const credentials = `Authorization: Basic ${Buffer.from('ada:lovelace').toString('base64')}`;
    t.is((await exchange(client, get('/over/', credentials))).status, 200);
    t.is((await exchange(client, get('/over/2'))).status, 200, 'without credentials');
    t.deepEqual(reached, ['/over/', '/over/2']);
  },

  limit_req: async (t) => {
    const { ask, connect } = await compare(t, {
      http: 'limit_req_zone $binary_remote_addr zone=requests:1m rate=1r/m;',
      directives: 'limit_req zone=requests;',
    });
    const client = await connect();
    t.is((await exchange(client, get('/over/'))).status, 200);
    t.is((await ask('/over/')).status, 503, 'another connection');
    t.is((await exchange(client, get('/over/'))).status, 200, 'the same connection');
  },

  limit_conn: async (t) => {
    const held: ServerResponse[] = [];
    const { connect, accessLog } = await compare(t, {
      http: 'limit_conn_zone $binary_remote_addr zone=connections:1m;',
      directives: 'limit_conn connections 1;',
      handler: (_request, response) => void held.push(response),
    });
    const open = async (target: string): Promise<RawClient> => {
      const client = await connect();
      await client.send(get(target));
      return client;
    };
    const clients: RawClient[] = [];
    for (const count of [1, 2, 3]) {
      clients.push(await open('/over/'));
      await until('the handler has it', () => held.length === count);
      // nginx's last word about it.
      await accessLog(count);
    }
    clients.push(await open('/relay/'));
    await until('the handler has it', () => held.length === 4);
    t.is((await readAnswer(await open('/relay/'))).status, 503);
    for (const response of held) response.end();
    for (const client of clients) t.is((await readAnswer(client)).status, 200);
  },

  client_max_body_size: async (t) => {
    const { connect, reached } = await compare(t, {
      directives: 'client_max_body_size 10;',
      handler: async (request, response) => response.end(String((await buffer(request)).length)),
    });
    const post = async (target: string, fields: string, body: string, client?: RawClient) =>
      exchange(
        client ?? (await connect()),
        `POST ${target} HTTP/1.1\r\nHost: example.test\r\n${fields}\r\n\r\n${body}`,
      );
    const counted = ['Content-Length: 11', '12345678901'] as const;
    const chunked = ['Transfer-Encoding: chunked', 'b\r\n12345678901\r\n0\r\n\r\n'] as const;
    t.is((await post('/over/', ...counted)).status, 413);
    t.is((await post('/relay/', ...chunked)).status, 413);
    t.deepEqual(reached, []);
    const client = await connect();
    t.is((await post('/over/', ...chunked, client)).body, '11');
    t.is((await post('/over/', ...counted, client)).body, '11', 'a later request');
  },

  'keepalive_timeout, keepalive_requests': async (t) => {
    const { ask, connect } = await compare(t, { directives: 'keepalive_requests 1; keepalive_timeout 1;' });
    t.is((await ask('/relay/')).headers.connection, 'close');
    const client = await connect();
    for (let sent = 0; sent < 3; sent++) t.is((await exchange(client, get('/over/'))).status, 200);
  },

  'stub_status, worker_connections': async (t) => {
    const held: ServerResponse[] = [];
    const { connect, ask, accessLog } = await compare(t, {
      locations: 'location = /status { stub_status; }',
      handler: (_request, response) => void held.push(response),
    });
    const active = async (): Promise<number> =>
      Number(/Active connections: (\d+)/.exec((await ask('/status', 'Connection: close')).body)?.[1]);
    for (const [target, connections] of [
      ['/over/', 1],
      ['/relay/', 2],
    ] as const) {
      await (await connect()).send(get(target));
      const count = held.length;
      await until('the handler has it', () => held.length > count);
      if (target === '/over/') await accessLog(1);
      t.is(await active(), connections, target);
    }
    for (const response of held) response.end();
  },
};

for (const [name, implementation] of Object.entries(FEATURES)) {
  withNginx(`after a handover, or for later requests: ${name}`, implementation);
}

test('the table has the features that are tested here, and no other', (t) => {
  const text = readFileSync(join(root, 'docs', 'operations.md'), 'utf8');
  const section = /^## What nginx no longer does$(.*?)^## /ms.exec(text)?.[1] ?? '';
  const rows = [...section.matchAll(/^\| (`.*?) +\| /gm)].map(([, cell = '']) => cell.replaceAll('`', ''));
  t.deepEqual(rows.sort(), Object.keys(FEATURES).sort());
});
