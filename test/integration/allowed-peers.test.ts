// Who may hand over is decided by the kernel's word about the sending process (SO_PEERCRED), whatever it sends.
import { chmodSync, chownSync } from 'node:fs';
import { dirname } from 'node:path';
import type { HandoverOptions } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { CommandedProcess } from '../helpers/commanded-process.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { condition, needs } from '../helpers/requirements.js';
import { type Served, serve } from '../helpers/serve.js';
import { WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

const isRoot = process.getuid?.() === 0;
const asRoot = needs(test, condition(isRoot, 'root, to send as somebody else: run the tests as root'));

/** Debian's nobody and nogroup. */
const NOBODY = 65_534;

type Peers = NonNullable<HandoverOptions['allowedPeers']>;

/** A server everybody can connect to. */
async function start(t: ExecutionContext, allowedPeers: Peers): Promise<Served> {
  const served = await serve(t, { allowedPeers }, undefined, { mode: 0o666 });
  chmodSync(dirname(served.path), 0o755);
  return served;
}

/** What a sender of another user gets: its answer for each kind, or the code of its refusal. */
async function sendAs(t: ExecutionContext, path: string, uid: number, gid: number): Promise<string[]> {
  const sender = await CommandedProcess.start(t, 'sending-process.js', [path, String(uid), String(gid)]);
  return sender.ask('send');
}

const SERVED = ['200', '200', '200', '200'];
/** Version 0 and relays get no word: their connection is closed. */
const REFUSED = ['FDPASS_ERR_REFUSED', '', 'FDPASS_ERR_REFUSED', ''];

const cases: [title: string, allowed: Peers, uid: number, gid: number, isServed: boolean][] = [
  ['its user', { uids: [1, NOBODY] }, NOBODY, NOBODY, true],
  ['its group', { gids: [NOBODY] }, NOBODY, NOBODY, true],
  ['its group, and another user', { uids: [0], gids: [NOBODY] }, NOBODY, NOBODY, true],
  ['another user', { uids: [0] }, NOBODY, NOBODY, false],
  ['another group', { gids: [0] }, NOBODY, NOBODY, false],
  ['nobody at all', { uids: [], gids: [] }, 0, 0, false],
  ['nothing', {}, 0, 0, false],
  ['another user than root', { uids: [NOBODY] }, 0, 0, false],
  ['root', { uids: [0] }, 0, 0, true],
];

for (const [title, allowed, uid, gid, isServed] of cases) {
  asRoot(`a list of ${title}: uid ${uid} is ${isServed ? 'served' : 'refused'}`, async (t) => {
    const { path, errors, server } = await start(t, allowed);
    t.deepEqual(await sendAs(t, path, uid, gid), isServed ? SERVED : REFUSED);
    t.deepEqual(errors, isServed ? [] : Array(4).fill('FDPASS_ERR_PEER'));
    t.deepEqual(server.stats().errors, isServed ? {} : { FDPASS_ERR_PEER: 4 });
  });
}

asRoot('without a list the mode of the socket decides', async (t) => {
  const { path } = await serve(t, {}, undefined, { mode: 0o660, group: NOBODY });
  chmodSync(dirname(path), 0o755);
  t.deepEqual(await sendAs(t, path, NOBODY, NOBODY), SERVED);
  chownSync(path, 0, 0);
  t.deepEqual(await sendAs(t, path, NOBODY, NOBODY), Array(4).fill('FDPASS_ERR_BACKEND_DOWN'));
});

test('a stranger gets no further, whatever it sends', async (t) => {
  const { path, errors } = await start(t, { uids: [NOBODY] });
  for (const bytes of ['', 'garbage', '5:', '24:CONTENT_LENGTH\x000\0SCGI\x001\0,']) {
    const sender = new WireSender(path);
    if (bytes !== '') await sender.send(Buffer.from(bytes, 'latin1'));
    sender.end();
    t.is(await sender.answer(), '');
    sender.close();
  }
  t.deepEqual(errors, Array(4).fill('FDPASS_ERR_PEER'));
});

test('the sender’s process is the one that connected', async (t) => {
  const { server, path } = await start(t, { uids: [process.getuid?.() ?? 0] });
  const senders: unknown[] = [];
  server.use((handover) => {
    senders.push(handover.info.sender);
    handover.reject(403);
  });
  const sender = await CommandedProcess.start(t, 'sending-process.js', [path, '', '']);
  t.deepEqual(await sender.ask('send'), ['403', '403', '403', '403']);
  const expected = { pid: sender.pid, uid: process.getuid?.(), gid: process.getgid?.() };
  t.deepEqual(senders, Array(4).fill(expected));
  t.is(native.registeredFdCount(), 0);
});
