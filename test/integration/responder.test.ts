// What a connection that somebody else answers has of the server it came to, and what it must not have.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { type HandoverServerOptions, prefixRouter, type RouteTarget } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { type Handler, type Served, serve } from '../helpers/serve.js';

guardDescriptors(test);

const own: Handler = (_request, response) => response.end('own');

async function answeredBy(
  t: ExecutionContext,
  target: (server: Server) => RouteTarget,
  options: HandoverServerOptions = {},
): Promise<Served> {
  const served = await serve(t, { keepAlive: { scope: '/' }, ...options }, own);
  served.server.use(prefixRouter({ routes: [{ to: target(served.server) }] }));
  return served;
}

/** What it knows of the server that it came by. */
const serverOf = ({ socket }: IncomingMessage): Server =>
  (socket as unknown as { readonly server: Server }).server;

for (const lean of [true, false]) {
  test(`lean ${lean}: the server itself, called by its name`, async (t) => {
    const { path, server } = await answeredBy(t, (itself) => itself, { lean });
    server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 101 Own\r\n\r\n'));
    const client = await handOver(path);
    await client.readUntil('own');
    await client.send('GET / HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    t.regex(await client.readToEnd(), /own.*101 Own/s);
  });

  test(`lean ${lean}: a request's socket belongs to the server it came to`, async (t) => {
    const seen: Server[] = [];
    const { path, server } = await answeredBy(
      t,
      () => (request, response) => {
        seen.push(serverOf(request));
        response.end(`${serverOf(request).listening} ${serverOf(request).address()}`);
      },
      { lean },
    );
    const client = await handOver(path);
    await client.readUntil(`true ${path}`);
    // With a body: for the parser.
    await client.send(
      'POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\nConnection: close\r\n\r\n-',
    );
    await client.readToEnd();
    t.true(seen.length === 2 && seen.every((each) => each === server));
  });
}

test("an expectation that nobody meets is not met by the server's own listener either", async (t) => {
  const { path, server } = await answeredBy(t, () => (_request, response) => response.end('other'));
  server.on('checkExpectation', (_request, response) => response.writeHead(202).end());
  const client = await handOver(path, { headers: { HTTP_EXPECT: 'something' } });
  await client.readUntil('HTTP/1.1 417 ');
  await client.send('GET / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n');
  t.regex(await client.readToEnd(), /other/);
});

test.serial(
  'who watches all servers may ask the one a request came by, and listen in on what it emits',
  async (t) => {
    const { path, server } = await answeredBy(t, () =>
      createHttpServer((_request, response) => response.end()),
    );
    const heard: unknown[] = [];
    const watch = (message: unknown): void => {
      const watched = (message as { server: Server }).server;
      if (watched.address() !== server.address()) return;
      heard.push(watched.listening);
      const emit = watched.emit.bind(watched) as (...args: unknown[]) => boolean;
      watched.emit = (...args: unknown[]) => {
        heard.push(args[0]);
        return emit(...args);
      };
    };
    subscribe('http.server.request.start', watch);
    t.teardown(() => unsubscribe('http.server.request.start', watch));
    const client = await handOver(path);
    await client.send('GET / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n');
    await client.readToEnd();
    t.true(heard.includes(true) && heard.includes('request'));
  },
);
