// A connection that is answered without a socket and becomes an ordinary one: nothing of what its client has sent is lost, and it
// waits for the next request as one that had a socket from the beginning. Each test runs on both.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

const native = loadNative();
guardDescriptors(test);

const SCOPE = { scope: '/' };
const get = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: example.test\r\n\r\n`;
const first = (path: string, target: string): Promise<HandedClient> =>
  handOver(path, { target, headers: { SERVER_PROTOCOL: 'HTTP/1.1' } });

/** Without letting the loop turn: what several clients send so is read as one batch, in this order. */
function sendAtOnce(client: HandedClient, text: string): void {
  const { fd } = (client.answer.socket as unknown as { _handle: { fd: number } })._handle;
  native.write(fd, Buffer.from(text));
}

/** What another client's request does to an answer that is under way. */
const interventions: Record<string, (response: ServerResponse) => void> = {
  'is begun': (response) => {
    response.write('begun, ');
    setImmediate(() => response.end('ended.'));
  },
  'is sent whole': (response) => void response.end('begun, ended.'),
  'is sent, and its socket touched': (response) => {
    const { socket } = response;
    response.end('begun, ended.');
    socket?.ref();
  },
};

for (const lean of [true, false]) {
  const how = lean ? 'without a socket' : 'with a socket';

  for (const [what, intervene] of Object.entries(interventions)) {
    test(`${how}: an answer that ${what} while its client's next request is read does not lose that`, async (t) => {
      let awaited: ServerResponse | undefined;
      const { path } = await serve(t, { lean, keepAlive: SCOPE }, ({ url }, response) => {
        if (url === '/awaited') {
          awaited = response;
          return;
        }
        if (url === '/intervene') intervene(awaited as ServerResponse);
        response.end(`answer to ${url}.`);
      });
      const client = await first(path, '/awaited');
      await until('it is awaited', () => awaited !== undefined);
      const other = await first(path, '/other');
      await other.readUntil('/other.');
      sendAtOnce(other, get('/intervene'));
      sendAtOnce(client, get('/next') + get('/last'));
      await other.readUntil('/intervene.');
      const received = await client.readUntil('answer to /last.');
      t.deepEqual(received.match(/begun|ended|answer to \/\w+/g), [
        'begun',
        'ended',
        'answer to /next',
        'answer to /last',
      ]);
      await client.close();
      await other.close();
    });
  }

  /** When the handler wants something of the socket that only a socket has. */
  const touches: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
    'in the same tick': ({ socket }, response) => {
      response.end('served');
      socket.ref();
    },
    "at 'finish'": ({ socket }, response) => {
      response.on('finish', () => void socket.bytesWritten);
      response.end('served');
    },
    later: ({ socket }, response) => {
      response.end('served');
      setImmediate(() => void socket.bytesRead);
    },
  };

  for (const [when, handler] of Object.entries(touches)) {
    test(`${how}: a socket that is touched behind its answer, ${when}, is closed when its time is up`, async (t) => {
      const { server, path } = await serve(t, { lean, keepAlive: SCOPE }, handler);
      server.keepAliveTimeout = 1;
      const client = await first(path, '/');
      const received = await client.readToEnd();
      // And not with 408, as one that has sent nothing at all.
      t.is(received.match(/HTTP\/1\.1/g)?.length, 1);
    });

    test(`${how}: a socket that is touched behind its answer, ${when}, is idle for close()`, async (t) => {
      const { server, path } = await serve(t, { lean, keepAlive: SCOPE, closeTimeoutMs: 0 }, handler);
      const client = await first(path, '/');
      await client.readUntil('served');
      const closed = once(server, 'close');
      server.close();
      await closed;
      await client.readToEnd();
      t.pass();
    });

    test(`${how}: a socket that is touched behind its answer, ${when}, serves the next request`, async (t) => {
      const { path } = await serve(t, { lean, keepAlive: SCOPE }, (request, response) => {
        if (request.url === '/') handler(request, response);
        else response.end('and again');
      });
      const client = await first(path, '/');
      await client.readUntil('served');
      await client.send(get('/next'));
      await client.readUntil('and again');
      await client.close();
      t.pass();
    });
  }

  test(`${how}: a listener to 'timeout' decides, and is told once`, async (t) => {
    const { server, path } = await serve(t, { lean, keepAlive: SCOPE });
    server.keepAliveTimeout = 1;
    let told = 0;
    server.on('timeout', () => told++);
    const client = await first(path, '/');
    await until('it is told', () => told === 1);
    // Its time would be up once more by now.
    await setTimeout(1500);
    t.is(told, 1);
    t.false(client.answer.socket.readableEnded);
    await client.close();
  });

  test(`${how}: a listener to 'timeout' that throws leaves the connection served`, async (t) => {
    const script = fileURLToPath(new URL('../helpers/throwing-timeout-listener.js', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [script, lean ? 'lean' : 'ordinary'], {
      timeout: 30_000,
    });
    t.deepEqual(JSON.parse(stdout), { answers: ['/first', '/second'], uncaught: ['about a timeout'] });
  });
}
