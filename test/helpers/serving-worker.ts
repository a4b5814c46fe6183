// A handover server in a worker thread, whose routes leave connections in every stage there is.
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { createServer, sendFile } from '@fdpass/backend-runtime';
import { Sender } from '@fdpass/scgi-fdpass';
import { loadNative } from '#native/index.js';
import { GET } from './wire-sender.js';

const { path, file, silentPath } = workerData as { path: string; file: string; silentPath: string };
const LARGE = Buffer.alloc(30_000_000);

const server = createServer(
  { keepAlive: { scope: '/' }, logger: { warn() {}, error() {} } },
  (request, response) => {
    switch (request.url) {
      case '/held':
        return;
      case '/begun':
        response.write('begun');
        return;
      case '/large':
        response.end(LARGE);
        return;
      case '/file':
        void sendFile(response, file);
        return;
      case '/refused':
        response.statusCode = 413;
        response.shouldKeepAlive = false;
        response.end('refused');
        return;
      default:
        response.end('served');
    }
  },
);
server.on(
  'upgrade',
  (_request, socket) => void socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\nupgraded'),
);
server.use((handover, next) => {
  if (!handover.headers.has('HELD')) next();
});
server.listen({ path });
await once(server, 'listening');
if (silentPath !== '') {
  const [near, far] = loadNative().socketpair();
  void new Sender({ path: silentPath, timeoutMs: 60_000 }).send({ headers: GET, fd: near });
  for (const fd of [near, far]) loadNative().closeFd(fd);
}
parentPort?.on('message', () => parentPort?.postMessage(server.stats()));
parentPort?.postMessage('listening');
