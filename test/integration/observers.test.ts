// What observers of a connection are told: every request, its end, upgrades, client errors, and the close, last and once.
import type { HandoverObserver, HandoverServerOptions } from '@fdpass/backend-runtime';
import { connectionInfo } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { type Handler, type Served, serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];
const later = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: example.test\r\n\r\n`;

interface Fixture extends Served {
  events: string[];
  /** Resolves when the connection is closed. */
  closed(count?: number): Promise<void>;
}

/** An observer that writes down what it is told. */
function recorder(events: string[], prefix = ''): HandoverObserver {
  const log = (event: string): void => void events.push(`${prefix}${event}`);
  return {
    onRequest: ({ url }) => log(`request ${url}`),
    onResponse: ({ url }, { statusCode, writableFinished }) =>
      log(`response ${url} ${statusCode} ${writableFinished ? 'whole' : 'cut'}`),
    onUpgrade: ({ url }) => log(`upgrade ${url}`),
    onClientError: (error) => log(`client error ${(error as NodeJS.ErrnoException).code}`),
    onClose: (hadError) => log(`close ${hadError}`),
  };
}

async function start(
  t: ExecutionContext,
  handler?: Handler,
  options: HandoverServerOptions = { keepAlive: { scope: '/app' } },
): Promise<Fixture> {
  const events: string[] = [];
  const served = await serve(t, options, (request, response) => {
    events.push(`handler ${request.url}`);
    if (handler === undefined) response.end('served');
    else handler(request, response);
  });
  served.server.use((handover, next) => {
    handover.observe(recorder(events));
    next();
  });
  const closed = (count = 1): Promise<void> =>
    until(
      'the connection is closed',
      () => events.filter((event) => event.startsWith('close')).length >= count,
    );
  return { ...served, events, closed };
}

/** What is told of a client that left: perhaps a client error, as its leaving shows as an end or as a reset. */
function assertCut(t: ExecutionContext, events: readonly string[]): void {
  t.deepEqual(
    events
      .filter((event) => event !== 'client error ECONNRESET')
      .map((event) => event.replace(/^close .*/, 'close')),
    ['request /app', 'handler /app', 'response /app 200 cut', 'close'],
  );
}

for (const kind of KINDS) {
  test(`${kind}: a request, its answer, the close`, async (t) => {
    const { path, events, closed } = await start(t, undefined, {});
    await (await handOver(path, { kind, target: '/app' })).readToEnd();
    await closed();
    t.deepEqual(events, ['request /app', 'handler /app', 'response /app 200 whole', 'close false']);
  });

  test(`${kind}: a client that leaves in the middle of an answer`, async (t) => {
    const { path, events, closed } = await start(t, (_request, response) => {
      response.write('begun');
    });
    const client = await handOver(path, { kind, target: '/app' });
    await client.readUntil('begun');
    await client.close();
    await closed();
    assertCut(t, events);
  });

  test(`${kind}: a client that leaves before its answer`, async (t) => {
    const { path, events, closed, server } = await start(t, () => {});
    const client = await handOver(path, { kind, target: '/app' });
    await until('it is there', () => server.stats().connections === 1 && events.length === 2);
    await client.close();
    await closed();
    assertCut(t, events);
  });

  test(`${kind}: destroy() in the middle of an answer`, async (t) => {
    const { path, events, closed, server } = await start(t, (_request, response) => {
      response.write('begun');
    });
    const client = await handOver(path, { kind, target: '/app' });
    await client.readUntil('begun');
    server.destroy();
    await closed();
    await client.close();
    t.deepEqual(events, ['request /app', 'handler /app', 'response /app 200 cut', 'close false']);
  });

  test(`${kind}: several observers are all told, in the order they came`, async (t) => {
    const { path, server, events, closed } = await start(t);
    server.use((handover, next) => {
      handover.observe(recorder(events, 'second: '));
      handover.observe({});
      next();
    });
    const client = await handOver(path, { kind, target: '/app', headers: { HTTP_CONNECTION: 'close' } });
    await client.readToEnd();
    await closed();
    t.deepEqual(events, [
      'request /app',
      'second: request /app',
      'handler /app',
      'response /app 200 whole',
      'second: response /app 200 whole',
      'close false',
      'second: close false',
    ]);
  });
}

for (const kind of ['full', 'partial'] as const) {
  test(`${kind}: every request of the connection, the misdirected one included, and its number`, async (t) => {
    const numbers: number[] = [];
    const { path, server, events, closed } = await start(t);
    server.use((handover, next) => {
      handover.observe({ onRequest: (request) => void numbers.push(connectionInfo(request).requestNumber) });
      next();
    });
    const client = await handOver(path, { kind, target: '/app/1' });
    for (const target of ['/app/2', '/app/3', '/admin']) await client.send(later(target));
    await client.readToEnd();
    await closed();
    t.deepEqual(
      events.filter((event) => !event.startsWith('response')),
      [
        'request /app/1',
        'handler /app/1',
        'request /app/2',
        'handler /app/2',
        'request /app/3',
        'handler /app/3',
        'request /admin',
        'close false',
      ],
    );
    t.deepEqual(
      events.filter((event) => event.startsWith('response')),
      [1, 2, 3].map((nth) => `response /app/${nth} 200 whole`).concat('response /admin 421 whole'),
    );
    t.deepEqual(numbers, [1, 2, 3, 4]);
  });

  test(`${kind}: pipelined requests whose answers never come are all told to be cut`, async (t) => {
    const { path, events, closed } = await start(t, () => {});
    const client = await handOver(path, {
      kind,
      target: '/app/1',
      earlyBytes: later('/app/2') + later('/app/3'),
    });
    await until('all are dispatched', () => events.length === 6);
    await client.close();
    await closed();
    t.deepEqual(
      events.filter((event) => event.startsWith('response')).sort(),
      [1, 2, 3].map((nth) => `response /app/${nth} 200 cut`),
    );
    t.regex(events.at(-1) ?? '', /^close /);
  });

  test(`${kind}: an upgrade, and the close of what it became`, async (t) => {
    const { path, server, events, closed } = await start(t);
    server.on('upgrade', (_request, socket) => {
      events.push('listener');
      socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n');
      socket.resume();
    });
    const headers = { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'websocket' };
    await (await handOver(path, { kind, target: '/app/ws', headers })).readToEnd();
    await closed();
    t.deepEqual(events, ['upgrade /app/ws', 'listener', 'close false']);
  });

  test(`${kind}: an upgrade nobody listens for is a request`, async (t) => {
    const { path, events, closed } = await start(t, undefined, {});
    const headers = { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'h2c' };
    await (await handOver(path, { kind, target: '/app', headers })).readToEnd();
    await closed();
    t.deepEqual(events, ['request /app', 'handler /app', 'response /app 200 whole', 'close false']);
  });

  test(`${kind}: a malformed later request is a client error, and ends the connection`, async (t) => {
    const { path, events, closed } = await start(t);
    const client = await handOver(path, { kind, target: '/app' });
    await client.readUntil('served');
    await client.send('NOT HTTP\r\n\r\n');
    t.regex(await client.readToEnd(), /HTTP\/1\.1 400 Bad Request\r\n/);
    await closed();
    t.is(events.filter((event) => /^client error HPE_/.test(event)).length, 1);
    t.is(events.filter((event) => event.startsWith('close')).length, 1);
    t.regex(events.at(-1) ?? '', /^close /);
  });

  test(`${kind}: a malformed body is a client error of the request it belongs to`, async (t) => {
    const { path, events, closed } = await start(t, (request) => void request.resume().on('error', () => {}));
    const client = await handOver(path, {
      kind,
      target: '/app',
      method: 'POST',
      headers: { HTTP_TRANSFER_ENCODING: 'chunked' },
      earlyBytes: 'no chunk size\r\n',
    });
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 400 Bad Request\r\n/);
    await closed();
    t.true(events.includes('client error HPE_INVALID_CHUNK_SIZE'));
    t.is(events.filter((event) => event.startsWith('close')).length, 1);
  });
}

test('a reset while an answer is under way is told to observers and to the server', async (t) => {
  const { path, server, events, closed } = await start(
    t,
    (_request, response) => response.write('begun'),
    {},
  );
  const clientErrors: (string | undefined)[] = [];
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    clientErrors.push(error.code);
    socket.destroy();
  });
  const client = await handOver(path, { target: '/app' });
  await client.readUntil('begun');
  client.answer.socket.resetAndDestroy();
  await client.close();
  await closed();
  t.deepEqual(clientErrors, ['ECONNRESET']);
  t.true(events.includes('client error ECONNRESET'));
  t.is(events.at(-1), 'close true');
});

test('handovers that never become a request: rejected, taken, dropped', async (t) => {
  const { path, server, events, closed } = await start(t);
  let what = 'reject';
  server.use((handover, next) => {
    if (what === 'reject') handover.reject(403);
    else if (what === 'take') {
      const taken = handover.take();
      if (taken.kind === 'full') taken.passedFd.close();
    } else next();
  });
  await (await handOver(path)).readToEnd();
  await closed();
  t.deepEqual(events.splice(0), ['close false']);
  what = 'take';
  await (await handOver(path)).readToEnd();
  await closed();
  t.deepEqual(events.splice(0), ['close false']);
  // Middleware does not see what is dropped.
  server.maxConnections = 0;
  await (await handOver(path, { version: 0 })).readToEnd();
  t.deepEqual(events, []);
});

test('an observer that was registered for one connection hears nothing of another', async (t) => {
  const { path, server } = await serve(t);
  const heard: string[] = [];
  server.use((handover, next) => {
    const name = handover.headers.get('REQUEST_URI');
    handover.observe({ onRequest: ({ url }) => void heard.push(`${name}: ${url}`) });
    next();
  });
  await Promise.all(['/1', '/2', '/3'].map(async (target) => (await handOver(path, { target })).readToEnd()));
  t.deepEqual(heard.sort(), ['/1: /1', '/2: /2', '/3: /3']);
});
