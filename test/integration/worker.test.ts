// A server in a worker thread: it serves, and when the thread is terminated no descriptor is left in the process.
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { HandoverServerStats } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { wishing } from '../helpers/channel-sender.js';
import { assertSameDescriptors, guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, handOver } from '../helpers/hand-over.js';
import { temporaryFolder } from '../helpers/serve.js';
import { WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];

interface Fixture {
  worker: Worker;
  path: string;
  stats(): Promise<HandoverServerStats>;
}

async function start(folder: string, silentPath = ''): Promise<Fixture> {
  const path = join(folder, 'socket');
  const file = join(folder, 'file');
  const handle = await open(file, 'w');
  await handle.truncate(30_000_000);
  await handle.close();
  const worker = new Worker(new URL('../helpers/serving-worker.js', import.meta.url), {
    workerData: { path, file, silentPath },
  });
  await once(worker, 'message');
  const stats = async (): Promise<HandoverServerStats> => {
    const answer = once(worker, 'message');
    worker.postMessage('stats');
    return (await answer)[0] as HandoverServerStats;
  };
  return { worker, path, stats };
}

test.serial('it serves every kind of handover', async (t) => {
  const { worker, path } = await start(await temporaryFolder(t));
  for (const kind of KINDS) {
    const client = await handOver(path, { kind, headers: { HTTP_CONNECTION: 'close' } });
    t.regex(await client.readToEnd(), /^(?:HTTP\/1\.1|Status:) 200 .*served$/s);
  }
  await worker.terminate();
});

/** Leaves a connection of this kind in every stage. */
async function everyStage(path: string, kind: HandoverKind): Promise<HandedClient[]> {
  const clients: HandedClient[] = [];
  const add = async (target: string, until?: string, headers: Record<string, string> = {}): Promise<void> => {
    const client = await handOver(path, { kind, target, headers });
    if (until !== undefined) await client.readUntil(until);
    clients.push(client);
  };
  await add('/idle', 'served');
  await add('/held');
  await add('/begun', 'begun');
  await add('/waits', undefined, { HELD: '1' });
  for (const target of ['/large', '/file']) {
    await add(target);
    clients.at(-1)?.answer.socket.pause();
  }
  const upload = { kind, method: 'POST', target: '/refused', bodyBytes: 1000 };
  const lingering = await handOver(path, { ...upload, headers: { HTTP_CONTENT_LENGTH: '1000' } });
  await lingering.readUntil('refused');
  clients.push(lingering);
  if (kind !== 'relay')
    await add('/ws', 'upgraded', { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'websocket' });
  return clients;
}

async function terminateInEveryStage(t: ExecutionContext): Promise<void> {
  const folder = await temporaryFolder(t);
  const silentPath = `\0fdpass-worker-${process.pid}`;
  const silent = native.bindUnix(silentPath, 0o600);
  native.listen(silent, 16);
  const before = openDescriptors();
  const { worker, path, stats } = await start(folder, silentPath);
  const clients: HandedClient[] = [];
  for (const kind of KINDS) clients.push(...(await everyStage(path, kind)));
  const senders = Array.from({ length: 3 }, () => new WireSender(path));
  // Two channels, one of them in the middle of its second message.
  const passed = native.socketpair();
  for (let nth = 0; nth < 2; nth++) {
    const channel = new WireSender(path);
    await channel.send(wishing(), passed[0]);
    t.is(await channel.nextByte(), 0x16);
    if (nth === 1) await channel.send(wishing().subarray(0, 50), passed[0]);
    senders.push(channel);
  }
  await senders[0]?.send(Buffer.from('100:CONTENT_LENGTH'));
  // Half a message with a descriptor beside it.
  const [near, far] = native.socketpair();
  await senders[1]?.send(Buffer.from('100:CONTENT_LENGTH'), near);
  native.closeFd(near);
  // The file transfers have filled their sockets.
  await delay(100);
  const { connections, pending, channels } = await stats();
  t.is(channels, 2);
  t.true(connections >= 16, `${connections} connections`);
  t.is(pending, 3);
  await worker.terminate();
  for (const client of clients) await client.close();
  for (const sender of senders) sender.close();
  for (const fd of [far, ...passed]) native.closeFd(fd);
  await assertSameDescriptors(t, before);
  native.closeFd(silent);
}

test.serial('terminate() with connections in every stage leaves no descriptor', terminateInEveryStage);
test.serial('and again', terminateInEveryStage);
