// Processes of node:cluster with stats, and a scrape of all of them. Arguments: a folder for the workers' sockets, their number. The primary says where they
// listen, then each worker's number; it ends with its standard input.
import cluster from 'node:cluster';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { clusterStats, createServer, interfaceStats, scrapeListener } from '@fdpass/backend-runtime';

const [folder = '', count = ''] = process.argv.slice(2);

async function primary(): Promise<void> {
  const paths = Array.from({ length: Number(count) }, (_, at) => join(folder, `${at}`));
  const ready = paths.map((path) => once(cluster.fork({ SOCKET: path }), 'message'));
  await Promise.all(ready);
  const scrape = createHttpServer(scrapeListener(clusterStats())).listen(0, '127.0.0.1');
  await once(scrape, 'listening');
  process.stdin.resume().on('end', () => process.exit());
  const pids = Object.values(cluster.workers ?? {}).map((worker) => worker?.process.pid);
  const { port } = scrape.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ paths, pids, port })}\n`);
}

async function worker(): Promise<void> {
  const stats = interfaceStats();
  const scrape = scrapeListener(clusterStats(stats));
  const server = createServer((request, response) => {
    if (request.url?.startsWith('/metrics')) void scrape(request, response);
    else response.end('hello');
  });
  server.use(stats);
  await once(server.listen({ path: process.env.SOCKET as string }), 'listening');
  process.send?.('ready');
}

await (cluster.isPrimary ? primary() : worker());
