// Records that no TLS library sends by itself, from a client of TLS 1.3 that is handed over in full: empty ones, and new keys in the
// segment of a request. Nothing is taken for what it is not.
import test, { type ExecutionContext } from 'ava';
import { until } from '../helpers/until.js';
import { kernelDecryptsTls13 } from './nginx-under-test.js';
import { CLOSE_NOTIFY, data, EMPTY, KEY_UPDATE, type OwnRecord, OwnRecordsClient } from './own-records.js';
import {
  downloadChunk,
  type Front,
  type FrontOptions,
  sha256,
  startFront,
  withFront,
} from './passing-front.js';

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: example.test\r\n\r\n`;
const UPGRADE = get('/').replace(
  '\r\n\r\n',
  '\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
);
const LARGE = downloadChunk.length * 160;

async function connected(
  t: ExecutionContext,
  options: Partial<FrontOptions> = {},
): Promise<{ front: Front; client: OwnRecordsClient }> {
  const front = await startFront(t, { kernel: { tx: 1, rx: 1 }, ...options });
  return { front, client: await OwnRecordsClient.connect(t, front.port) };
}

/** The same after a first request: it is handed over. */
async function handedOver(t: ExecutionContext) {
  const { front, client } = await connected(t);
  client.send(data(get('/')));
  await client.readUntil('"requestNumber":1');
  await client.readUntil('}');
  return { front, client };
}

const appIsIdle = (front: Front): Promise<void> =>
  until('the application has no connection', () => front.server.stats().connections === 0);

const bodyOf = (received: string): Buffer =>
  Buffer.from(received.slice(received.indexOf('\r\n\r\n') + 4), 'latin1');

const withOwnRecords = kernelDecryptsTls13() ? withFront : () => {};
if (!kernelDecryptsTls13()) {
  test('TLS 1.3 is not handed over in full here', (t) => t.false(kernelDecryptsTls13()));
}

const as = (title: string): string => `TLSv1.3, full: ${title}`;

withOwnRecords(as('an empty record before close_notify, in one segment'), async (t) => {
  const { front, client } = await handedOver(t);
  client.send(EMPTY, CLOSE_NOTIFY);
  await client.readToEnd();
  await appIsIdle(front);
  t.is(client.ended, 'close_notify');
  t.deepEqual([front.errors, front.truncations], [[], [false]]);
});

for (const [where, records] of [
  ['before a request', [EMPTY, data(get('/'))]],
  ['amid a request', [data(get('/').slice(0, 20)), EMPTY, data(get('/').slice(20))]],
  ['behind a request', [data(get('/')), EMPTY]],
] as [string, OwnRecord[]][]) {
  for (const how of ['in one segment', 'in a segment of its own']) {
    withOwnRecords(as(`an empty record ${where}, ${how}`), async (t) => {
      const { front, client } = await handedOver(t);
      for (const segment of how === 'in one segment' ? [records] : records.map((each) => [each])) {
        client.send(...segment);
      }
      await client.readUntil('"requestNumber":2');
      client.send(CLOSE_NOTIFY);
      await client.readToEnd();
      await appIsIdle(front);
      t.is(client.ended, 'close_notify');
      t.deepEqual([front.errors, front.truncations], [[], [false]]);
    });
  }
}

for (const [where, records] of [
  ['alone', [KEY_UPDATE]],
  ['behind an empty record, in one segment', [EMPTY, KEY_UPDATE]],
] as [string, OwnRecord[]][]) {
  withOwnRecords(as(`new keys ${where}`), async (t) => {
    const { front, client } = await handedOver(t);
    client.send(...records);
    await client.readToEnd();
    await appIsIdle(front);
    t.is(client.ended, 'close_notify');
    t.deepEqual(front.errors, ['BKR_ERR_TLS_HANDSHAKE']);
  });

  withOwnRecords(as(`new keys ${where}, on an upgraded connection: it is cut`), async (t) => {
    const { front, client } = await connected(t);
    client.send(data(UPGRADE));
    await client.readUntil('\r\n\r\n');
    client.send(...records);
    await client.readToEnd();
    await appIsIdle(front);
    t.is(client.ended, 'close_notify');
    t.deepEqual(front.errors, ['BKR_ERR_TLS_HANDSHAKE']);
    t.deepEqual([front.upgradeEnds, front.truncations], [['end'], [true]]);
  });
}

// Behind the first request they are nginx's: its OpenSSL reads them, and cannot tell the kernel.
withOwnRecords(as('new keys in the segment of a request: it is answered'), async (t) => {
  const { front, client } = await handedOver(t);
  client.received = '';
  client.send(data(get(`/download/${LARGE}`)), KEY_UPDATE);
  await client.readToEnd();
  t.is(sha256(bodyOf(client.received)), sha256(Buffer.alloc(LARGE, downloadChunk)));
  t.is(client.ended, 'close_notify');
  await appIsIdle(front);
  t.deepEqual(front.errors, ['BKR_ERR_TLS_HANDSHAKE']);
});

withOwnRecords(as("new keys in the middle of an upload: http.Server's own 400"), async (t) => {
  const { front, client } = await connected(t, { clientErrors: 'left', answers: { '/upload': () => {} } });
  client.send(data(get('/')));
  await client.readUntil('}');
  client.received = '';
  const post = 'POST /upload HTTP/1.1\r\nHost: example.test\r\nContent-Length: 10\r\n\r\n';
  client.send(data(`${post}half`), KEY_UPDATE);
  await client.readToEnd();
  t.is(client.received, 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
  t.is(client.ended, 'close_notify');
  await appIsIdle(front);
  t.deepEqual(front.errors, ['BKR_ERR_TLS_HANDSHAKE']);
});

withOwnRecords(as('new keys in the middle of an answer: all of it arrives'), async (t) => {
  const { front, client } = await connected(t);
  client.send(data(get(`/download/${LARGE}`)));
  await client.readUntil('\r\n\r\n');
  client.pause();
  client.send(KEY_UPDATE);
  await until('they are read', () => front.errors.length > 0);
  client.resume();
  await client.readToEnd();
  t.is(sha256(bodyOf(client.received)), sha256(Buffer.alloc(LARGE, downloadChunk)));
  t.is(client.ended, 'close_notify');
  await appIsIdle(front);
  t.deepEqual(front.errors, ['BKR_ERR_TLS_HANDSHAKE']);
});
