// The receiver with proper senders over real sockets: every kind of handover, however its message is cut, and the word its
// sender gets.
import { closeSync, openSync } from 'node:fs';
import { connect } from 'node:net';
import { closeHandover, encodeMessage, type Handover } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { acceptedFd, ClientSource } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { OpenReceiver, openReceiver } from '../helpers/open-receiver.js';
import { GET, versionOne, versionZero, type WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

const partial = (message: (headers: typeof GET) => Buffer): Buffer => message([['KTLS_RX', '0'], ...GET]);

interface Case {
  kind: Handover['kind'];
  message: Buffer;
  /** On the UNIX connection. */
  answer: string;
  earlyBytes: string;
}

const EARLY = 'name=value';
const cases: Record<string, Case> = {
  'full, version 1, early bytes': {
    kind: 'full',
    message: versionOne({ earlyBytes: Buffer.from(EARLY) }),
    answer: '\x06',
    earlyBytes: EARLY,
  },
  'full, public module': { kind: 'full', message: versionZero(), answer: '', earlyBytes: '' },
  'partial, version 1, early bytes': {
    kind: 'partial',
    message: partial((headers) => versionOne({ headers, earlyBytes: Buffer.from(EARLY) })),
    answer: '\x06',
    earlyBytes: EARLY,
  },
  'partial, public module': {
    kind: 'partial',
    message: partial((headers) => versionZero({ headers })),
    answer: '',
    earlyBytes: '',
  },
  relay: {
    kind: 'relay',
    message: encodeMessage({ dialect: 'plain', headers: GET }),
    answer: '',
    earlyBytes: '',
  },
};

/** What the handover must be, and what its sender was told. */
async function check(
  t: ExecutionContext,
  open: OpenReceiver,
  sender: WireSender,
  expected: Case,
): Promise<void> {
  const handover = await open.next<Handover['kind']>();
  t.is(handover.kind, expected.kind);
  t.is(handover.headers.get('REQUEST_URI'), '/path?query');
  t.is(handover.earlyBytes.toString('latin1'), expected.earlyBytes);
  t.deepEqual(handover.sender, {
    pid: process.pid,
    uid: process.getuid?.() ?? -1,
    gid: process.getgid?.() ?? -1,
  });
  closeHandover(handover);
  t.is(await sender.answer(), expected.answer);
}

for (const [title, expected] of Object.entries(cases)) {
  const needsFd = expected.kind !== 'relay';

  test(`${title}: whole`, async (t) => {
    const open = await openReceiver(t);
    const sender = open.connect();
    await sender.send(expected.message, ...(needsFd ? [await acceptedFd(t)] : []));
    await check(t, open, sender, expected);
    const { full, partial: partially, relay, errors } = open.receiver.stats();
    t.deepEqual(
      { full, partial: partially, relay, errors },
      { full: 0, partial: 0, relay: 0, errors: {}, [expected.kind]: 1 },
    );
  });

  test(`${title}: cut at every byte, the descriptor beside the first`, async (t) => {
    const open = await openReceiver(t);
    const fds = needsFd ? [await acceptedFd(t)] : [];
    for (let cut = 1; cut < expected.message.length; cut++) {
      const sender = open.connect();
      await sender.send(expected.message.subarray(0, cut), ...fds);
      await sender.isRead();
      t.is(open.waiting, 0);
      await sender.send(expected.message.subarray(cut));
      await check(t, open, sender, expected);
      sender.close();
    }
    t.deepEqual(open.receiver.stats().errors, {});
  });

  test(`${title}: byte by byte, the descriptor beside the last`, async (t) => {
    const open = await openReceiver(t);
    const fds = needsFd ? [await acceptedFd(t)] : [];
    const sender = open.connect();
    for (let at = 0; at < expected.message.length; at++) {
      const isLast = at === expected.message.length - 1;
      await sender.send(expected.message.subarray(at, at + 1), ...(isLast ? fds : []));
      await sender.isRead();
    }
    await check(t, open, sender, expected);
  });
}

test('a message of 300 KiB, cut in the middle of everything', async (t) => {
  const headers: [string, string][] = [...GET.map(([name, value]): [string, string] => [name, value])];
  for (let nth = 0; nth < 4; nth++) headers.push([`HTTP_LONG_${nth}`, String(nth).repeat(60_000)]);
  const message = versionOne({ headers, earlyBytes: Buffer.alloc(65_536, 'e') });
  t.true(message.length > 300_000);
  const open = await openReceiver(t);
  const fd = await acceptedFd(t);
  for (let cut = 1; cut < message.length; cut += 8191) {
    const sender = open.connect();
    await sender.send(message.subarray(0, cut), fd);
    await sender.isRead();
    await sender.send(message.subarray(cut));
    const handover = await open.next();
    t.is(handover.headers.get('HTTP_LONG_3'), '3'.repeat(60_000));
    t.is(handover.earlyBytes.length, 65_536);
    closeHandover(handover);
    t.is(await sender.answer(), '\x06');
    sender.close();
  }
});

test('a sender of the public dialect that closes at once', async (t) => {
  const open = await openReceiver(t);
  const fd = await acceptedFd(t);
  for (let nth = 0; nth < 100; nth++) {
    const sender = open.connect();
    await sender.send(versionZero(), fd);
    sender.close();
  }
  for (let nth = 0; nth < 100; nth++) closeHandover(await open.next());
  t.is(open.receiver.stats().full, 100);
});

test('a sender of version 1 that only ends its side is acknowledged', async (t) => {
  const open = await openReceiver(t);
  const sender = open.connect();
  await sender.send(versionOne(), await acceptedFd(t));
  sender.end();
  closeHandover(await open.next());
  t.is(await sender.answer(), '\x06');
});

test('client bytes that come right behind a partial message belong to the stream', async (t) => {
  const open = await openReceiver(t);
  const sender = open.connect();
  const message = partial((headers) => versionZero({ headers }));
  await sender.send(Buffer.concat([message, Buffer.from('GET /2')]), await acceptedFd(t));
  const handover = await open.next<'partial'>();
  t.is(handover.earlyBytes.toString(), 'GET /2');
  closeHandover(handover);
});

test('a relay brings the length of its body, and what came of it', async (t) => {
  const open = await openReceiver(t);
  const sender = open.connect();
  const message = encodeMessage({ dialect: 'plain', headers: GET, earlyBytes: Buffer.from('0123456789') });
  await sender.send(message.subarray(0, -4));
  const handover = await open.next<'relay'>();
  t.is(handover.contentLength, 10);
  t.is(handover.earlyBytes.toString(), '012345');
  closeHandover(handover);
});

test('an IPv6 client, and a client of a UNIX socket', async (t) => {
  const open = await openReceiver(t);
  await open.serves(await acceptedFd(t, '::1'), versionOne());
  const [near, far] = native.socketpair();
  t.teardown(() => {
    native.closeFd(near);
    native.closeFd(far);
  });
  await open.serves(near, versionOne());
  t.deepEqual(open.receiver.stats().errors, {});
});

test('a client that has closed already can still be handed over: its last bytes may be there to read', async (t) => {
  const open = await openReceiver(t);
  const source = new ClientSource();
  const { fd, client } = await source.next();
  await client.send('bye');
  await client.close();
  source.close();
  await open.serves(fd, versionOne());
  native.closeFd(fd);
  t.is(open.receiver.stats().full, 1);
});

test('without a listener for handovers their descriptors are closed', async (t) => {
  const open = await openReceiver(t);
  open.receiver.removeAllListeners('handover');
  const sender = open.connect();
  const [near, far] = native.socketpair();
  await sender.send(versionZero(), near);
  native.closeFd(near);
  t.is(await sender.answer(), '');
  const end = Buffer.alloc(1);
  t.is(native.read(far, end), 0);
  native.closeFd(far);
});

test('a sender that never reads its acknowledgement', async (t) => {
  const open = await openReceiver(t);
  const fd = await acceptedFd(t);
  for (let nth = 0; nth < 50; nth++) {
    const sender = open.connect();
    await sender.send(versionOne(), fd);
    closeHandover(await open.next());
  }
  t.is(open.receiver.stats().full, 50);
  t.is(open.receiver.stats().pending, 0);
});

test('messages of many senders at once: each gets its own descriptor', async (t) => {
  const open = await openReceiver(t);
  const count = 200;
  for (let nth = 0; nth < count; nth++) {
    const [near, far] = native.socketpair();
    native.write(far, Buffer.from(String(nth)));
    native.closeFd(far);
    const headers = [...GET, ['NUMBER', String(nth)] as const];
    await open.connect().send(versionOne({ headers }), near);
    native.closeFd(near);
  }
  for (let nth = 0; nth < count; nth++) {
    const handover = await open.next();
    const bytes = Buffer.alloc(8);
    const length = native.read(handover.passedFd.fd, bytes);
    t.is(handover.headers.get('NUMBER'), bytes.toString('latin1', 0, length));
    closeHandover(handover);
  }
});

test('the listening event comes before the first handover, however early its sender', async (t) => {
  const open = new OpenReceiver(`\0fdpass-test-${process.pid}-early`, {});
  const events: string[] = [];
  open.receiver.on('listening', () => events.push('listening'));
  open.receiver.on('handover', () => events.push('handover'));
  open.receiver.listen({ path: open.path });
  const sender = open.connect();
  await sender.send(versionOne(), await acceptedFd(t));
  closeHandover(await open.next());
  t.deepEqual(events, ['listening', 'handover']);
  await open.close();
});

test('a receiver without a listener does not know a path, and closes twice', async (t) => {
  const open = await openReceiver(t);
  t.is(open.receiver.path, open.path);
  t.throws(() => open.receiver.listen({ path: open.path }), { code: 'FDPASS_ERR_ALREADY_LISTENING' });
  await open.close();
  t.is(open.receiver.path, undefined);
  open.receiver.close();
  open.receiver.destroy();
  await new Promise<void>((resolve) => {
    connect(open.path).once('error', () => resolve());
  });
  t.throws(() => closeSync(openSync(open.path, 'r')), { code: 'ENOENT' });
});
