// Many posts through a real nginx by real clients in processes of their own: kept and new connections, with a length and chunked,
// body and head in one segment and apart. None is lost, none is doubled, and each body arrives as it was sent.
// FDPASS_POSTS says how many.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { behindNginx } from '../helpers/behind-nginx.js';
import { answerDigest } from '../helpers/body-digest.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import type { PostingOrder, PostingResult } from '../helpers/posting-clients.js';
import { needs, program } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule, program('curl'));

const POSTS = Number(process.env.FDPASS_POSTS ?? 5000);

/** One process each, and its share of the posts. */
const SHARES: readonly (readonly [client: PostingOrder['client'], share: number])[] = [
  ['undici', 0.3],
  ['undici', 0.3],
  ['sockets', 0.3],
  ['curl', 0.1],
];

async function run(order: PostingOrder): Promise<PostingResult> {
  const script = fileURLToPath(new URL('../helpers/posting-process.js', import.meta.url));
  const child = fork(script, [JSON.stringify(order)]);
  const exited = once(child, 'exit');
  let result: PostingResult | undefined;
  child.on('message', (message) => {
    result = message as PostingResult;
  });
  const [code] = await exited;
  if (result === undefined) throw new Error(`${order.client} ended with ${code} and said nothing`);
  return result;
}

for (const [way, directives] of [
  ['a connection for each handover', ''],
  ['channels', 'fd_pass_keepalive 4;'],
] as const) {
  withNginx(`${POSTS} posts of random sizes by real clients lose none, by ${way}`, async (t) => {
    t.timeout(60_000 + POSTS * 20);
    const targets = new Map<string, number>();
    const front = await behindNginx(t, {
      // Nobody is to be closed between two requests.
      server: { keepAlive: { scope: '/' }, keepAliveTimeout: 60_000 },
      handler: (request, response) => {
        const target = request.url ?? '';
        targets.set(target, (targets.get(target) ?? 0) + 1);
        return answerDigest(request, response);
      },
      http: () => directives,
      nginx: { workers: 2 },
    });
    const counts = SHARES.map(([, share]) => Math.floor(POSTS * share));
    const total = counts.reduce((sum, count) => sum + count, 0);
    const results = await Promise.all(
      SHARES.map(([client], n) =>
        run({ client, host: front.host, port: front.port, count: counts[n] as number, seed: n + 1 }),
      ),
    );
    const sum = (of: (result: PostingResult) => number): number =>
      results.reduce((all, result) => all + of(result), 0);
    t.deepEqual(
      results.flatMap(({ failures }) => failures),
      [],
    );
    t.is(
      sum(({ right }) => right),
      total,
    );
    t.is(targets.size, total);
    t.true([...targets.values()].every((times) => times === 1));
    t.deepEqual(front.errors, []);
    const { full, relay, channels } = front.server.stats();
    const onKept = sum((result) => result.onKept);
    const withEarlyBytes = sum((result) => result.withEarlyBytes);
    t.log(`${full} connections, ${onKept} posts on kept ones, ${withEarlyBytes} with early bytes`);
    t.is(full + onKept, total);
    t.is(relay, 0);
    // Of each worker four, if it has had some clients.
    if (directives === '') t.is(channels, 0);
    else t.true(channels >= 4 && channels <= 8, `${channels}`);
    // Each way has its part.
    for (const part of [full, onKept, withEarlyBytes, full - withEarlyBytes]) t.true(part > total / 50);
  });
}
