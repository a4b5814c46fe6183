// Scrapes: their formats, their filters, and who answers them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { handoverServer, type StatsSnapshot, scrapeListener, statsPlugin } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import fastify from 'fastify';
import prometheus from 'prom-client';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { closed, serve, temporaryFolder } from '../helpers/serve.js';
import { serveWithStats } from '../helpers/stats-scene.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

interface Answered {
  readonly status: number;
  readonly type: string;
  readonly head: string;
  readonly body: string;
}

/** One request on a connection of its own. */
async function ask(
  path: string,
  target: string,
  { method = 'GET', accept }: { method?: string; accept?: string } = {},
): Promise<Answered> {
  // HTTP/1.0 has no chunks.
  const headers = { SERVER_PROTOCOL: 'HTTP/1.0', ...(accept !== undefined && { HTTP_ACCEPT: accept }) };
  const client = await handOver(path, { method, target, headers });
  const answer = await client.readToEnd();
  await client.close();
  const [head = '', ...rest] = answer.split('\r\n\r\n');
  return {
    status: Number(head.split(' ')[1]),
    type: /^content-type: (.*)$/im.exec(head)?.[1]?.trim() ?? '',
    head,
    body: rest.join('\r\n\r\n'),
  };
}

async function scene(t: ExecutionContext) {
  const { stats, path, ...rest } = await serveWithStats(t, (request, response) => {
    if (request.url?.startsWith('/metrics')) void scrape(request, response);
    else response.end('hello');
  });
  const scrape = scrapeListener(stats);
  for (let times = 0; times < 3; times++) await ask(path, '/');
  await until('they are counted', async () => (await stats.snapshot()).pairs[0]?.requests['2xx'] === 3);
  return { ...rest, stats, path };
}

const counts = (text: string): string | undefined =>
  /^fdpass_requests_total\{.*code="2xx"\} (\d+)$/m.exec(text)?.[1];

for (const [how, target, accept, type] of [
  ['by default', '/metrics', undefined, 'text/plain; version=0.0.4; charset=utf-8'],
  ['for anything', '/metrics', '*/*', 'text/plain; version=0.0.4; charset=utf-8'],
  [
    'for text',
    '/metrics',
    'text/plain;version=0.0.4;q=1,*/*;q=0.1',
    'text/plain; version=0.0.4; charset=utf-8',
  ],
  [
    'for Prometheus',
    '/metrics',
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    'application/openmetrics-text; version=1.0.0; charset=utf-8',
  ],
  [
    'asked for text',
    '/metrics?format=prometheus',
    'application/json',
    'text/plain; version=0.0.4; charset=utf-8',
  ],
] as const) {
  test(`${how}: ${type}`, async (t) => {
    const { path } = await scene(t);
    const answer = await ask(path, target, accept === undefined ? {} : { accept });
    t.is(answer.status, 200);
    t.is(answer.type, type);
    t.is(counts(answer.body), '3');
    t.is(answer.body.endsWith('# EOF\n'), type.startsWith('application/openmetrics'));
    t.is(counts((await ask(path, target)).body), '3', 'a scrape is not counted');
  });
}

for (const [target, accept] of [
  ['/metrics?format=json', undefined],
  ['/metrics', 'application/json'],
] as const) {
  test(`JSON: ${target} ${accept ?? ''}`, async (t) => {
    const { path } = await scene(t);
    const { type, body } = await ask(path, target, accept === undefined ? {} : { accept });
    t.is(type, 'application/json; charset=utf-8');
    const { version, pairs, handovers } = JSON.parse(body) as StatsSnapshot;
    t.is(version, 1);
    t.is(pairs.length, 1);
    t.is(pairs[0]?.requests['2xx'], 3);
    t.is(handovers[0]?.full, 4, 'the scrape itself came by one');
  });
}

for (const [query, vips] of [
  ['', ['192.0.2.1', '192.0.2.2', '192.0.2.3']],
  ['source_tag=direct', ['192.0.2.1', '192.0.2.2', '192.0.2.3']],
  ['source_tag=other', []],
  ['vip=192.0.2.2', ['192.0.2.2']],
  ['vip=192.0.2.2&vip=192.0.2.3&source_tag=other&source_tag=direct', ['192.0.2.2', '192.0.2.3']],
] as const) {
  test(`the pairs of ?${query}`, async (t) => {
    const { path, stats } = await serveWithStats(t, (request, response) =>
      scrapeListener(stats)(request, response),
    );
    for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3']) stats.pairs.pair('direct', address);
    const { pairs } = JSON.parse((await ask(path, `/?format=json&${query}`)).body) as StatsSnapshot;
    t.deepEqual(
      pairs.map(({ vip }) => vip).filter((vip) => vip.startsWith('192.')),
      [...vips],
    );
    const { body } = await ask(path, `/?${query}`);
    for (const vip of ['192.0.2.1', '192.0.2.2', '192.0.2.3']) {
      t.is(body.includes(`vip="${vip}"`), (vips as readonly string[]).includes(vip));
    }
  });
}

test('many pairs, in pieces: JSON is whole', async (t) => {
  const { path, stats } = await serveWithStats(t, (request, response) =>
    scrapeListener(stats)(request, response),
  );
  for (let at = 0; at < 1001; at++) stats.pairs.pair('tag', `${at}`);
  const { pairs } = JSON.parse((await ask(path, '/?format=json&source_tag=tag')).body) as StatsSnapshot;
  t.deepEqual(
    pairs.map(({ vip }) => Number(vip)),
    Array.from({ length: 1001 }, (_, at) => at),
  );
});

test('HEAD has no body, other methods are 405, other formats 400', async (t) => {
  const { path } = await scene(t);
  const head = await ask(path, '/metrics', { method: 'HEAD' });
  t.is(head.status, 200);
  t.is(head.type, 'text/plain; version=0.0.4; charset=utf-8');
  t.is(head.body, '');
  const put = await ask(path, '/metrics', { method: 'PUT' });
  t.is(put.status, 405);
  t.regex(put.head, /^allow: GET, HEAD$/im);
  const wrong = await ask(path, '/metrics?format=xml');
  t.is(wrong.status, 400);
  t.is(wrong.body, 'format is one of prometheus, openmetrics, json\n');
});

test("a scraper that leaves in the middle is nobody's trouble", async (t) => {
  const { path, stats, server } = await serveWithStats(t, (request, response) =>
    scrapeListener(stats)(request, response),
  );
  for (let at = 0; at < 5000; at++) stats.pairs.pair('tag', `${at}`);
  const client = await handOver(path, { headers: { SERVER_PROTOCOL: 'HTTP/1.1' } });
  await client.readUntil('fdpass_build_info');
  await client.close();
  await until('its connection is gone', () => server.stats().connections === 0);
  t.is((await ask(path, '/')).status, 200);
});

test('Fastify: one plugin counts and answers; routes with stats off are not counted', async (t) => {
  const registry = new prometheus.Registry();
  prometheus.collectDefaultMetrics({ register: registry });
  const app = fastify({ serverFactory: handoverServer() });
  await app.register(statsPlugin, { defaultTag: 'any', registry });
  app.get('/', () => 'hello');
  app.get('/health', { config: { stats: 'off' } }, () => 'fine');
  const path = `${await temporaryFolder(t)}/socket`;
  await app.listen({ path });
  for (const target of ['/', '/health', '/', '/none']) await ask(path, target);
  const total = async (): Promise<number> => {
    const [pair] = (await app.interfaceStats.snapshot()).pairs;
    return (pair?.requests['2xx'] ?? 0) + (pair?.requests['4xx'] ?? 0);
  };
  await until('they are counted', async () => (await total()) === 3);
  const { body } = await ask(path, '/metrics');
  t.is(counts(body), '2');
  t.regex(body, /^fdpass_requests_total\{source_tag="any",vip="127\.0\.0\.1",code="4xx"\} 1$/m);
  t.regex(body, /^process_cpu_user_seconds_total /m);
  await app.close();
});

test('Fastify with another server says what is missing', async (t) => {
  const app = fastify();
  await t.throwsAsync(async () => app.register(statsPlugin, {}), { code: 'BKR_ERR_OTHER_SERVER' });
  await app.close();
});

test('a server that was listening already is followed, too; rates move by themselves', async (t) => {
  const { path, stats } = await serveWithStats(t, (_request, response) => response.end('hello'));
  await ask(path, '/');
  await until(
    'the rate is there',
    async () => ((await stats.snapshot()).pairs[0]?.requestRate['1'] ?? 0) > 0,
  );
  t.pass();
});

interface Cluster {
  readonly paths: string[];
  readonly pids: number[];
  readonly port: number;
}

/** Three workers that have answered one, two and three requests. */
async function startCluster(t: ExecutionContext): Promise<Cluster> {
  const script = fileURLToPath(new URL('../helpers/stats-worker.js', import.meta.url));
  const child = spawn(process.execPath, [script, await temporaryFolder(t), '3'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  t.teardown(async () => {
    child.stdin.end();
    await exited;
  });
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  const started = JSON.parse(line) as Cluster;
  for (const [at, path] of started.paths.entries()) {
    for (let times = 0; times <= at; times++) await ask(path, '/');
  }
  await until('all are counted', async () => (await ofPrimary(started)) === 6);
  return started;
}

const json = async (url: string): Promise<StatsSnapshot> =>
  (await fetch(url)).json() as Promise<StatsSnapshot>;
const total = ({ pairs }: StatsSnapshot): number | undefined => pairs[0]?.requests['2xx'];
const ofPrimary = async ({ port }: Cluster): Promise<number | undefined> =>
  total(await json(`http://127.0.0.1:${port}/?format=json`));
const ofWorker = async ({ paths }: Cluster, at: number): Promise<number | undefined> =>
  total(JSON.parse((await ask(paths[at] as string, '/metrics?format=json')).body));

test('one scrape answers for all processes of a cluster, whoever is asked', async (t) => {
  const started = await startCluster(t);
  t.is(await ofWorker(started, 1), 6);
  t.deepEqual((await json(`http://127.0.0.1:${started.port}/?source_tag=none&format=json`)).pairs, []);
});

test('a worker that has died, or does not answer, costs the others nothing', async (t) => {
  const started = await startCluster(t);
  const [first, , third] = started.pids as [number, number, number];
  // Nobody may have noticed it by then.
  process.kill(first, 'SIGKILL');
  t.is(await ofPrimary(started), 5);
  t.is(await ofWorker(started, 1), 5);
  process.kill(third, 'SIGSTOP');
  t.teardown(() => process.kill(third, 'SIGCONT'));
  t.is(await ofWorker(started, 1), 2, 'those that answer');
});

test('one stats object may count for two servers, and for one that listens again', async (t) => {
  const { stats, server, path } = await serveWithStats(t, (_request, response) => response.end('hello'));
  const other = await serve(t, { keepAlive: { scope: '/' } }, (_request, response) => response.end('hello'));
  other.server.use(stats);
  await ask(path, '/');
  await closed(server);
  await ask(other.path, '/');
  await until('both are counted', async () => (await stats.snapshot()).pairs[0]?.requests['2xx'] === 2);
  // Again: it says a second time that it is closed.
  server.listen({ path });
  await once(server, 'listening');
  await ask(path, '/');
  await until('all are counted', async () => (await stats.snapshot()).pairs[0]?.requests['2xx'] === 3);
  await closed(server);
  await closed(other.server);
  t.pass();
});
