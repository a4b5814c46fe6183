// What a receiver makes of messages that a router sends: what is given out, whose word is believed, and what the router is told.
// Played by hand; the whole way through a router is in passing-on.test.ts.
import {
  closeHandover,
  type Handover,
  type HandoverKind,
  Receiver,
  type ReceiverOptions,
} from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { acceptedFd } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { openReceiver } from '../helpers/open-receiver.js';
import { descriptors, EARLY, type Headers, KINDS, message, unixConnection } from '../helpers/passed-on.js';

const native = loadNative();
guardDescriptors(test);

function check(t: ExecutionContext, handover: Handover, kind: HandoverKind): void {
  t.is(handover.kind, kind);
  t.is(handover.hops, 3);
  t.is(handover.version, 1);
  t.is(handover.earlyBytes.toString(), EARLY);
  t.is(handover.headers.get('REQUEST_URI'), '/path?query');
  if (handover.kind === 'relay') t.is(handover.contentLength, 300_000);
}

for (const kind of KINDS) {
  test(`${kind}: taken, and the router’s connection is closed`, async (t) => {
    const open = await openReceiver(t);
    const router = open.connect();
    await router.send(message(kind), ...(await descriptors(t, kind)));
    const handover = await open.next<HandoverKind>();
    check(t, handover, kind);
    t.is(await router.answer(), '\x06');
    closeHandover(handover);
    t.like(open.receiver.stats(), { full: 0, partial: 0, relay: 0, [kind]: 1, errors: {}, pending: 0 });
  });

  test(`${kind}: cut at every byte, the descriptors beside the first`, async (t) => {
    const open = await openReceiver(t);
    const fds = await descriptors(t, kind);
    const bytes = message(kind);
    for (let cut = 1; cut < bytes.length; cut++) {
      const router = open.connect();
      await router.send(bytes.subarray(0, cut), ...fds);
      await router.isRead();
      t.is(open.waiting, 0);
      await router.send(bytes.subarray(cut));
      const handover = await open.next<HandoverKind>();
      check(t, handover, kind);
      closeHandover(handover);
      t.is(await router.answer(), '\x06');
      router.close();
    }
    t.deepEqual(open.receiver.stats().errors, {});
  });

  test(`${kind}: byte by byte, the descriptors beside the last`, async (t) => {
    const open = await openReceiver(t);
    const fds = await descriptors(t, kind);
    const bytes = message(kind);
    const router = open.connect();
    for (let at = 0; at < bytes.length; at++) {
      await router.send(bytes.subarray(at, at + 1), ...(at === bytes.length - 1 ? fds : []));
      await router.isRead();
    }
    const handover = await open.next<HandoverKind>();
    check(t, handover, kind);
    closeHandover(handover);
  });

  test(`${kind}: cut short at every byte, and then the end`, async (t) => {
    const open = await openReceiver(t);
    const fds = await descriptors(t, kind);
    const bytes = message(kind);
    for (let cut = 1; cut < bytes.length; cut++) {
      const router = open.connect();
      await router.send(bytes.subarray(0, cut), ...fds);
      router.end();
      t.is((await open.nextError()).code, 'FDPASS_ERR_TRUNCATED');
      t.is(await router.answer(), '');
      router.close();
    }
    t.is(open.waiting, 0);
  });

  test(`${kind}: refused, and nothing of it was touched`, async (t) => {
    const seen: [hops: number | undefined, ahead: number][] = [];
    const open = await openReceiver(t, {
      refuse: ({ via }, ahead) => seen.push([via?.hops, ahead]) > 0,
    });
    const [travels, senders] = unixConnection(t);
    const fds =
      kind === 'relay' ? [travels] : [await acceptedFd(t), travels].slice(0, kind === 'full' ? 1 : 2);
    const router = open.connect();
    await router.send(message(kind), ...fds);
    t.is(await router.answer(), '\x15');
    t.deepEqual(seen, [[3, 0]]);
    t.is(open.receiver.stats().refused, 1);
    // The first sender's connection is open still, for the router to serve.
    native.write(travels, Buffer.from('answer'));
    t.is(native.read(senders, Buffer.alloc(16)), 6);
  });

  test(`${kind}: bytes behind it`, async (t) => {
    const open = await openReceiver(t);
    const router = open.connect();
    await router.send(Buffer.concat([message(kind), Buffer.from('x')]), ...(await descriptors(t, kind)));
    t.is((await open.nextError()).code, 'FDPASS_ERR_TRAILING_BYTES');
    t.is(await router.answer(), '\x15');
  });

  test(`${kind}: a router that gave up, before it was acknowledged`, async (t) => {
    const open = await openReceiver(t);
    const router = open.connect();
    native.shutdown(router.fd, 0);
    await router.send(message(kind), ...(await descriptors(t, kind)));
    t.is((await open.nextError()).code, 'FDPASS_ERR_ACK');
    t.is(open.waiting, 0);
  });
}

test('which descriptor is which: the client is written, the first sender is read', async (t) => {
  const open = await openReceiver(t);
  const [client, clientsEnd] = unixConnection(t);
  const [connection, senders] = unixConnection(t);
  const router = open.connect();
  await router.send(message('partial'), client, connection);
  const handover = await open.next<'partial'>();
  native.write(senders, Buffer.from('decrypted'));
  native.write(handover.passedFd.fd, Buffer.from('answer'));
  t.is(native.read(handover.connection.fd, Buffer.alloc(16)), 9);
  t.is(native.read(clientsEnd, Buffer.alloc(16)), 6);
  closeHandover(handover);
});

test('a first sender that is gone already is as good as one that will go', async (t) => {
  const open = await openReceiver(t);
  const fd = await acceptedFd(t);
  for (const kind of ['partial', 'relay'] as const) {
    const [connection, senders] = native.socketpair();
    native.write(senders, Buffer.from('last words'));
    native.closeFd(senders);
    const router = open.connect();
    await router.send(message(kind), ...(kind === 'relay' ? [] : [fd]), connection);
    native.closeFd(connection);
    const handover = await open.next<'partial' | 'relay'>();
    t.is(native.read(handover.connection.fd, Buffer.alloc(16)), 10);
    closeHandover(handover);
  }
});

const me = { pid: process.pid, uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
const first = { pid: 4711, uid: 33, gid: 34 };
const believed: [title: string, options: ReceiverOptions, sender: typeof me | undefined][] = [
  ['nobody is trusted', {}, me],
  ['the router’s user is trusted', { trustedRouters: { uids: [me.uid] } }, first],
  ['the router’s group is trusted', { trustedRouters: { uids: [1], gids: [me.gid] } }, first],
  ['others are trusted', { trustedRouters: { uids: [4_000_000_000], gids: [4_000_000_000] } }, me],
  ['an empty list', { trustedRouters: { uids: [] } }, me],
  ['the first sender is trusted, and not the router', { trustedRouters: { uids: [33], gids: [34] } }, me],
  [
    'the router may send, and is not trusted',
    { allowedPeers: { uids: [me.uid] }, trustedRouters: { uids: [33] } },
    me,
  ],
  [
    'the first sender may send, and not the router',
    { allowedPeers: { uids: [33], gids: [34] }, trustedRouters: { uids: [me.uid] } },
    undefined,
  ],
];

for (const [title, options, sender] of believed) {
  test(`${title}: ${sender === undefined ? 'refused' : `the sender is ${sender === me ? 'the peer' : 'the first one'}`}`, async (t) => {
    const open = await openReceiver(t, options);
    for (const kind of KINDS) {
      const router = open.connect();
      await router.send(message(kind), ...(await descriptors(t, kind)));
      if (sender === undefined) {
        t.is((await open.nextError()).code, 'FDPASS_ERR_PEER');
        continue;
      }
      const handover = await open.next<HandoverKind>();
      t.deepEqual(handover.sender, sender);
      t.is(handover.hops, 3);
      closeHandover(handover);
    }
  });
}

for (const [name, list] of [
  ['uids', [0, -1]],
  ['uids', ['33', 0]],
  ['gids', [2 ** 32]],
  ['gids', [0.5]],
] as const) {
  for (const option of ['allowedPeers', 'trustedRouters']) {
    test(`${option} with ${name} ${JSON.stringify(list)}: SCGI_ERR_LIMIT_OPTION`, (t) => {
      const error = t.throws(() => new Receiver({ [option]: { [name]: list } }), {
        code: 'SCGI_ERR_LIMIT_OPTION',
      });
      t.true(error?.message.includes(`${option}.${name}[`));
    });
  }
}

test('what the first sender spoke is what counts, whatever the router speaks', async (t) => {
  const open = await openReceiver(t);
  for (const [more, version] of [
    [[], 1],
    [[['FD_PASS_VIA_VERSION', '1']], 1],
    [[['FD_PASS_VIA_VERSION', '0']], 0],
  ] as [Headers, 0 | 1][]) {
    for (const kind of KINDS) {
      const router = open.connect();
      await router.send(message(kind, more), ...(await descriptors(t, kind)));
      const handover = await open.next<HandoverKind>();
      t.is(handover.version, version);
      closeHandover(handover);
      t.is(await router.answer(), '\x06');
    }
  }
});

test('full, on a channel: any number of clients; a relay ends it', async (t) => {
  const open = await openReceiver(t, { trustedRouters: { uids: [me.uid] } });
  const wish: Headers = [['FD_PASS_KEEPALIVE', '1']];
  const router = open.connect();
  for (let nth = 0; nth < 3; nth++) {
    await router.send(message('full', wish), await acceptedFd(t));
    t.is(await router.nextByte(), 0x16);
    const handover = await open.next();
    t.deepEqual([handover.sender, handover.hops], [first, 3]);
    closeHandover(handover);
  }
  await router.send(message('relay', wish), unixConnection(t)[0]);
  t.is((await open.nextError()).code, 'FDPASS_ERR_CHANNEL');
  t.is(await router.answer(), '\x15');
});

test('partial, on a channel: its second descriptor ends it before the message is whole', async (t) => {
  const open = await openReceiver(t);
  const router = open.connect();
  await router.send(message('full', [['FD_PASS_KEEPALIVE', '1']]), await acceptedFd(t));
  t.is(await router.nextByte(), 0x16);
  closeHandover(await open.next());
  await router.send(message('partial').subarray(0, 1), ...(await descriptors(t, 'partial')));
  t.is((await open.nextError()).code, 'FDPASS_ERR_TOO_MANY_FDS');
  t.is(await router.answer(), '\x15');
});
