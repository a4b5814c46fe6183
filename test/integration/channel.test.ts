// Channels: which connections become one, how messages and descriptors belong together on them, and what is answered.
import { closeHandover, encodeMessage, type Handover } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { loadNative } from '#native/index.js';
import {
  answers,
  channelsAre,
  isUntouched,
  KEPT,
  numbered,
  numberedClient,
  numberedClients,
  openChannel,
  REFUSED,
  TAKEN,
  takes,
  wishing,
} from '../helpers/channel-sender.js';
import { acceptedFd } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { openReceiver } from '../helpers/open-receiver.js';
import { closed, serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import { GET, versionOne, versionZero, WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

const asking = (value: string): typeof GET => [['FD_PASS_KEEPALIVE', value], ...GET];
const oneShots: Record<string, { message: Buffer; answer: string; kind?: Handover['kind'] }> = {
  'an old sender': { message: versionOne(), answer: TAKEN },
  'FD_PASS_KEEPALIVE=0': { message: versionOne({ headers: asking('0') }), answer: TAKEN },
  'an empty FD_PASS_KEEPALIVE': { message: versionOne({ headers: asking('') }), answer: TAKEN },
  'FD_PASS_KEEPALIVE=2': { message: versionOne({ headers: asking('2') }), answer: TAKEN },
  'FD_PASS_KEEPALIVE=10': { message: versionOne({ headers: asking('10') }), answer: TAKEN },
  'a sender of version 0 that asks': { message: versionZero({ headers: asking('1') }), answer: '' },
  'a partial handover that asks': {
    message: wishing({ headers: [['KTLS_RX', '0'], ...GET] }),
    answer: TAKEN,
    kind: 'partial',
  },
  'a relay that asks': {
    message: encodeMessage({ dialect: 'plain', headers: [['FD_PASS_VERSION', '1'], ...asking('1')] }),
    answer: '',
    kind: 'relay',
  },
};
for (const [title, { message, answer, kind = 'full' }] of Object.entries(oneShots)) {
  test(`no channel: ${title}`, async (t) => {
    const open = await openReceiver(t);
    const sender = open.connect();
    await sender.send(message, ...(kind === 'relay' ? [] : [await acceptedFd(t)]));
    const handover = await open.next<Handover['kind']>();
    t.is(handover.kind, kind);
    t.is(open.receiver.stats().channels, 0);
    closeHandover(handover);
    t.is(await sender.answer(), answer);
  });
}

for (const [title, message] of Object.entries({
  'without TLS': wishing(),
  'with kernel TLS that decrypts': wishing({ headers: [['HTTPS', 'on'], ['KTLS_RX', '1'], ...GET] }),
})) {
  test(`a channel: a full handover of version 1 that asks, ${title}`, async (t) => {
    const open = await openReceiver(t);
    const sender = open.connect();
    const fd = await acceptedFd(t);
    for (let nth = 1; nth <= 5; nth++) {
      await sender.send(message, fd);
      const handover = await open.next();
      t.is(handover.version, 1);
      t.is(handover.sender.pid, process.pid);
      t.is(await answers(sender, 1), KEPT);
      t.like(open.receiver.stats(), { channels: 1, pending: 0, full: nth, errors: {} });
      closeHandover(handover);
    }
    sender.close();
    await channelsAre(open, 0);
    t.deepEqual(open.receiver.stats().errors, {});
  });
}

test('200 messages without waiting for an answer: each is answered, and has its own client', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  for (const [at, { fd }] of numberedClients(t, 1, 200).entries()) await sender.send(numbered(at + 1), fd);
  t.is(await answers(sender, 200), KEPT.repeat(200));
  await takes(t, open, 1, 200);
});

test('several channels at once, each with messages in its own order', async (t) => {
  const open = await openReceiver(t);
  const senders = [await openChannel(t, open), await openChannel(t, open), await openChannel(t, open)];
  for (const [at, { fd }] of numberedClients(t, 1, 90).entries()) {
    senders[at % 3]?.sendAtOnce(numbered(at + 1), fd);
  }
  for (const sender of senders) t.is(await answers(sender, 30), KEPT.repeat(30));
  const handovers: Handover[] = [];
  for (let nth = 1; nth <= 90; nth++) handovers.push(await open.next());
  const seen = handovers.map(({ headers }) => Number(headers.get('NUMBER')));
  for (const rest of [0, 1, 2]) {
    const own = seen.filter((nth) => nth % 3 === rest);
    t.deepEqual(
      own,
      own.toSorted((a, b) => a - b),
    );
  }
  t.is(new Set(seen).size, 90);
  for (const handover of handovers) closeHandover(handover);
});

test('messages of several buffers of the kernel, with early bytes, one behind the other', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  const sizes = [0, 31_000, 33_000, 65_536, 1, 65_536, 0, 40_000];
  const sending = (async () => {
    for (const [at, size] of sizes.entries()) {
      const headers: [string, string][] = [...GET.map(([name, value]): [string, string] => [name, value])];
      headers.push(['HTTP_LONG', String(at).repeat(size)]);
      const early = Buffer.alloc(size, String(at));
      await sender.send(numbered(at + 1, { headers, earlyBytes: early }), numberedClient(t, at + 1).fd);
    }
  })();
  for (const [at, size] of sizes.entries()) {
    const handover = await open.next();
    t.is(handover.headers.get('HTTP_LONG'), String(at).repeat(size));
    t.true(handover.earlyBytes.equals(Buffer.alloc(size, String(at))));
    const bytes = Buffer.alloc(8);
    t.is(bytes.toString('latin1', 0, native.read(handover.passedFd.fd, bytes)), `${at + 1};`);
    closeHandover(handover);
  }
  await sending;
  t.is(await answers(sender, sizes.length), KEPT.repeat(sizes.length));
});

test('two messages cut at every byte, the second right behind the first', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  const first = numbered(1);
  const second = numbered(2, { earlyBytes: Buffer.from('name=value') });
  for (let cut = 1; cut < second.length; cut += 7) {
    const [one, two] = numberedClients(t, 1, 2);
    await sender.send(first.subarray(0, cut % first.length || 1), one!.fd);
    await sender.send(first.subarray(cut % first.length || 1));
    await sender.send(second.subarray(0, cut), two!.fd);
    if (cut % 2 === 1) await sender.isRead();
    await sender.send(second.subarray(cut));
    t.is(await answers(sender, 2), KEPT + KEPT);
    await takes(t, open, 1, 2);
  }
  t.deepEqual(open.receiver.stats().errors, {});
});

test('a refusal in the middle is about its message only, and its client is untouched', async (t) => {
  const open = await openReceiver(t, { refuse: ({ headers }) => headers.get('REMOTE_PORT') === '13' });
  const sender = await openChannel(t, open);
  const clients = numberedClients(t, 1, 3);
  const unwanted = numbered(2, { headers: [['REMOTE_PORT', '13']] });
  for (const [at, { fd }] of clients.entries()) sender.sendAtOnce(at === 1 ? unwanted : numbered(at + 1), fd);
  t.is(await answers(sender, 3), KEPT + REFUSED + KEPT);
  await takes(t, open, 1, 1);
  await takes(t, open, 3, 3);
  t.true(isUntouched(clients[1]!, 2));
  // It can be offered again, here or elsewhere.
  await sender.send(numbered(2), clients[1]!.fd);
  t.is(await answers(sender, 1), KEPT);
  await takes(t, open, 2, 2);
  t.like(open.receiver.stats(), { full: 4, refused: 1, errors: {}, channels: 1 });
});

test('a refusal as the first answer is the last one', async (t) => {
  const open = await openReceiver(t, { refuse: () => true });
  const sender = open.connect();
  const client = numberedClient(t, 1);
  await sender.send(numbered(1), client.fd);
  t.is(await sender.answer(), REFUSED);
  t.true(isUntouched(client, 1));
  t.like(open.receiver.stats(), { channels: 0, refused: 1 });
});

test('a message without the wish is the last of its channel: what follows it is not taken', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  const [one, two, three] = numberedClients(t, 1, 3);
  sender.sendAtOnce(numbered(1), one!.fd);
  sender.sendAtOnce(versionOne({ headers: [...GET, ['NUMBER', '2']] }), two!.fd);
  sender.sendAtOnce(numbered(3), three!.fd);
  t.is(await answers(sender, 4), `${KEPT}${TAKEN}$`);
  await takes(t, open, 1, 2);
  t.true(isUntouched(three!, 3));
  t.is(open.waiting, 0);
  t.like(open.receiver.stats(), { channels: 0, errors: {}, full: 3 });
});

test('beyond maxChannels connections are not kept; one that ends makes room', async (t) => {
  const open = await openReceiver(t, { maxChannels: 2 });
  const [first] = [await openChannel(t, open), await openChannel(t, open)];
  const third = open.connect();
  await third.send(numbered(1), numberedClient(t, 1).fd);
  t.is(await third.answer(), TAKEN);
  await takes(t, open, 1, 1);
  t.is(open.receiver.stats().channels, 2);
  first.close();
  await channelsAre(open, 1);
  await openChannel(t, open);
  t.is(open.receiver.stats().channels, 2);
});

test('maxChannels: 0 keeps none', async (t) => {
  const open = await openReceiver(t, { maxChannels: 0 });
  const sender = open.connect();
  await sender.send(wishing(), await acceptedFd(t));
  t.is(await sender.answer(), TAKEN);
  closeHandover(await open.next());
});

test('channels do not count as connections that wait for their message', async (t) => {
  const open = await openReceiver(t, { maxPendingConnections: 1 });
  await openChannel(t, open);
  await openChannel(t, open);
  await open.serves(await acceptedFd(t), versionOne());
  t.like(open.receiver.stats(), { channels: 2, pending: 0 });
});

test('messages that come together are all judged and answered before the first is given out', async (t) => {
  const ahead: number[] = [];
  const open = await openReceiver(t, {
    refuse: (_message, count) => {
      ahead.push(count);
      return false;
    },
  });
  const sender = await openChannel(t, open);
  ahead.length = 0;
  const answered: number[] = [];
  open.receiver.prependListener('handover', () => answered.push(native.readQueueBytes(sender.fd)));
  for (const [at, { fd }] of numberedClients(t, 1, 4).entries()) sender.sendAtOnce(numbered(at + 1), fd);
  await takes(t, open, 1, 4);
  t.deepEqual(answered, [4, 4, 4, 4]);
  t.deepEqual(ahead, [0, 1, 2, 3]);
});

test('maxConnections of a server is exact, however many messages come together', async (t) => {
  const served = await serve(t, {}, (_request, response) => void response.on('close', () => {}));
  served.server.maxConnections = 3;
  const sender = new WireSender(served.path);
  const clients = numberedClients(t, 0, 5);
  await sender.send(numbered(0), clients[0]!.fd);
  t.is(await answers(sender, 1), KEPT);
  for (const [nth, { fd }] of clients.entries()) if (nth > 0) sender.sendAtOnce(numbered(nth), fd);
  t.is(await answers(sender, 5), KEPT + KEPT + REFUSED + REFUSED + REFUSED);
  t.like(served.server.stats(), { full: 3, refused: 3, connections: 3, channels: 1, errors: {} });
  await until('the last ones are untouched', () => isUntouched(clients[5]!, 5));
  sender.close();
  served.server.destroy();
  await closed(served.server);
});
