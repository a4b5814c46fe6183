// One Node.js process of the comparison: the application on one kind of server. It says `ready` to the process that started it,
// collects garbage when asked to, and ends with it.
//
// Arguments: the kind, where to listen (a path, or a port for `tcp`), the file to download.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer as createHttpServer, type Server } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { createServer, type HandoverServerOptions, sendFile } from '@fdpass/backend-runtime';
import { type SendDownload, serveApp } from './app.js';

/** `handover`: ours, on a UNIX socket; `not lean`: without its short cut for requests of one answer. `unix`, `tcp`: node:http. */
export type BackendKind = 'handover' | 'handover, not lean' | 'unix' | 'tcp';

/** What a backend is told and what it answers. */
export type BackendMessage = 'ready' | 'collect garbage' | 'collected';

const [kind, address = '', download = ''] = process.argv.slice(2) as [BackendKind, string, string];

/** How a file is sent by users of node:http. */
const byStream: SendDownload = async (response) => {
  const { size } = await stat(download);
  response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': size });
  await pipeline(createReadStream(download), response);
};

const bySendFile: SendDownload = (response) => sendFile(response, download);

function listen(ready: () => void): Server {
  if (kind === 'handover' || kind === 'handover, not lean') {
    const options: HandoverServerOptions & { lean?: boolean } = { keepAlive: { scope: '/' } };
    const server = createServer(kind === 'handover' ? options : { ...options, lean: false });
    serveApp(server, bySendFile);
    return server.listen({ path: address }, ready);
  }
  const server = createHttpServer();
  serveApp(server, byStream);
  return kind === 'tcp'
    ? server.listen({ port: Number(address), host: '127.0.0.1', backlog: 4096 }, ready)
    : server.listen({ path: address, backlog: 4096 }, ready);
}

const say = (message: BackendMessage): void => void process.send?.(message);

listen(() => say('ready'));
process.on('message', (message: BackendMessage) => {
  if (message !== 'collect garbage') return;
  globalThis.gc?.();
  say('collected');
});
process.on('disconnect', () => process.exit());
