// A descriptor table without room: nothing may be received then, because the kernel would drop the descriptors of the message.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { FdListenerStats } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { Child } from './children/run.js';
import { pair, Sender } from './listener-fixture.js';

guardDescriptors(test);

async function start(t: ExecutionContext, minFree: number): Promise<{ child: Child; connect: () => Sender }> {
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-full-'));
  const path = join(folder, 'socket');
  const child = new Child('full-table.js', [path, String(minFree)], 'ulimit -n 64; exec "$@"');
  const senders: Sender[] = [];
  t.teardown(async () => {
    child.kill();
    await child.ended;
    for (const sender of senders) sender.close();
    await rm(folder, { recursive: true });
  });
  await until('the child listens', () => child.has('ready'));
  const connect = (): Sender => {
    const sender = new Sender(path);
    senders.push(sender);
    return sender;
  };
  return { child, connect };
}

async function statsOf(child: Child): Promise<FdListenerStats> {
  const count = child.lines.filter((line) => line.startsWith('stats')).length;
  child.tell('stats');
  await until('the stats came', () => child.lines.filter((line) => line.startsWith('stats')).length > count);
  const last = child.lines.filter((line) => line.startsWith('stats')).at(-1) ?? '';
  return JSON.parse(last.slice('stats '.length)) as FdListenerStats;
}

const partsOf = (child: Child): string[] => child.lines.filter((line) => line.startsWith('part'));
const expected = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `part ${index} 1 0`).sort();

test.serial('with a full table connections stay in the backlog, and come when there is room', async (t) => {
  const { child, connect } = await start(t, 0);
  const [passed] = pair(t);
  child.tell('fill');
  await until('the table is full', () => child.has('full'));
  for (let index = 0; index < 20; index++) connect().send(`${index}`, passed);
  let stats = await statsOf(child);
  while (stats.descriptorPauses === 0) stats = await statsOf(child);
  t.is(stats.accepted, 0);
  child.tell('free 8');
  await until('all came', () => partsOf(child).length === 20);
  t.deepEqual(partsOf(child).sort(), expected(20));
});

test.serial('accepted connections are not received from while the table is full', async (t) => {
  const { child, connect } = await start(t, 0);
  const [passed] = pair(t);
  const senders = Array.from({ length: 6 }, connect);
  let stats = await statsOf(child);
  while (stats.accepted < 6) stats = await statsOf(child);
  child.tell('fill');
  await until('the table is full', () => child.has('full'));
  senders.forEach((sender, index) => {
    sender.send(`${index}`, passed);
  });
  stats = await statsOf(child);
  while (stats.descriptorPauses === 0) stats = await statsOf(child);
  t.deepEqual(partsOf(child), []);
  child.tell('free 3');
  await until('a few were freed', () => child.has('freed 3'));
  await statsOf(child);
  child.tell('free 3');
  await until('all came', () => partsOf(child).length === 6);
  t.deepEqual(partsOf(child).sort(), expected(6));
});

test.serial('a table that fills and empties again and again loses nothing', async (t) => {
  const { child, connect } = await start(t, 4);
  const [passed] = pair(t);
  for (let round = 0; round < 5; round++) {
    child.tell('fill');
    for (let index = round * 10; index < round * 10 + 10; index++) connect().send(`${index}`, passed);
    child.tell('free 12');
    await until('this round came', () => partsOf(child).length === (round + 1) * 10);
  }
  t.deepEqual(partsOf(child).sort(), expected(50));
});

test.serial(
  'accepting stops while the rest of the process has fewer descriptors than it was promised',
  async (t) => {
    const { child, connect } = await start(t, 16);
    const senders = Array.from({ length: 64 }, connect);
    let stats = await statsOf(child);
    while (stats.descriptorPauses === 0) stats = await statsOf(child);
    // Every accepted connection waits for its message and has a descriptor: at least 14 of 64 are free, and not all were accepted.
    t.true(stats.pending < 50);
    t.true(stats.pending > 0);
    for (const sender of senders) sender.close();
    while (stats.accepted < 64) stats = await statsOf(child);
    while (stats.pending > 0) stats = await statsOf(child);
    t.is(partsOf(child).filter((line) => line === 'part  0 1').length, 64);
  },
);
