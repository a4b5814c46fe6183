// A handover server with a listener to 'timeout' that throws, which a test runner would not survive: prints what its client got
// afterwards, and what was thrown.
import { once } from 'node:events';
import { createServer } from '@fdpass/backend-runtime';
import { handOver } from './hand-over.js';
import { until } from './until.js';

const uncaught: string[] = [];
process.on('uncaughtException', ({ message }) => uncaught.push(message));

const path = `\0fdpass-test-${process.pid}`;
const lean = process.argv[2] === 'lean';
const server = createServer({ lean, keepAlive: { scope: '/' } }, ({ url }, response) => response.end(url));
server.keepAliveTimeout = 1;
server.on('timeout', () => {
  throw new Error('about a timeout');
});
server.listen({ path });
await once(server, 'listening');
const client = await handOver(path, { target: '/first', headers: { SERVER_PROTOCOL: 'HTTP/1.1' } });
await until('the time is up', () => uncaught.length > 0);
await client.send('GET /second HTTP/1.1\r\nHost: example.test\r\n\r\n');
const answers = (await client.readUntil('/second')).match(/\/(?:first|second)/g);
const closed = once(server, 'close');
server.close();
await closed;
await client.close();
process.stdout.write(JSON.stringify({ answers, uncaught }));
