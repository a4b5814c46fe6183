// What http.Server, with its real parser, makes of a byte stream: every request in it, whole or not, and the error that ended it.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Duplex } from 'node:stream';

export interface RequestReading {
  method: string;
  url: string;
  version: string;
  /** As they came: name, value, name, value. */
  rawHeaders: string[];
  headers: IncomingMessage['headers'];
  /** In latin1. */
  body: string;
  /** The body ended where its framing says. */
  isWhole: boolean;
  upgraded: boolean;
}

export interface StreamReading {
  requests: RequestReading[];
  /** The code of the parser's error. */
  error: string | undefined;
}

/** Answers each request once it is whole, so that a pipelined one behind it is read too. */
export function readByNode(bytes: Buffer): Promise<StreamReading> {
  return new Promise((resolve) => {
    const reading: StreamReading = { requests: [], error: undefined };
    const server = createServer({ requireHostHeader: false, maxHeaderSize: 64 * 1024 });
    const note = (request: IncomingMessage, upgraded: boolean): RequestReading => {
      const { method = '', url = '', httpVersion: version, rawHeaders, headers } = request;
      const noted = { method, url, version, rawHeaders, headers, body: '', isWhole: false, upgraded };
      reading.requests.push(noted);
      return noted;
    };
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const noted = note(request, false);
      request.on('data', (chunk: Buffer) => {
        noted.body += chunk.toString('latin1');
      });
      request.on('end', () => {
        noted.isWhole = request.complete;
        response.end();
      });
    });
    for (const event of ['upgrade', 'connect'] as const) {
      server.on(event, (request: IncomingMessage) => {
        note(request, true);
        connection.destroy();
      });
    }
    server.on('clientError', (error: NodeJS.ErrnoException) => {
      reading.error = error.code ?? error.message;
      connection.destroy();
    });
    const connection = Object.assign(new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() }), {
      setTimeout() {},
      setNoDelay() {},
      setKeepAlive() {},
    });
    connection.on('close', () => {
      server.close();
      resolve(reading);
    });
    server.emit('connection', connection);
    connection.push(bytes);
    connection.push(null);
  });
}
