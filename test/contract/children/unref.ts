// A process that has nothing to do but its server: says `listening`, and ends by itself if the server lets it. When the server
// is told to is the second argument.
import { createServer as createHttpServer } from 'node:http';
import { createServer } from '@fdpass/backend-runtime';

const [kind = '', when = '', path = ''] = process.argv.slice(2);
const server = kind === 'node:http' ? createHttpServer() : createServer();
if (when === 'before listen()' || when === 'and ref() again') server.unref();
if (when === 'and ref() again') server.ref();
server.listen({ path }, () => {
  if (when === "after 'listening'") server.unref();
  process.stdout.write('listening\n');
});
if (when === 'after listen()') server.unref();
process.stdin.on('data', () => process.exit(42)).unref();
