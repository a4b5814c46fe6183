// How a partial handover ends: whatever the client, the application or the clock does, the others hear of it and nginx keeps
// nothing open.
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { WebSocket } from 'ws';
import { exchange } from '../helpers/answer-reader.js';
import { until } from '../helpers/until.js';
import { kernelDecryptsTls13 } from './nginx-under-test.js';
import { type Front, PARTIAL_VERSIONS, startFront, withFront } from './passing-front.js';
import { clientOptions, openClient, python, type Step } from './tls-clients.js';

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const LAST_GET = GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');
const UPGRADE =
  'GET / HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';

const kernel = { tx: 1, rx: 0 };

/** The application has let go of every connection. */
const appIsIdle = (front: Front): Promise<void> =>
  until('the application has no connection', () => front.server.stats().connections === 0);

if (PARTIAL_VERSIONS.length === 0) {
  test('no handover is partial here', (t) => t.true(kernelDecryptsTls13()));
}

for (const { version } of PARTIAL_VERSIONS) {
  const as = (title: string): string => `${version}, partial: ${title}`;

  const clientEnds: Record<string, Step[]> = {
    'close_notify and FIN': [['close_notify'], ['send'], ['fin']],
    'close_notify alone': [['close_notify'], ['send']],
    'FIN alone': [['fin']],
  };
  for (const [how, end] of Object.entries(clientEnds)) {
    withFront(as(`a client that ends its side by ${how} gets the answer it waits for`), async (t) => {
      const front = await startFront(t, { kernel });
      const { received, ended } = await python(front.port, version, [
        // The kernel takes over no connection whose client has ended its side already.
        ['await_ticket'],
        ['write', LAST_GET],
        ['send'],
        ...end,
        ['read_to_end'],
      ]);
      t.regex(received, /"handover":"partial"/);
      t.not(ended, 'reset');
      await appIsIdle(front);
    });

    withFront(as(`an idle client that ends its side by ${how} is let go of`), async (t) => {
      const front = await startFront(t, { kernel });
      const { ended } = await python(front.port, version, [
        ['write', GET],
        ['send'],
        ['read_until', '}'],
        ...end,
        ['read_to_end'],
      ]);
      t.not(ended, 'reset');
      await appIsIdle(front);
    });
  }

  const departures: Record<string, { steps: Step[]; end: RegExp }> = {
    close_notify: { steps: [['close_notify'], ['send'], ['close']], end: /^end$/ },
    'a plain close': { steps: [['close']], end: /^end$/ },
    'a reset': { steps: [['reset']], end: /^ECONNRESET$/ },
  };
  for (const [how, { steps, end }] of Object.entries(departures)) {
    withFront(as(`a client that leaves an upgraded connection by ${how}`), async (t) => {
      const front = await startFront(t, { kernel });
      await python(front.port, version, [['write', UPGRADE], ['send'], ['read_until', '\r\n\r\n'], ...steps]);
      await appIsIdle(front);
      t.regex(front.upgradeEnds.join(), end);
    });
  }

  withFront(as('a client that resets in the middle of its upload'), async (t) => {
    const front = await startFront(t, { kernel });
    await python(front.port, version, [
      ['write', 'POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1000000\r\n\r\n'],
      ['write_times', 'x', 500_000],
      ['send'],
      ['reset'],
    ]);
    await appIsIdle(front);
    t.pass();
  });

  withFront(as('a client that resets in the middle of its download'), async (t) => {
    const front = await startFront(t, { kernel });
    const request = 'GET /download/50000000 HTTP/1.1\r\nHost: example.test\r\n\r\n';
    await python(front.port, version, [['write', request], ['send'], ['read_until', '\r\n\r\n'], ['reset']]);
    await appIsIdle(front);
    t.pass();
  });

  withFront(as('the application ends the connection'), async (t) => {
    const front = await startFront(t, { kernel });
    const { received, ended } = await python(front.port, version, [
      ['write', LAST_GET],
      ['send'],
      ['read_to_end'],
    ]);
    t.regex(received, /"handover":"partial"/);
    t.is(ended, 'close_notify');
  });

  withFront(as('the application destroys an upgraded connection'), async (t) => {
    const front = await startFront(t, { kernel });
    const socket = new WebSocket(`wss://127.0.0.1:${front.port}/`, clientOptions(version));
    await once(socket, 'open');
    const closed = once(socket, 'close');
    socket.on('error', () => {});
    front.server.destroy();
    await closed;
    t.pass();
  });

  withFront(as('a connection nothing moves on ends after fd_pass_idle_timeout'), async (t) => {
    const front = await startFront(t, { kernel, server: 'fd_pass_idle_timeout 1s;' });
    const client = await openClient(t, front.port, version);
    t.is((await exchange(client, GET)).status, 200);
    await client.readToEnd();
    await appIsIdle(front);
    t.pass();
  });

  withFront(as('answers count against fd_pass_idle_timeout as requests do'), async (t) => {
    const front = await startFront(t, { kernel, server: 'fd_pass_idle_timeout 2s;' });
    const socket = new WebSocket(`wss://127.0.0.1:${front.port}/`, clientOptions(version));
    t.teardown(() => socket.terminate());
    await once(socket, 'open');
    for (let i = 0; i < 6; i += 1) {
      await delay(600);
      const echo = once(socket, 'message');
      socket.send(String(i));
      t.is(String((await echo)[0]), String(i));
    }
  });
}
