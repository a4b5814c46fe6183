import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { askAtCapacity, askAtRate } from '../../../bench/nginx/constant-rate-client.js';
import { guardDescriptors } from '../../helpers/descriptors.js';

guardDescriptors(test);

async function serving(t: ExecutionContext, listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

const asking = (port: number, connections: number, seconds: number) => ({
  port,
  path: '/',
  connections,
  seconds,
});

test('asks as often as it is told to, and no more', async (t) => {
  let asked = 0;
  const port = await serving(t, (_request, response) => {
    asked += 1;
    response.end('ok');
  });
  const { requests, p50Ms, p99Ms } = await askAtRate(asking(port, 2, 0.5), 200);
  t.is(requests, 100);
  t.is(asked, 100 + 2 * 3, 'and three on each connection that do not count');
  t.true(p50Ms > 0 && p50Ms <= p99Ms);
});

test('requests held up behind a slow answer count as slow, from the moment they were due', async (t) => {
  const STALL_MS = 300;
  let asked = 0;
  const port = await serving(t, (_request, response) => {
    asked += 1;
    // The tenth on the only connection: those of the next 300 ms are due meanwhile and cannot be sent.
    if (asked === 10) setTimeout(() => response.end('late'), STALL_MS);
    else response.end('ok');
  });
  const { requests, p50Ms } = await askAtRate(asking(port, 1, 0.4), 100);
  t.is(requests, 40);
  // 30 requests waited from 300 ms down to none; were each timed from when it was sent, one in 40 would be slow.
  t.true(p50Ms > STALL_MS / 4, `p50 ${p50Ms} ms`);
});

test('asks on every connection as soon as it is answered, for as long as it is told to', async (t) => {
  const port = await serving(t, (_request, response) => void response.end('ok'));
  const { requests, rate } = await askAtCapacity(asking(port, 4, 0.2));
  t.true(requests > 4);
  t.true(rate > 0);
});

for (const [what, listener] of [
  ['an answer that is not 200', (_request, response) => void response.writeHead(503).end()],
  ['a connection that ends', (_request, response) => void response.destroy()],
] as const satisfies [string, RequestListener][]) {
  test(`${what} is a failure, not a figure`, async (t) => {
    await t.throwsAsync(askAtRate(asking(await serving(t, listener), 1, 1), 10));
  });
}
