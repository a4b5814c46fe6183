// A web server's part in a relay: HTTP on one side, plain SCGI on the other, as nginx's scgi_pass does it (the request body
// is buffered and de-chunked, the answer is CGI).
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { encodeMessage } from '@fdpass/scgi-fdpass';
import { native } from '../native.js';
import type { Gateway } from './index.js';

const HEAD_END = '\r\n\r\n';

export class RelayGateway implements Gateway {
  readonly port: number;
  readonly #server: Server;

  static async open(path: string, variables: Readonly<Record<string, string>>): Promise<RelayGateway> {
    const server = createServer((request, response) => void relay(path, variables, request, response));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(0, '127.0.0.1', resolve);
    });
    return new RelayGateway(server);
  }

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    await new Promise((resolve) => {
      this.#server.close(resolve);
      this.#server.closeAllConnections();
    });
  }
}

async function relay(
  path: string,
  variables: Readonly<Record<string, string>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const backend = connectUnix(path);
    backend.on('error', () => response.destroy());
    response.on('close', () => backend.destroy());
    const body = await buffer(request);
    backend.write(scgiMessage(request, body, variables));
    await relayAnswer(backend, response);
  } catch {
    response.destroy();
  }
}

/** Abstract paths, too: net.connect() of Node.js 20 does not reach them. @throws ECONNREFUSED, ENOENT, EAGAIN */
const connectUnix = (path: string): Socket =>
  new Socket({
    fd: native().takeFd(native().connectUnix(path)),
    readable: true,
    writable: true,
    allowHalfOpen: true,
  });

function scgiMessage(
  request: IncomingMessage,
  body: Buffer,
  variables: Readonly<Record<string, string>>,
): Buffer {
  const { socket, method = 'GET', url = '/', rawHeaders } = request;
  const headers: [string, string][] = [
    ['REQUEST_METHOD', method],
    ['REQUEST_URI', url],
    ['QUERY_STRING', url.split('?')[1] ?? ''],
    ['CONTENT_TYPE', request.headers['content-type'] ?? ''],
    ['SERVER_PROTOCOL', `HTTP/${request.httpVersion}`],
    ['REQUEST_SCHEME', 'http'],
    ['REMOTE_ADDR', socket.remoteAddress ?? ''],
    ['REMOTE_PORT', String(socket.remotePort ?? 0)],
    ['SERVER_ADDR', socket.localAddress ?? ''],
    ['SERVER_PORT', String(socket.localPort ?? 0)],
    ['SERVER_NAME', ''],
    ...Object.entries(variables),
  ];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    headers.push([`HTTP_${name.toUpperCase().replaceAll('-', '_')}`, rawHeaders[at + 1] as string]);
  }
  return encodeMessage({ dialect: 'plain', headers, earlyBytes: body });
}

/** Reads the CGI answer (RFC 3875 section 6) and writes it as HTTP. */
async function relayAnswer(backend: Socket, response: ServerResponse): Promise<void> {
  // A backend that closes before what it announced leaves the client as it found it: without the end of an answer.
  response.strictContentLength = true;
  let head = '';
  let isBody = false;
  // It is destroyed with the response; the loop's own way of it would count as an error, and cost the client's connection.
  const chunks: AsyncIterable<Buffer> = backend.iterator({ destroyOnReturn: false });
  for await (const chunk of chunks) {
    if (isBody) {
      await write(response, chunk);
      continue;
    }
    head += chunk.toString('latin1');
    const end = head.indexOf(HEAD_END);
    if (end === -1) continue;
    isBody = true;
    writeHead(response, head.slice(0, end).split('\r\n'));
    response.flushHeaders();
    await write(response, Buffer.from(head.slice(end + HEAD_END.length), 'latin1'));
  }
  if (!isBody) throw new Error('the backend closed without an answer');
  response.end();
}

function writeHead(response: ServerResponse, lines: readonly string[]): void {
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).trim();
    if (name.toLowerCase() === 'status') response.statusCode = Number.parseInt(value, 10);
    else response.appendHeader(name, value);
  }
}

async function write(response: ServerResponse, bytes: Buffer): Promise<void> {
  if (bytes.length === 0 || response.write(bytes)) return;
  await new Promise<void>((resolve) => {
    const proceed = (): void => {
      response.off('drain', proceed).off('close', proceed);
      resolve();
    };
    response.on('drain', proceed).on('close', proceed);
  });
}
