// A handover server with interface stats behind a front door, in a process of its own, that answers each request with its ingress.
// Commands by IPC: `ports` (0.0.0.0 and `::`), `lookup <ifindex>`, `stats`, and `close`, which answers what was logged; then the process
// must end by itself.
import { once } from 'node:events';
import { connectionInfo, createServer, interfaceStats } from '@fdpass/backend-runtime';
import { createFrontDoor } from '#runtime/front-door/index.js';
import { InterfaceTable } from '#runtime/ingress/interface-table.js';
import { native } from '#runtime/native.js';
import { runAs } from './run-as.js';

const [rules = '', rescanIntervalMs = '', uid = ''] = process.argv.slice(2);
native();
if (uid !== '') runAs(Number(uid));

const warnings: string[] = [];
const log = (_facts: object, message: string): void => void warnings.push(message);
const options = { rescanIntervalMs: Number(rescanIntervalMs), logger: { warn: log, error: log } };
const stats = interfaceStats({ interfaces: JSON.parse(rules), ...options });
/** Follows the same interfaces, and can be asked. */
const table = new InterfaceTable(JSON.parse(rules), options);
const server = createServer((request, response) => {
  const { ingress, local } = connectionInfo(request);
  response.end(JSON.stringify({ ...ingress, address: local?.address }));
});
server.use(stats);
// An abstract name belongs to the network namespace.
const path = '\0fdpass-ingress';
await once(server.listen({ path }), 'listening');
const frontDoor = createFrontDoor({
  listeners: [
    { host: '0.0.0.0', port: 0, to: path },
    { host: '::', port: 0, to: path },
  ],
});
await frontDoor.listen();
table.start();

const commands: Record<string, (argument: string) => unknown> = {
  ports: () => frontDoor.addresses().map(({ port }) => port),
  lookup: (ifindex) => ({ name: table.nameOf(Number(ifindex)), tag: table.tagOf(Number(ifindex), 'ipv4') }),
  stats: () => stats.snapshot(),
  close: async () => {
    table.stop();
    await frontDoor.close();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    return warnings;
  },
};
// A test that crashed tells nothing any more.
const end = (): void => process.exit(1);
process.on('disconnect', end);
process.on('message', async (line: string) => {
  const [command = '', argument = ''] = line.split(' ');
  process.send?.(await commands[command]?.(argument));
  if (command !== 'close') return;
  process.off('disconnect', end);
  process.disconnect();
});
process.send?.('ready');
