// One process of the comparison of stats and log: hello by our server behind a front door of its own, with nothing, with stats, with a log, or
// with both. Arguments: which, and the collector's address. Says the front door's port; ends with the process that started it.
import { once } from 'node:events';
import { createFrontDoor, createServer, interfaceStats, openLogtail } from '@fdpass/backend-runtime';
import type { Watch } from './watches.js';

const HELLO = JSON.stringify({ hello: 'world' });
/** What nginx logs by default, and what is ours. */
const FORMAT =
  '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent $request_time $source_tag $handover';

async function serve(watch: Watch, collector: string): Promise<void> {
  const server = createServer({ keepAlive: { scope: '/' } }, (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': HELLO.length });
    response.end(HELLO);
  });
  if (watch === 'stats' || watch === 'both')
    server.use(interfaceStats({ interfaces: [{ device: 'lo', tag: 'loop' }] }));
  if (watch === 'log' || watch === 'both') server.use(await openLogtail({ to: collector, format: FORMAT }));
  const path = `\0fdpass-bench-${process.pid}`;
  await once(server.listen({ path }), 'listening');
  const frontDoor = createFrontDoor({ listeners: [{ host: '127.0.0.1', port: 0, to: path }] });
  await frontDoor.listen();
  process.send?.(frontDoor.addresses()[0]?.port);
  process.on('disconnect', () => process.exit());
}

const [watch, collector] = process.argv.slice(2) as [Watch, string];
await serve(watch, collector);
