// A handover server whose listeners throw, which a test runner would not survive: prints what its clients got, and what was
// thrown.
import { once } from 'node:events';
import { createServer } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import { type HandOverOptions, handOver } from './hand-over.js';

const uncaught: string[] = [];
process.on('uncaughtException', ({ message }) => uncaught.push(message));

const path = `\0fdpass-test-${process.pid}`;
const logger = { warn() {}, error() {} };
const server = createServer({ middlewareTimeoutMs: 50, logger }, (_request, response) => {
  response.end('served');
});
const errors: string[] = [];
server.on('connection', () => {
  throw new Error('about a connection');
});
server.on('drop', () => {
  throw new Error('about a drop');
});
server.on('handoverError', ({ code }) => {
  errors.push(code);
  throw new Error('about an error');
});
server.use((handover, next) => {
  if (!handover.headers.has('FORGOTTEN')) next();
});
server.listen({ path });
await once(server, 'listening');

const answers: string[] = [];
const ask = async (kind: HandoverKind, options: HandOverOptions = {}): Promise<void> => {
  const answer = await (await handOver(path, { kind, ...options })).readToEnd();
  answers.push(/^(?:HTTP\/1\.1|Status:) (\d+)/.exec(answer)?.[1] ?? 'nothing');
};
for (const kind of ['full', 'partial', 'relay'] as const) {
  await ask(kind);
  await ask(kind, { headers: { FORGOTTEN: '1' } });
  server.maxConnections = 0;
  await ask(kind, { version: 0 });
  delete (server as { maxConnections?: number }).maxConnections;
}
const closed = once(server, 'close');
server.close();
await closed;
process.stdout.write(JSON.stringify({ answers, errors, uncaught }));
