// A handover server in a process of its own, behind nginx: it answers a CountingLoad with its process id, after some time, and
// echoes upgraded connections. Commands come by IPC: `listen`, `takeover`, `close`; and `die`, which nothing answers: it is killed by its
// next request, in the middle of it.
import { once } from 'node:events';
import { createServer } from '@fdpass/backend-runtime';
import { loadAnswer } from './counting-load.js';

const [path = '', answerAfterMs = '0'] = process.argv.slice(2);
const server = createServer((request, response) => {
  setTimeout(() => response.end(loadAnswer(request.url, process.pid)), Number(answerAfterMs));
});
server.on('upgrade', (_request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.pipe(socket);
});

const listen = async (takeover: boolean): Promise<string> => {
  await once(server.listen({ path, takeover, mode: 0o666 }), 'listening');
  return 'listening';
};

const die = (): Promise<never> => {
  server.prependOnceListener('request', () => process.kill(process.pid, 'SIGKILL'));
  return new Promise(() => {});
};

const commands: Record<string, () => Promise<string>> = {
  listen: () => listen(false),
  takeover: () => listen(true),
  close: () => new Promise((resolve) => server.close(() => resolve('closed'))),
  die,
};
process.on('message', async (command: string) => {
  process.send?.((await commands[command]?.()) ?? null);
});
process.send?.('ready');
