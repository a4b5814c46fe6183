// A handover server in a process of its own, under a user of its own, that answers with its name; `/facts` with what it knows of the
// connection, and `/held` not at all. With `routes` it is a router, too. Commands by IPC: `listen`, `takeover`, `asked` and `held`
// (requests so far), `router` (its counters), `replace <JSON>`, `churn <JSON>` (one table after the other, again and again), and
// `replaced`, which answers how often that was. SIGTERM ends it gracefully.
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { connectionInfo, createServer, prefixRouter } from '@fdpass/backend-runtime';
import { native } from '#runtime/native.js';
import type { NamedServerSetup } from './named-server.js';
import { runAs } from './run-as.js';

const CHURN_MS = 20;
const setup: NamedServerSetup = JSON.parse(process.argv[2] ?? '');
const { name, path, uid, admits, routes, options } = setup;
native();
runAs(uid, uid, [admits]);

let asked = 0;
let held = 0;
const server = createServer({ ...options, logger: { warn() {}, error() {} } }, async (request, response) => {
  asked++;
  if (request.url === '/held') return void held++;
  if (request.url !== '/facts') return void response.end(name);
  const body = await text(request);
  const { handover, client, local, hops, sender } = connectionInfo(request);
  const facts = { handover, client: client.address, local: local?.address, hops, sender: sender.pid };
  response.end(JSON.stringify({ name, uid: process.getuid?.(), ...facts, body }));
});
server.maxRequestsPerSocket = setup.requestsPerConnection ?? 0;
const router = prefixRouter({ routes: routes ?? [] });
if (routes !== undefined) server.use(router);

let replaced = 0;
const listen = async (takeover: boolean): Promise<string> => {
  await once(server.listen({ path, takeover, mode: 0o660, group: admits }), 'listening');
  return 'listening';
};
const commands: Record<string, (argument: string) => unknown> = {
  listen: () => listen(false),
  takeover: () => listen(true),
  asked: () => asked,
  held: () => held,
  router: () => router.stats(),
  replace: (tables) => router.replace({ routes: JSON.parse(tables) }),
  churn: (written) => {
    const tables = JSON.parse(written);
    setInterval(() => router.replace({ routes: tables[++replaced % tables.length] }), CHURN_MS);
  },
  replaced: () => replaced,
};
// A test that crashed tells nothing any more.
const end = (): void => process.exit(1);
process.on('disconnect', end);
process.on('message', async (line: string) => {
  const [command = ''] = line.split(' ', 1);
  const answer = await commands[command]?.(line.slice(command.length + 1));
  process.send?.(answer ?? null);
});
process.on('SIGTERM', () => {
  server.close(() => {
    process.off('disconnect', end);
    process.disconnect();
  });
});
process.send?.('ready');
