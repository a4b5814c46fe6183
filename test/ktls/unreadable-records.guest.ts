// What a client may send in a full handover that only somebody with its keys could answer, or nobody: damaged records, new keys, another
// handshake, alerts. Its connection ends with a code, politely where that is possible, and no other notices.
import type { ExecutionContext } from 'ava';
import { exchange } from '../helpers/answer-reader.js';
import { openDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { downloadChunk, type Front, sha256, startFront, VERSIONS, withFront } from './passing-front.js';
import {
  interactiveClient,
  openClient,
  type PythonResult,
  python,
  type Step,
  sendRecords,
  startPython,
  type TlsRecord,
  type TlsVersion,
} from './tls-clients.js';

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const UPGRADE =
  'GET / HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';
const FIRST_ANSWER: readonly Step[] = [['write', GET], ['send'], ['read_until', '}']];

/**
 * Does `misbehave` beside a client that keeps its connection: that one is served before and after, and nothing else is left.
 * @param kernel sessions of `misbehave`, and records the kernel cannot decrypt
 */
async function besideAnother<T>(
  t: ExecutionContext,
  version: TlsVersion,
  kernel: { tx: number; rx: number; decryptErrors?: number },
  misbehave: (front: Front) => Promise<T>,
): Promise<{ front: Front; result: T }> {
  const front = await startFront(t, { kernel: { ...kernel, tx: kernel.tx + 1, rx: kernel.rx + 1 } });
  const other = await openClient(t, front.port, version);
  t.regex((await exchange(other, GET)).body, /"handover":"full".*"requestNumber":1,/);
  const before = openDescriptors().size;
  const result = await misbehave(front);
  await until('only the other connection is left', () => front.server.stats().connections === 1);
  t.regex((await exchange(other, GET)).body, /"handover":"full".*"requestNumber":2,/);
  await until('no descriptor is left', () => openDescriptors().size <= before);
  return { front, result };
}

const hex = (text: string): string => Buffer.from(text, 'latin1').toString('hex');

const bodyOf = (received: string): Buffer =>
  Buffer.from(received.slice(received.lastIndexOf('\r\n\r\n') + 4), 'latin1');

for (const { version } of VERSIONS.filter(({ kind }) => kind === 'full')) {
  const as = (title: string): string => `${version}, full: ${title}`;
  const one = { tx: 1, rx: 1 };

  withFront(as('a damaged record'), async (t) => {
    const { front, result } = await besideAnother(t, version, { ...one, decryptErrors: 1 }, ({ port }) =>
      python(port, version, [...FIRST_ANSWER, ['write', GET], ['send_damaged'], ['read_to_end']]),
    );
    t.deepEqual(front.errors, ['BKR_ERR_TLS_RECORD']);
    t.is(result.ended, 'close_notify');
    t.is(result.received.match(/"requestNumber"/g)?.length, 1);
  });

  withFront(as('a damaged record while an answer is sent: all of it arrives'), async (t) => {
    // More than the kernels of both sides keep.
    const bytes = downloadChunk.length * 160;
    const kernel = { ...one, decryptErrors: 1 };
    const { front, result } = await besideAnother(t, version, kernel, async ({ port, errors }) => {
      const client = startPython(port, version, [
        ['write', GET.replace('/', `/download/${bytes}`)],
        ['send'],
        // Now it is handed over: a record that nginx still reads would be its error.
        ['read_until', '\r\n\r\n'],
        ['write', GET],
        ['send_damaged'],
        ['await_word'],
        ['read_to_end'],
      ]);
      await until('it is read', () => errors.length > 0);
      client.goOn();
      return client.result;
    });
    t.deepEqual(front.errors, ['BKR_ERR_TLS_RECORD']);
    t.is(bodyOf(result.received).length, bytes);
    t.is(sha256(bodyOf(result.received)), sha256(Buffer.alloc(bytes, downloadChunk)));
    t.is(result.ended, 'close_notify');
  });

  withFront(as('a damaged record on an upgraded connection: it is cut'), async (t) => {
    const { front, result } = await besideAnother(t, version, { ...one, decryptErrors: 1 }, ({ port }) =>
      python(port, version, [
        ['write', UPGRADE],
        ['send'],
        ['read_until', '\r\n\r\n'],
        ['write', 'x'],
        ['send_damaged'],
        ['read_to_end'],
      ]),
    );
    t.deepEqual(front.errors, ['BKR_ERR_TLS_RECORD']);
    t.deepEqual([front.upgradeEnds, front.truncations], [['end'], [true]]);
    t.is(result.ended, 'close_notify');
  });

  withFront(as('what is no record at all'), async (t) => {
    const { front, result } = await besideAnother(t, version, { tx: 1, rx: 1 }, ({ port }) =>
      python(port, version, [...FIRST_ANSWER, ['send_plain', GET], ['read_to_end']]),
    );
    t.deepEqual(front.errors, ['BKR_ERR_TLS_RECORD']);
    t.is(result.ended, 'close_notify');
  });

  withFront(as("a client's fatal alert, for an answer that is damaged"), async (t) => {
    const { front, result } = await besideAnother(t, version, one, ({ port }) =>
      python(port, version, [
        ...FIRST_ANSWER,
        ['write', GET],
        ['send'],
        ['read_damaged'],
        ['send'],
        ['await_fin'],
      ]),
    );
    t.deepEqual(front.errors, ['BKR_ERR_TLS_ALERT']);
    t.is(result.ended, 'end without close_notify');
  });

  // The kernel of this client encrypts, and in TLS 1.2 decrypts as well.
  const two = { tx: 2, rx: version === 'TLSv1.2' ? 2 : 1 };
  type Ended = PythonResult['ended'];
  for (const [what, records, errors, ended] of [
    ['the fatal alert internal_error', [[21, '0250']], ['BKR_ERR_TLS_ALERT'], 'end without close_notify'],
    ['the warning no_renegotiation', [[21, '0164']], ['BKR_ERR_TLS_ALERT'], 'end without close_notify'],
    [
      'the warning user_canceled, which says nothing, and a close_notify',
      [
        [21, '015a'],
        [21, '0100'],
      ],
      [],
      'close_notify',
    ],
    ['a record of a type that TLS does not have', [[99, '00']], ['BKR_ERR_TLS_RECORD'], 'close_notify'],
    ['the same two in one record', [[21, '015a0100']], [], 'close_notify'],
    ['half of an alert', [[21, '02']], ['BKR_ERR_TLS_RECORD'], 'close_notify'],
    [
      'half of an alert, behind an upload of nothing but zeros',
      [
        [23, hex('POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 4\r\n\r\n')],
        [23, '00000000'],
        [21, '01'],
      ],
      ['BKR_ERR_TLS_RECORD'],
      'close_notify',
    ],
  ] as [string, TlsRecord[], string[], Ended][]) {
    withFront(as(what), async (t) => {
      const { front, result } = await besideAnother(t, version, two, ({ port }) =>
        sendRecords(port, version, records),
      );
      t.deepEqual(front.errors, errors);
      t.is(result.ended, ended);
    });
  }

  const newHandshakes =
    version === 'TLSv1.2'
      ? { 'a renegotiation': 'R\n' }
      : { 'new keys of its own': 'k\n', 'new keys on both sides': 'K\n' };
  for (const [what, command] of Object.entries(newHandshakes)) {
    withFront(as(`a client that wants ${what} is told goodbye`), async (t) => {
      const { front } = await besideAnother(t, version, one, async ({ port }) => {
        const client = interactiveClient(t, port, version);
        client.send('GET / HTTP/1.1\nHost: example.test\n\n');
        await client.says('"requestNumber":1');
        client.send(command);
        await client.says('warning close_notify');
        await client.exited;
        t.regex(client.output(), /<<< TLS 1\.[23], Alert \[length 0002\], warning close_notify/);
      });
      t.deepEqual(front.errors, ['BKR_ERR_TLS_HANDSHAKE']);
    });
  }
}
