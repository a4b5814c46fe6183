// What nginx's own end or reload does to clients that it has handed over under TLS: nothing in full; in part it decrypts for them
// until they are done, or until worker_shutdown_timeout.
import { once } from 'node:events';
import type { ExecutionContext } from 'ava';
import { WebSocket } from 'ws';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { until } from '../helpers/until.js';
import { type Front, type FrontOptions, sha256, startFront, VERSIONS, withFront } from './passing-front.js';
import { clientOptions, curl, openClient, type TlsVersion } from './tls-clients.js';

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const HALF = 'x'.repeat(500_000);

async function connected(t: ExecutionContext, version: TlsVersion, options: FrontOptions) {
  const front: Front = await startFront(t, options);
  const socket = new WebSocket(`wss://127.0.0.1:${front.port}/`, clientOptions(version));
  socket.on('error', () => {});
  t.teardown(() => socket.terminate());
  await once(socket, 'open');
  const echo = async (text: string): Promise<string> => {
    const message = once(socket, 'message');
    socket.send(text);
    return String((await message)[0]);
  };
  t.is(await echo('before'), 'before');
  return { front, socket, echo };
}

for (const { version, kind } of VERSIONS) {
  const kernel = { tx: 1, rx: kind === 'full' ? 1 : 0 };
  const as = (title: string): string => `${version}, ${kind}: ${title}`;

  withFront(as('a WebSocket lives on through a reload'), async (t) => {
    const { front, socket, echo } = await connected(t, version, { kernel: { tx: 2, rx: 2 * kernel.rx } });
    const [old] = front.workers();
    await front.reload();
    for (const text of ['after', 'x'.repeat(50_000)]) t.is(await echo(text), text);
    // New clients are the new worker's.
    t.is(JSON.parse(await curl(front.port, version, '/')).handover, kind);
    t.is(await echo('still'), 'still');
    const closed = once(socket, 'close');
    socket.close();
    await closed;
    await until('the old worker has ended', () => !front.workers().includes(old as number));
  });

  withFront(as('a client that keeps its connection is served on after a reload'), async (t) => {
    const front = await startFront(t, { kernel });
    const client = await openClient(t, front.port, version);
    t.like(JSON.parse((await exchange(client, GET)).body), { handover: kind, requestNumber: 1 });
    const [old] = front.workers();
    await front.reload();
    t.like(JSON.parse((await exchange(client, GET)).body), { handover: kind, requestNumber: 2 });
    await client.close();
    await until('the old worker has ended', () => !front.workers().includes(old as number));
  });

  withFront(as('a reload in the middle of an upload'), async (t) => {
    let got = '';
    const front = await startFront(t, {
      kernel,
      answers: {
        '/upload': (request, response) => {
          request.setEncoding('latin1').on('data', (text: string) => {
            got += text;
          });
          request.on('end', () => response.end('thanks'));
        },
      },
    });
    const client = await openClient(t, front.port, version);
    const length = `Content-Length: ${2 * HALF.length}`;
    await client.send(`POST /upload HTTP/1.1\r\nHost: example.test\r\n${length}\r\n\r\n${HALF}`);
    await until('half of it is read', () => got.length === HALF.length);
    const [old] = front.workers();
    await front.reload();
    await client.send(HALF);
    t.is((await readAnswer(client)).body, 'thanks');
    t.is(sha256(got), sha256(HALF + HALF));
    await client.close();
    await until('the old worker has ended', () => !front.workers().includes(old as number));
  });

  if (kind === 'full') {
    withFront(as('a WebSocket outlives nginx'), async (t) => {
      const { front, echo } = await connected(t, version, { kernel });
      await front.quit();
      t.is(await echo('after'), 'after');
    });
  } else {
    withFront(as('nginx quits when the last WebSocket is done'), async (t) => {
      const { front, socket, echo } = await connected(t, version, { kernel });
      const quit = front.quit();
      await until('nginx is quitting', () => front.errorLog().includes('gracefully shutting down'));
      t.is(await echo('after'), 'after');
      socket.close();
      await quit;
      t.deepEqual(front.upgradeEnds, ['end']);
    });

    withFront(as('worker_shutdown_timeout ends a WebSocket, and nginx'), async (t) => {
      const { front, socket } = await connected(t, version, { kernel, shutdownTimeout: '1s' });
      const closed = once(socket, 'close');
      await front.quit();
      await closed;
      await until('the application has let go', () => front.server.stats().connections === 0);
      t.is(front.upgradeEnds.length, 1);
    });
  }

  withFront(as('nginx is killed'), async (t) => {
    const { front, socket, echo } = await connected(t, version, { kernel });
    if (kind === 'full') {
      await front.kill();
      t.is(await echo('after'), 'after');
      return;
    }
    const closed = once(socket, 'close');
    await front.kill();
    await closed;
    await until('the application has let go', () => front.server.stats().connections === 0);
  });
}
