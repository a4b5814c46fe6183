// How channels end: by their sender, by the receiver, in the middle of something or in peace. No client is on both sides, none is lost.
import { once } from 'node:events';
import { closeHandover, Receiver } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import {
  answers,
  channelsAre,
  isUntouched,
  KEPT,
  type NumberedClient,
  numbered,
  numberedClient,
  numberedClients,
  openChannel,
  REFUSED,
  takes,
} from '../helpers/channel-sender.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type OpenReceiver, openReceiver } from '../helpers/open-receiver.js';
import { until } from '../helpers/until.js';
import { versionOne, WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

/** Clients `from` to `to` as messages that are there when the loop turns. */
function pipeline(t: ExecutionContext, sender: WireSender, from: number, to: number): NumberedClient[] {
  const clients = numberedClients(t, from, to);
  for (const [at, { fd }] of clients.entries()) sender.sendAtOnce(numbered(from + at), fd);
  return clients;
}

const closing = async (open: OpenReceiver): Promise<void> => {
  const closed = once(open.receiver, 'close');
  open.receiver.close();
  await closed;
};

test('an idle channel has no deadline, and its end is no error', async (t) => {
  const open = await openReceiver(t, { messageTimeoutMs: 50 });
  const sender = await openChannel(t, open);
  // Another connection meets the deadline meanwhile.
  const silent = open.connect();
  t.is((await open.nextError()).code, 'FDPASS_ERR_TIMEOUT');
  t.is(await silent.answer(), '');
  pipeline(t, sender, 1, 1);
  t.is(await answers(sender, 1), KEPT);
  await takes(t, open, 1, 1);
  sender.close();
  await channelsAre(open, 0);
  t.deepEqual(open.receiver.stats().errors, { FDPASS_ERR_TIMEOUT: 1 });
});

test('each message has a deadline of its own', async (t) => {
  const open = await openReceiver(t, { messageTimeoutMs: 400 });
  const sender = await openChannel(t, open);
  for (let nth = 1; nth <= 4; nth++) {
    const message = numbered(nth);
    await sender.send(message.subarray(0, 30), numberedClient(t, nth).fd);
    await new Promise((resolve) => setTimeout(resolve, 150));
    await sender.send(message.subarray(30));
    t.is(await answers(sender, 1), KEPT);
    await takes(t, open, nth, nth);
  }
  // All of them together took longer than one may; and so may the pause behind them.
  await new Promise((resolve) => setTimeout(resolve, 450));
  t.like(open.receiver.stats(), { channels: 1, errors: {} });
});

test('a sender that ends only its side is answered, then the channel is closed', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  pipeline(t, sender, 1, 3);
  sender.end();
  t.is(await answers(sender, 4), `${KEPT.repeat(3)}$`);
  await takes(t, open, 1, 3);
  t.like(open.receiver.stats(), { channels: 0, errors: {} });
});

test('a sender that leaves answers unread resets the channel: no error', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  pipeline(t, sender, 1, 3);
  await takes(t, open, 1, 3);
  sender.close();
  await channelsAre(open, 0);
  t.deepEqual(open.receiver.stats().errors, {});
});

for (const [title, leave] of Object.entries({
  dies: (sender: WireSender) => sender.close(),
  'gives up': (sender: WireSender) => native.shutdown(sender.fd, 0),
})) {
  test(`a sender that ${title} before it is answered keeps all its clients`, async (t) => {
    const open = await openReceiver(t);
    const sender = await openChannel(t, open);
    const clients = pipeline(t, sender, 1, 3);
    leave(sender);
    await until('the channel is closed', () => open.receiver.stats().channels === 0);
    await until('all are counted', () => open.receiver.stats().errors.FDPASS_ERR_ACK === 3);
    t.like(open.receiver.stats(), { full: 1, refused: 0 });
    t.is(open.waiting, 0);
    for (const [at, client] of clients.entries()) t.true(isUntouched(client, at + 1));
    open.errors.length = 0;
  });
}

test('a sender that never reads its answers loses its channel at last, and no client', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  let nth = 0;
  let last: NumberedClient[] = [];
  while (open.receiver.stats().channels === 1) {
    last = pipeline(t, sender, nth + 1, nth + 5);
    const done = nth + 5;
    await until('they are judged', () => {
      const { full, errors } = open.receiver.stats();
      return full === 1 + done || errors.FDPASS_ERR_ACK !== undefined;
    });
    if (open.receiver.stats().channels === 1) await takes(t, open, nth + 1, nth + 5);
    nth += 5;
  }
  t.true(nth > 50);
  // Of the last five none was taken: the answers go all at once or not at all.
  t.like(open.receiver.stats(), { full: 1 + nth - 5, errors: { FDPASS_ERR_ACK: 5 } });
  for (const [at, client] of last.entries()) t.true(isUntouched(client, nth - 4 + at));
  t.is(await answers(sender, nth), `${KEPT.repeat(nth - 5)}$`);
  open.errors.length = 0;
});

test('close() with idle channels: they are closed, then comes the event', async (t) => {
  const open = await openReceiver(t);
  const senders = [await openChannel(t, open), await openChannel(t, open)];
  await closing(open);
  for (const sender of senders) {
    t.is(await sender.answer(), '');
    t.throws(() => sender.sendAtOnce(numbered(1), sender.fd), { code: 'EPIPE' });
  }
  t.deepEqual(open.receiver.stats().errors, {});
});

test('close() receives and answers what has arrived on channels, and closes them before the event', async (t) => {
  const open = await openReceiver(t);
  const senders = [await openChannel(t, open), await openChannel(t, open)];
  for (const sender of senders) pipeline(t, sender, 1, 100);
  await closing(open);
  for (const sender of senders) t.is(await answers(sender, 101), `${KEPT.repeat(100)}$`);
  t.is(open.receiver.stats().full, 202);
  t.is(open.waiting, 200);
  t.deepEqual(open.errors, []);
});

test('close() with a refusing receiver: what has arrived goes elsewhere, untouched', async (t) => {
  let isClosing = false;
  const open = await openReceiver(t, { refuse: () => isClosing });
  const sender = await openChannel(t, open);
  const clients = pipeline(t, sender, 1, 3);
  isClosing = true;
  await closing(open);
  t.is(await answers(sender, 4), `${REFUSED.repeat(3)}$`);
  for (const [at, client] of clients.entries()) t.true(isUntouched(client, at + 1));
  t.like(open.receiver.stats(), { full: 1, refused: 3, errors: {} });
});

test('close() in the middle of a message: it is refused, which is nobody’s error', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  const client = numberedClient(t, 1);
  await sender.send(numbered(1).subarray(0, 100), client.fd);
  await sender.isRead();
  await closing(open);
  t.is(await answers(sender, 2), `${REFUSED}$`);
  t.true(isUntouched(client, 1));
  t.like(open.receiver.stats(), { full: 1, refused: 1, errors: {} });
});

test('close(): a connection in the accept queue does not become a channel', async (t) => {
  const open = await openReceiver(t);
  const sender = open.connect();
  sender.sendAtOnce(numbered(1), numberedClient(t, 1).fd);
  await closing(open);
  t.is(await sender.answer(), '\x06');
  await takes(t, open, 1, 1);
});

test('close() of a receiver on an inherited descriptor closes its channels, too', async (t) => {
  const path = `\0fdpass-test-${process.pid}-inherited`;
  const fd = native.bindUnix(path, 0o600);
  native.listen(fd, 16);
  const receiver = new Receiver();
  receiver.on('handover', closeHandover);
  receiver.listen({ fd });
  await once(receiver, 'listening');
  const sender = new WireSender(path);
  await sender.send(numbered(0), numberedClient(t, 0).fd);
  t.is(await answers(sender, 1), KEPT);
  pipeline(t, sender, 1, 2);
  const closed = once(receiver, 'close');
  receiver.close();
  await closed;
  t.is(await answers(sender, 3), `${KEPT}${KEPT}$`);
  sender.close();
});

test('destroy() closes channels at once, and what half a message brought', async (t) => {
  const open = await openReceiver(t);
  const senders = [await openChannel(t, open), await openChannel(t, open)];
  const client = numberedClient(t, 1);
  await senders[0]?.send(numbered(1).subarray(0, 100), client.fd);
  await senders[0]?.isRead();
  const closed = once(open.receiver, 'close');
  open.receiver.destroy();
  await closed;
  for (const sender of senders) t.is(await sender.answer(), '');
  t.true(isUntouched(client, 1));
  t.is(open.receiver.stats().channels, 0);
});

test('destroyed while messages are judged: none of them is answered or touched', async (t) => {
  const open = await openReceiver(t, {
    refuse: ({ headers }) => {
      if (headers.get('NUMBER') === '2') open.receiver.destroy();
      return false;
    },
  });
  const sender = await openChannel(t, open);
  const clients = pipeline(t, sender, 1, 3);
  const closed = once(open.receiver, 'close');
  await closed;
  t.is(await sender.answer(), '');
  for (const [at, client] of clients.entries()) t.true(isUntouched(client, at + 1));
  t.is(open.waiting, 0);
});

test('destroyed while handovers are given out: the rest, already taken, is closed', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  open.receiver.once('handover', () => open.receiver.destroy());
  const clients = pipeline(t, sender, 1, 3);
  await once(open.receiver, 'close');
  t.is(await answers(sender, 4), `${KEPT.repeat(3)}$`);
  t.is(open.waiting, 1);
  await takes(t, open, 1, 1);
  // No other copy is left here: with the sender's the client would be at its end.
  t.true(isUntouched(clients[2]!, 3));
});

test('a one-shot connection beside channels is what it was', async (t) => {
  const open = await openReceiver(t);
  const channel = await openChannel(t, open);
  const sender = open.connect();
  sender.sendAtOnce(versionOne(), numberedClient(t, 7).fd);
  pipeline(t, channel, 1, 2);
  t.is(await sender.answer(), '\x06');
  t.is(await answers(channel, 2), KEPT + KEPT);
  for (let nth = 0; nth < 3; nth++) closeHandover(await open.next());
});
