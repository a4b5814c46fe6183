// The message that passes a handover on: what of the first one it repeats, what it adds, and what it leaves out.
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { closeHandover, type Handover } from '#scgi/handover.js';
import { encodeMessage, type Message, MessageDecoder } from '#scgi/message.js';
import { passOn } from '#scgi/onward.js';
import { PassedFd } from '#scgi/passed-fd.js';
import { MAX_HOPS } from '#scgi/via.js';
import { guardDescriptors } from '../../helpers/descriptors.js';

const native = loadNative();
guardDescriptors(test);

type Headers = readonly (readonly [name: string, value: string])[];

function decode(headers: Headers, earlyBytes: Uint8Array = Buffer.alloc(0)): Message {
  const message = new MessageDecoder().push(encodeMessage({ headers, earlyBytes }));
  if (message === undefined) throw new Error('not whole');
  return message;
}

const REQUEST: Headers = [
  ['REMOTE_ADDR', '192.0.2.7'],
  ['HTTP_COOKIE', 'a=1'],
  ['HTTP_HOST', 'example.test'],
  ['HTTP_COOKIE', 'b=2'],
];
const ADDED: Headers = [
  ['FD_PASS_VIA', '1'],
  ['FD_PASS_VIA_PID', '4711'],
  ['FD_PASS_VIA_UID', '4294967295'],
  ['FD_PASS_VIA_GID', '34'],
];

interface Received {
  kind?: Handover['kind'];
  version?: 0 | 1;
  hops?: number;
  headers?: Headers;
  earlyBytes?: string;
  contentLength?: number;
}

/** A handover with descriptors of its own, which are closed with the test. */
function received(t: ExecutionContext, options: Received = {}): Handover {
  const { kind = 'full', version = 1, hops = 0, headers = REQUEST, earlyBytes = '' } = options;
  const [client, connection] = native.socketpair().map((fd) => new PassedFd(fd)) as [PassedFd, PassedFd];
  t.teardown(() => {
    client.close();
    connection.close();
  });
  const facts = {
    headers: decode(headers).headers,
    version,
    sender: { pid: 4711, uid: 4_294_967_295, gid: 34 },
    hops,
    earlyBytes: Buffer.from(earlyBytes, 'latin1'),
  };
  if (kind === 'full') return { ...facts, kind, passedFd: client };
  if (kind === 'partial') return { ...facts, kind, passedFd: client, connection };
  return { ...facts, kind, connection, contentLength: options.contentLength ?? earlyBytes.length };
}

/** The descriptors of a handover, in the order they travel. */
const fdsOf = (handover: Handover): number[] => [
  ...(handover.kind === 'relay' ? [] : [handover.passedFd.fd]),
  ...(handover.kind === 'full' ? [] : [handover.connection.fd]),
];

const cases: [title: string, received: Received, headers: Headers][] = [
  ['full', {}, [...ADDED, ...REQUEST]],
  ['full, version 0', { version: 0 }, [...ADDED, ['FD_PASS_VIA_VERSION', '0'], ...REQUEST]],
  [
    'partial',
    { kind: 'partial', headers: [['KTLS_RX', '0'], ...REQUEST] },
    [...ADDED, ['KTLS_RX', '0'], ...REQUEST],
  ],
  [
    'relay',
    { kind: 'relay', version: 0, earlyBytes: 'abc', contentLength: 300_000 },
    [...ADDED, ['FD_PASS_VIA_VERSION', '0'], ['FD_PASS_RELAY', '300000'], ...REQUEST],
  ],
  ['the 99th hop', { hops: 98 }, [['FD_PASS_VIA', '99'], ...ADDED.slice(1), ...REQUEST]],
  [
    'what was written for the first hop, and for hops before',
    {
      hops: 7,
      headers: [
        ['FD_PASS_VERSION', '1'],
        ['FD_PASS_KEEPALIVE', '1'],
        ['FD_PASS_VIA', '7'],
        ['FD_PASS_VIA_PID', '1'],
        ['FD_PASS_VIA_UID', '2'],
        ['FD_PASS_VIA_GID', '3'],
        ['FD_PASS_VIA_VERSION', '1'],
        ...REQUEST,
        ['FD_PASS_LOCATION', '/app/'],
      ],
    },
    [['FD_PASS_VIA', '8'], ...ADDED.slice(1), ...REQUEST, ['FD_PASS_LOCATION', '/app/']],
  ],
];

for (const [title, options, headers] of cases) {
  test(`${title}: the headers as they came, behind those of the router`, (t) => {
    const handover = received(t, options);
    const onward = passOn(handover);
    t.deepEqual([...onward.headers], headers as [string, string][]);
    t.is(onward.earlyBytes, handover.earlyBytes);
    const [first, second] = fdsOf(handover);
    t.is(onward.fd, first ?? -1);
    t.is(onward.connectionFd, second);
  });
}

test('every byte of a value but NUL arrives as it was', (t) => {
  const every = Buffer.from(Array.from({ length: 255 }, (_, at) => at + 1)).toString('latin1');
  const handover = received(t, { headers: [['HTTP_X_BYTES', every]], earlyBytes: `\0${every}` });
  const onward = passOn(handover);
  const { headers, earlyBytes } = decode([...onward.headers], onward.earlyBytes);
  t.is(headers.get('HTTP_X_BYTES'), every);
  t.is(earlyBytes.toString('latin1'), `\0${every}`);
});

test('a circle ends after 99 hops, and the handover is its owner’s as before', (t) => {
  const handover = received(t, { hops: MAX_HOPS });
  t.throws(() => passOn(handover), { name: 'WireError', code: 'FDPASS_ERR_HOPS', message: /99 routers/ });
  t.is(fdsOf(handover).length, 1);
});

for (const kind of ['full', 'partial', 'relay'] as const) {
  test(`${kind}: what was taken or closed cannot be passed on`, (t) => {
    const handover = received(t, { kind });
    closeHandover(handover);
    t.throws(() => passOn(handover), { code: 'FDPASS_ERR_FD_TAKEN' });
  });
}
