// The lines of openLogtail() beside those of nginx's own access log: the same requests, the same format, no difference.
import { readFileSync } from 'node:fs';
import { type Logtail, openLogtail } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { type Collector, udpCollector } from '../helpers/collector.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { nginxFolder, ownAddress, startNginx } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs, program } from '../helpers/requirements.js';
import { serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const withNginx = needs(test, program('nginx', 'nginx-light'));

const MODES = ['default', 'json', 'none'] as const;

/** Of requests whose answers are the same on both sides. A field that is there twice is not: nginx joins them from 1.23 on only. */
const VARIABLES = [
  'remote_addr',
  'remote_user',
  'request',
  'request_method',
  'request_uri',
  'uri',
  'args',
  'query_string',
  'is_args',
  'status',
  'body_bytes_sent',
  'request_length',
  'scheme',
  'https',
  'host',
  'server_name',
  'server_protocol',
  'connection_requests',
  'http_host',
  'http_user_agent',
  'http_referer',
  'http_x_empty',
  'http_X_Mixed',
  'http_cookie',
  'cookie_id',
  'cookie_Other',
  'arg_a',
  'arg_B',
  'arg_empty',
  'sent_http_content_type',
  'sent_http_content_length',
  'sent_http_x_kind',
  'sent_http_x_none',
  'ssl_protocol',
] as const;
const FORMAT = VARIABLES.map((name, nth) =>
  nth % 2 === 0 ? `${name}=[$${name}]` : `${name}=[\${${name}}]`,
).join(' ');

const get = (target: string, ...fields: readonly string[]): string =>
  [`GET ${target} HTTP/1.1`, 'Host: app.test', ...fields, '', ''].join('\r\n');

const REQUESTS: readonly string[] = [
  get('/'),
  get('/a/b.html?a=1&b=2&empty='),
  get('/?'),
  get('/x?A=upper&surname=no&a=second'),
  get('/x?empty'),
  get('/%41b%20c'),
  get('/%C3%A4?a=%22'),
  get('/"quoted"?a="\\'),
  get('/x', 'User-Agent: say "hi" \\ to C:\\'),
  get('/x', 'User-Agent: z\xc3\xbcrich\ttab', 'Referer: http://example.test/?q="'),
  get('/x', 'X-Empty: ', 'X-MIXED: yes'),
  get('/x', 'Cookie: id=1; Other=two; id=3'),
  get('/x', 'Cookie: hid=1;ID=upper;other=low'),
  get('/x', `Authorization: Basic ${btoa('ann "the" user:secret')}`),
  get('/x', `Authorization: Basic ${btoa('nocolon')}`),
  get('/x', 'Authorization: Bearer abc'),
  get('/x', `Authorization: basic ${btoa('low:case')}`),
  'GET /x HTTP/1.1\r\nhost: APP.test\r\nuser-agent: lower\r\n\r\n',
  'HEAD /x HTTP/1.1\r\nHost: app.test\r\n\r\n',
  'POST /x?a=b HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n',
  'DELETE /x HTTP/1.1\r\nHost: app.test\r\n\r\n',
];

/** What the web server would see otherwise is not served here: only what is said of the target can be compared. */
const ODD_FORMAT = '[$request] [$request_uri] [$uri] [$args] [$is_args]';
const ODD_TARGETS = [
  '//a///b',
  '/a/./b/../c',
  '/a/b/..',
  '/a/.',
  '/a/b/../',
  '/a/%2e%2e/b%2fc%2Fd',
  '/a%3Fb?c',
  '/a%23b',
  '/...',
  '/.a/..b',
  '/a?b=/../c',
];

interface Pair {
  /** Resolves with both sides' lines for a mode. */
  lines(count: number, mode: (typeof MODES)[number]): Promise<{ ours: string[]; theirs: string[] }>;
  ask(request: string): Promise<void>;
}

/** Each request goes to nginx and to us on a connection of its own, behind another request. */
async function pair(t: ExecutionContext, format: string, lean: boolean): Promise<Pair> {
  const folder = nginxFolder();
  const address = ownAddress();
  const nginx = await startNginx(
    folder,
    `${MODES.map((mode) => `log_format ${mode}_lines escape=${mode} '${format}';`).join('\n')}
    server {
      listen ${address}; server_name app.test; merge_slashes on;
      ${MODES.map((mode) => `access_log ${folder}/${mode}.log ${mode}_lines;`).join('\n')}
      location / { types {} default_type text/plain; add_header X-Kind 'a "b"'; return 200 "twelve bytes"; }
    }`,
  );
  t.teardown(() => nginx.close());
  const { server, path } = await serve(t, { keepAlive: { scope: '/' }, lean }, (_request, response) => {
    response.setHeader('X-Kind', 'a "b"');
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 12 });
    response.end('twelve bytes');
  });
  const logs = new Map<string, { tail: Logtail; collector: Collector }>();
  for (const mode of MODES) {
    const collector = await udpCollector(t);
    const tail = await openLogtail({ to: collector.to, format, escape: mode, flushIntervalMs: 60_000 });
    t.teardown(() => tail.close());
    server.use(tail);
    logs.set(mode, { tail, collector });
  }
  const [host = '', port = ''] = address.split(':');
  const ask = async (request: string): Promise<void> => {
    const theirs = await RawClient.connect(Number(port), host);
    await theirs.send(get('/first'));
    await theirs.readUntil('twelve bytes');
    const ours = await handOver(path, {
      target: '/first',
      address: '127.0.0.1',
      headers: { HTTP_HOST: 'app.test', SERVER_NAME: 'app.test' },
    });
    await ours.readUntil('twelve bytes');
    await answered(theirs, request);
    await answered(ours, request);
    await theirs.close();
    await ours.close();
  };
  return {
    ask,
    lines: async (count, mode) => {
      const { tail, collector } = logs.get(mode) as { tail: Logtail; collector: Collector };
      tail.flush();
      const ours = await collector.wait(count);
      const theirs = (): string[] => readFileSync(`${folder}/${mode}.log`, 'latin1').split('\n').slice(0, -1);
      await until('nginx has written its lines', () => theirs().length >= count);
      return { ours, theirs: theirs() };
    },
  };
}

/** Resolves when the head of the answer behind the first one has come. */
async function answered(client: RawClient | HandedClient, request: string): Promise<void> {
  const before = client.received.length;
  await client.send(request);
  await until('the answer has come', () => client.received.indexOf('\r\n\r\n', before) !== -1);
}

for (const lean of [true, false]) {
  withNginx(
    `${lean ? 'without' : 'with'} sockets: the same requests make the same lines, in each escape mode`,
    async (t) => {
      const { ask, lines } = await pair(t, FORMAT, lean);
      for (const request of REQUESTS) await ask(request);
      for (const mode of MODES) {
        const { ours, theirs } = await lines(REQUESTS.length * 2, mode);
        for (const [nth, line] of ours.entries()) t.is(line, theirs[nth] ?? '', mode);
      }
    },
  );
}

withNginx('targets that are not in their normal form', async (t) => {
  const { ask, lines } = await pair(t, ODD_FORMAT, true);
  for (const target of ODD_TARGETS) await ask(get(target));
  const { ours, theirs } = await lines(ODD_TARGETS.length * 2, 'default');
  t.deepEqual(ours, theirs);
});
