// What may not come on a channel: that message is refused and the channel closed; clients before it are unharmed, clients behind it
// untouched, and none gets another's request.
import { closeSync, openSync } from 'node:fs';
import { type ERRORS, encodeMessage, encodeNetstring, type ReceiverOptions } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { loadNative } from '#native/index.js';
import {
  answers,
  isUntouched,
  KEPT,
  numbered,
  numberedClient,
  openChannel,
  REFUSED,
  takes,
} from '../helpers/channel-sender.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { openReceiver } from '../helpers/open-receiver.js';
import { GET, versionOne, versionZero, type WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

const plain = (): Buffer => encodeMessage({ dialect: 'plain', headers: GET });

interface Case {
  code: keyof typeof ERRORS;
  /** Sends the wrong message; `fd` is a proper client. */
  send: (sender: WireSender, fd: number) => Promise<unknown>;
  options?: ReceiverOptions;
}

const bytes =
  (message: Buffer | string) =>
  (sender: WireSender, fd: number): Promise<void> =>
    sender.send(Buffer.from(message as string, 'latin1'), fd);

const cases: Record<string, Case> = {
  'a message without a descriptor': {
    code: 'FDPASS_ERR_NO_FD',
    send: (sender) => sender.send(numbered(2)),
  },
  'two descriptors': {
    code: 'FDPASS_ERR_TOO_MANY_FDS',
    send: (sender, fd) => sender.send(numbered(2), fd, fd),
  },
  'a second descriptor beside a later byte': {
    code: 'FDPASS_ERR_TOO_MANY_FDS',
    send: async (sender, fd) => {
      const message = numbered(2);
      await sender.send(message.subarray(0, 20), fd);
      await sender.send(message.subarray(20), fd);
    },
  },
  'a second descriptor beside a later byte, noticed before the message is whole': {
    code: 'FDPASS_ERR_TOO_MANY_FDS',
    send: async (sender, fd) => {
      const message = numbered(2);
      await sender.send(message.subarray(0, 20), fd);
      await sender.send(message.subarray(20, 30), fd);
    },
  },
  'a partial handover': {
    code: 'FDPASS_ERR_CHANNEL',
    send: bytes(numbered(2, { headers: [['KTLS_RX', '0'], ...GET] })),
  },
  'plain SCGI': { code: 'FDPASS_ERR_CHANNEL', send: (sender) => sender.send(plain()) },
  'plain SCGI with a descriptor': { code: 'FDPASS_ERR_CHANNEL', send: bytes(plain()) },
  'a message of version 0': { code: 'FDPASS_ERR_CHANNEL', send: bytes(versionZero()) },
  'a message of version 2': {
    code: 'SCGI_ERR_VERSION',
    send: bytes(encodeMessage({ headers: [['FD_PASS_VERSION', '2'], ...GET] })),
  },
  'two wishes': {
    code: 'SCGI_ERR_DUPLICATE_HEADER',
    send: bytes(
      encodeNetstring(
        Buffer.from(`CONTENT_LENGTH\x000\0SCGI\x001+fd_pass\0${'FD_PASS_KEEPALIVE\x001\0'.repeat(2)}`),
      ),
    ),
  },
  garbage: { code: 'SCGI_ERR_NETSTRING_LENGTH', send: bytes('GET / HTTP/1.1\r\n\r\n') },
  'a netstring that is longer than it says': {
    code: 'SCGI_ERR_NETSTRING_COMMA',
    send: bytes('24:CONTENT_LENGTH\x000\0SCGI\x001\0!'),
  },
  'more than a message may hold': {
    code: 'SCGI_ERR_MESSAGE_TOO_LARGE',
    send: bytes(numbered(2, { headers: [['HTTP_LONG', 'x'.repeat(500)]] })),
    options: { limits: { maxMessageBytes: 400 } },
  },
  'more early bytes than allowed': {
    code: 'SCGI_ERR_EARLY_BYTES_TOO_LARGE',
    send: bytes(numbered(2, { earlyBytes: Buffer.alloc(65_537) }).subarray(0, 1000)),
  },
  'a descriptor that is no socket': {
    code: 'FDPASS_ERR_FD_TYPE',
    send: async (sender) => {
      const file = openSync('/dev/null', 'r');
      await sender.send(numbered(2), file);
      closeSync(file);
    },
  },
  'half a message, then nothing': {
    code: 'FDPASS_ERR_TIMEOUT',
    send: bytes(numbered(2).subarray(0, 100)),
    options: { messageTimeoutMs: 300 },
  },
  'half a message, then the end': {
    code: 'FDPASS_ERR_TRUNCATED',
    send: async (sender, fd) => {
      await sender.send(numbered(2).subarray(0, 100), fd);
      sender.end();
    },
  },
};

for (const [title, { code, send, options = {} }] of Object.entries(cases)) {
  for (const apart of [false, true]) {
    test(`${title}, ${apart ? 'alone' : 'right behind a good one'}`, async (t) => {
      const open = await openReceiver(t, options);
      const sender = await openChannel(t, open);
      sender.sendAtOnce(numbered(1), numberedClient(t, 1).fd);
      if (apart) {
        t.is(await answers(sender, 1), KEPT);
        await sender.isRead();
      }
      const client = numberedClient(t, 2);
      await send(sender, client.fd);
      t.is(await answers(sender, 3), apart ? `${REFUSED}$` : `${KEPT}${REFUSED}$`);
      await takes(t, open, 1, 1);
      const error = await open.nextError();
      t.is(error.code, code);
      t.true(isUntouched(client, 2));
      t.like(open.receiver.stats(), { full: 2, refused: 0, channels: 0, pending: 0, errors: { [code]: 1 } });
      // The listener goes on.
      await openChannel(t, open);
    });
  }
}

test('a message without its descriptor does not get that of the next one', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  const [one, three] = [numberedClient(t, 1), numberedClient(t, 3)];
  sender.sendAtOnce(numbered(1), one.fd);
  // Both come in one piece, with one descriptor.
  native.write(sender.fd, numbered(2));
  sender.sendAtOnce(numbered(3), three.fd);
  t.is(await answers(sender, 3), `${KEPT}${REFUSED}$`);
  await takes(t, open, 1, 1);
  t.is((await open.nextError()).code, 'FDPASS_ERR_NO_FD');
  t.true(isUntouched(three, 3));
  t.is(open.waiting, 0);
});

test('what comes behind a wrong message is not looked at', async (t) => {
  const open = await openReceiver(t);
  const sender = await openChannel(t, open);
  const clients = [1, 2, 3, 4].map((nth) => numberedClient(t, nth));
  sender.sendAtOnce(numbered(1), clients[0]!.fd);
  sender.sendAtOnce(versionZero(), clients[1]!.fd);
  sender.sendAtOnce(numbered(3), clients[2]!.fd);
  sender.sendAtOnce(numbered(4), clients[3]!.fd);
  t.is(await answers(sender, 4), `${KEPT}${REFUSED}$`);
  await takes(t, open, 1, 1);
  t.deepEqual(open.receiver.stats().errors, { FDPASS_ERR_CHANNEL: 1 });
  for (const nth of [3, 4]) t.true(isUntouched(clients[nth - 1]!, nth));
});

test('before the first answer a second message is too much', async (t) => {
  const open = await openReceiver(t);
  const sender = open.connect();
  const client = numberedClient(t, 1);
  await sender.send(Buffer.concat([numbered(1), numbered(2)]), client.fd);
  t.is(await sender.answer(), REFUSED);
  t.is((await open.nextError()).code, 'FDPASS_ERR_TRAILING_BYTES');
  t.true(isUntouched(client, 1));
});

test('who may not send may not have a channel', async (t) => {
  const open = await openReceiver(t, { allowedPeers: { uids: [4_000_000_000] } });
  const sender = open.connect();
  await sender.send(versionOne({ headers: [['FD_PASS_KEEPALIVE', '1'], ...GET] }), numberedClient(t, 1).fd);
  t.is(await sender.answer(), '');
  t.is((await open.nextError()).code, 'FDPASS_ERR_PEER');
  t.is(open.receiver.stats().channels, 0);
});
