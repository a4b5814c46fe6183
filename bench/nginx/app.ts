// The application of the comparison, without a framework: what is measured is the way to it. The same handlers answer on every
// server; only a file is sent by whichever means that server's users have.
import { createHash } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { WebSocketServer } from 'ws';

/** Answers with the file to download. */
export type SendDownload = (response: ServerResponse) => Promise<void>;

/** Longer than any run: idle clients stay until they are closed. */
const KEEP_ALIVE_TIMEOUT_MS = 3_600_000;
const HELLO = JSON.stringify({ hello: 'world' });

/** `GET /hello`, `GET /download`, `POST /upload` (answers with SHA-256 and length), WebSocket `/socket`. */
export function serveApp(server: Server, sendDownload: SendDownload): void {
  server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/hello') hello(response);
    else if (request.url === '/download') attempt(response, sendDownload(response));
    else if (request.url === '/upload') attempt(response, upload(request, response));
    else response.writeHead(404).end();
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request: IncomingMessage, socket, head: Buffer) => {
    sockets.handleUpgrade(request, socket, head, (client) => client.on('error', () => client.terminate()));
  });
}

function hello(response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': HELLO.length });
  response.end(HELLO);
}

async function upload(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  const body = JSON.stringify({ bytes, sha256: hash.digest('hex') });
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length });
  response.end(body);
}

/** The client sees that its answer is not whole, and the round fails there. */
function attempt(response: ServerResponse, answering: Promise<void>): void {
  answering.catch((error) => {
    process.stderr.write(`${error}\n`);
    response.destroy();
  });
}
