// The descriptors beside a message that was passed on: how many, and of which sort, is judged before anything is acknowledged, and all
// of them are closed.
import { closeSync, openSync } from 'node:fs';
import type { HandoverKind, WireErrorCode } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { acceptedFd } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { sendMany } from '../helpers/many-descriptors.js';
import { openReceiver } from '../helpers/open-receiver.js';
import { descriptors, KINDS, message, unixConnection, VIA } from '../helpers/passed-on.js';
import { needs, program } from '../helpers/requirements.js';
import { GET, versionOne, versionZero } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

/** Too few, too many, and more than a message ever has; of the right sort. */
const counts: [kind: HandoverKind, count: number, code: WireErrorCode, answer: string][] = [
  ['full', 0, 'FDPASS_ERR_NO_FD', '\x15'],
  ['full', 2, 'FDPASS_ERR_TOO_MANY_FDS', '\x15'],
  ['partial', 0, 'FDPASS_ERR_NO_FD', '\x15'],
  ['partial', 1, 'FDPASS_ERR_NO_CONNECTION', '\x15'],
  ['relay', 0, 'FDPASS_ERR_NO_FD', '\x15'],
  ['relay', 2, 'FDPASS_ERR_TOO_MANY_FDS', '\x15'],
];

for (const [kind, count, code, answer] of counts) {
  test(`${kind} with ${count} descriptors: ${code}`, async (t) => {
    const open = await openReceiver(t);
    const [connection] = unixConnection(t);
    for (const round of [1, 2]) {
      const router = open.connect();
      await router.send(message(kind), ...Array<number>(count).fill(connection));
      t.is((await open.nextError()).code, code);
      t.is(await router.answer(), answer);
      t.deepEqual(open.receiver.stats().errors, { [code]: round });
    }
    await open.serves(connection, versionOne());
  });
}

const withPython = needs(test, program('python3'));

for (const kind of KINDS) {
  withPython(`${kind} with 3 descriptors: FDPASS_ERR_TOO_MANY_FDS, whatever the message says`, async (t) => {
    const open = await openReceiver(t);
    const answer = sendMany(open.path, message(kind), 3);
    t.is((await open.nextError()).code, 'FDPASS_ERR_TOO_MANY_FDS');
    t.is(await answer, '');
  });

  test(`${kind}: one descriptor more, later: FDPASS_ERR_TOO_MANY_FDS before the message is whole`, async (t) => {
    const open = await openReceiver(t);
    const fds = await descriptors(t, kind);
    const router = open.connect();
    await router.send(message(kind).subarray(0, 1), ...fds);
    await router.isRead();
    await router.send(message(kind).subarray(1, 2), ...fds.slice(0, 1));
    t.is((await open.nextError()).code, 'FDPASS_ERR_TOO_MANY_FDS');
    t.is(await router.answer(), '');
  });
}

test('partial: two descriptors that did not come together', async (t) => {
  const open = await openReceiver(t);
  const [client, connection] = (await descriptors(t, 'partial')) as [number, number];
  const bytes = message('partial');
  const router = open.connect();
  await router.send(bytes.subarray(0, 9), client);
  await router.isRead();
  await router.send(bytes.subarray(9), connection);
  t.is((await open.nextError()).code, 'FDPASS_ERR_TOO_MANY_FDS');
  t.is(await router.answer(), '\x15');
});

test('partial, and nobody has passed it on: two descriptors are one too many', async (t) => {
  const open = await openReceiver(t);
  const fds = await descriptors(t, 'partial');
  for (const [bytes, answer] of [
    [versionOne({ headers: [['KTLS_RX', '0'], ...GET] }), '\x15'],
    [versionZero({ headers: [...VIA, ['KTLS_RX', '0'], ...GET] }), ''],
  ] as const) {
    const sender = open.connect();
    await sender.send(bytes, ...fds);
    t.is((await open.nextError()).code, 'FDPASS_ERR_TOO_MANY_FDS');
    t.is(await sender.answer(), answer);
  }
});

/** Things that are no sender's connection. */
const wrongConnections: Record<string, (t: ExecutionContext) => Promise<number> | number> = {
  'a TCP client': (t) => acceptedFd(t),
  'a character device': (t) => {
    const fd = openSync('/dev/null', 'r+');
    t.teardown(() => closeSync(fd));
    return fd;
  },
  'a path without the right to use it (O_PATH)': (t) => {
    const fd = openSync('/', 0o10000000);
    t.teardown(() => closeSync(fd));
    return fd;
  },
  'a listening UNIX socket': (t) => {
    const fd = native.bindUnix(`\0fdpass-passed-on-${process.pid}-listening`, 0o600);
    native.listen(fd, 1);
    t.teardown(() => native.closeFd(fd));
    return fd;
  },
  'a UNIX socket that is connected to nobody': (t) => {
    const fd = native.bindUnix(`\0fdpass-passed-on-${process.pid}-bound`, 0o600);
    t.teardown(() => native.closeFd(fd));
    return fd;
  },
};

for (const [title, make] of Object.entries(wrongConnections)) {
  test(`${title} as the first sender’s connection: FDPASS_ERR_CONNECTION_TYPE`, async (t) => {
    const open = await openReceiver(t);
    const fd = await make(t);
    const client = await acceptedFd(t);
    for (const [kind, fds] of [
      ['partial', [client, fd]],
      ['relay', [fd]],
    ] as const) {
      const router = open.connect();
      await router.send(message(kind), ...fds);
      t.is((await open.nextError()).code, 'FDPASS_ERR_CONNECTION_TYPE');
      t.is(await router.answer(), '\x15');
    }
  });
}

test('no client beside a first sender’s connection: FDPASS_ERR_FD_TYPE', async (t) => {
  const open = await openReceiver(t);
  const fd = openSync('/dev/null', 'r+');
  t.teardown(() => closeSync(fd));
  const router = open.connect();
  await router.send(message('partial'), fd, unixConnection(t)[0]);
  t.is((await open.nextError()).code, 'FDPASS_ERR_FD_TYPE');
});

for (const [title, headers, code] of [
  ['odd hops', [['FD_PASS_VIA', '01'], ...VIA.slice(1)], 'SCGI_ERR_VIA'],
  ['a relay that no router has passed on', [['FD_PASS_RELAY', '0']], 'SCGI_ERR_RELAY'],
] as const) {
  test(`${title}: ${code}, and its descriptors are closed`, async (t) => {
    const open = await openReceiver(t);
    const router = open.connect();
    await router.send(versionOne({ headers: [...headers, ...GET] }), ...(await descriptors(t, 'partial')));
    t.is((await open.nextError()).code, code);
    t.is(await router.answer(), '');
  });
}
