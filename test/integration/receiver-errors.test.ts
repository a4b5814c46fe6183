// Messages no sender should send: each costs its own connection and descriptors, is reported by its code, and the listener
// serves the next one.
import { ERRORS, encodeMessage, encodeNetstring, type ReceiverOptions } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { acceptedFd } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { openReceiver } from '../helpers/open-receiver.js';
import { message as passedOn } from '../helpers/passed-on.js';
import { GET, versionOne, versionZero, type WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

const headers = (...entries: string[]): Buffer =>
  encodeNetstring(Buffer.from(`${entries.join('\0')}\0`, 'latin1'));
const FD_PASS = ['CONTENT_LENGTH', '0', 'SCGI', '1+fd_pass'];
const encoded = (more: readonly (readonly [string, string])[]): Buffer =>
  encodeMessage({ headers: [...more, ...GET] });

interface Case {
  code: keyof typeof ERRORS;
  /** What the sender does; `fd` is a proper client. */
  send: (sender: WireSender, fd: number) => Promise<unknown>;
  /** @default '' */
  answer?: string;
  options?: ReceiverOptions;
}

/** Sends the bytes beside the client. */
const bytes =
  (message: string | Buffer) =>
  (sender: WireSender, fd: number): Promise<void> =>
    sender.send(Buffer.from(message as string, 'latin1'), fd);

const cases: Record<string, Case> = {
  'an HTTP request': { code: 'SCGI_ERR_NETSTRING_LENGTH', send: bytes('GET / HTTP/1.1\r\nHost: h\r\n\r\n') },
  'a TLS hello': {
    code: 'SCGI_ERR_NETSTRING_LENGTH',
    send: bytes('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'),
  },
  'a NUL': { code: 'SCGI_ERR_NETSTRING_LENGTH', send: bytes('\0') },
  'a length with a leading zero': { code: 'SCGI_ERR_NETSTRING_LENGTH', send: bytes('024:') },
  'a netstring that is longer than it says': {
    code: 'SCGI_ERR_NETSTRING_COMMA',
    send: bytes('24:CONTENT_LENGTH\x000\0SCGI\x001\x00!'),
  },
  'more than a message may hold': { code: 'SCGI_ERR_MESSAGE_TOO_LARGE', send: bytes('262145:') },
  'more than this receiver lets a message hold': {
    code: 'SCGI_ERR_MESSAGE_TOO_LARGE',
    send: (sender, fd) => sender.send(versionOne(), fd),
    options: { limits: { maxMessageBytes: 64 } },
  },
  'a header without a value': {
    code: 'SCGI_ERR_HEADERS_MALFORMED',
    send: bytes(headers(...FD_PASS, 'NAME')),
  },
  'a header without a name': {
    code: 'SCGI_ERR_HEADERS_MALFORMED',
    send: bytes(headers(...FD_PASS, '', 'value')),
  },
  'too many headers': {
    code: 'SCGI_ERR_TOO_MANY_HEADERS',
    send: (sender, fd) => sender.send(versionOne(), fd),
    options: { limits: { maxHeaders: 7 } },
  },
  'a value that is too large': {
    code: 'SCGI_ERR_HEADER_TOO_LARGE',
    send: (sender, fd) => sender.send(encoded([['HTTP_LONG', 'x'.repeat(65_537)]]), fd),
  },
  'two hosts': {
    code: 'SCGI_ERR_DUPLICATE_HEADER',
    send: bytes(headers(...FD_PASS, 'HTTP_HOST', 'a', 'HTTP_HOST', 'b')),
  },
  'SCGI before CONTENT_LENGTH': {
    code: 'SCGI_ERR_CONTENT_LENGTH_FIRST',
    send: bytes(headers('SCGI', '1', 'CONTENT_LENGTH', '0')),
  },
  'a negative CONTENT_LENGTH': {
    code: 'SCGI_ERR_CONTENT_LENGTH_VALUE',
    send: bytes(headers('CONTENT_LENGTH', '-1', 'SCGI', '1')),
  },
  'no SCGI header': {
    code: 'SCGI_ERR_DIALECT_MISSING',
    send: bytes(headers('CONTENT_LENGTH', '0', 'A', 'b')),
  },
  'another dialect': { code: 'SCGI_ERR_DIALECT', send: bytes(headers('CONTENT_LENGTH', '0', 'SCGI', '2')) },
  'another version': {
    code: 'SCGI_ERR_VERSION',
    send: (sender, fd) => sender.send(encoded([['FD_PASS_VERSION', '2']]), fd),
  },
  'KTLS_RX that is no bit': {
    code: 'SCGI_ERR_KTLS_RX',
    send: (sender, fd) => sender.send(encoded([['KTLS_RX', 'on']]), fd),
  },
  'a router that counts from zero': {
    code: 'SCGI_ERR_VIA',
    send: (sender, fd) => sender.send(versionOne({ headers: [['FD_PASS_VIA', '0'], ...GET] }), fd),
  },
  'a relay with a descriptor, from no router': {
    code: 'SCGI_ERR_RELAY',
    send: (sender, fd) => sender.send(versionOne({ headers: [['FD_PASS_RELAY', '0'], ...GET] }), fd),
  },
  'a partial handover that was passed on, without its UNIX connection': {
    code: 'FDPASS_ERR_NO_CONNECTION',
    send: (sender, fd) => sender.send(passedOn('partial'), fd),
    answer: '\x15',
  },
  'a relay that was passed on, with a client for its UNIX connection': {
    code: 'FDPASS_ERR_CONNECTION_TYPE',
    send: (sender, fd) => sender.send(passedOn('relay'), fd),
    answer: '\x15',
  },
  'more early bytes than allowed': {
    code: 'SCGI_ERR_EARLY_BYTES_TOO_LARGE',
    send: (sender, fd) => sender.send(versionOne({ earlyBytes: Buffer.alloc(65_537) }).subarray(0, 200), fd),
  },
  'no descriptor, version 1': {
    code: 'FDPASS_ERR_NO_FD',
    send: (sender) => sender.send(versionOne()),
    answer: '\x15',
  },
  'no descriptor, public module': { code: 'FDPASS_ERR_NO_FD', send: (sender) => sender.send(versionZero()) },
  'two descriptors at once': {
    code: 'FDPASS_ERR_TOO_MANY_FDS',
    send: (sender, fd) => sender.send(versionOne(), fd, fd),
    answer: '\x15',
  },
  'two descriptors, one after the other': {
    code: 'FDPASS_ERR_TOO_MANY_FDS',
    send: async (sender, fd) => {
      const message = versionOne();
      await sender.send(message.subarray(0, 9), fd);
      await sender.isRead();
      await sender.send(message.subarray(9), fd);
    },
    answer: '\x15',
  },
  'a descriptor with each byte, noticed at the second': {
    code: 'FDPASS_ERR_TOO_MANY_FDS',
    send: async (sender, fd) => {
      const message = versionZero();
      await sender.send(message.subarray(0, 1), fd);
      await sender.isRead();
      await sender.send(message.subarray(1, 2), fd);
    },
  },
  'a descriptor beside plain SCGI': {
    code: 'FDPASS_ERR_UNEXPECTED_FD',
    send: (sender, fd) => sender.send(encodeMessage({ dialect: 'plain', headers: GET }), fd),
  },
  'bytes behind a full handover': {
    code: 'FDPASS_ERR_TRAILING_BYTES',
    send: (sender, fd) => sender.send(Buffer.concat([versionOne(), Buffer.from('x')]), fd),
    answer: '\x15',
  },
  'nothing at all': {
    code: 'FDPASS_ERR_EMPTY',
    send: async (sender) => sender.end(),
  },
  'half a message': {
    code: 'FDPASS_ERR_TRUNCATED',
    send: async (sender, fd) => {
      await sender.send(versionOne().subarray(0, -1), fd);
      sender.end();
    },
  },
  'half of the early bytes': {
    code: 'FDPASS_ERR_TRUNCATED',
    send: async (sender, fd) => {
      await sender.send(versionOne({ earlyBytes: Buffer.from('0123456789') }).subarray(0, -4), fd);
      sender.end();
    },
  },
  'nothing, for too long': {
    code: 'FDPASS_ERR_TIMEOUT',
    send: async () => {},
    options: { messageTimeoutMs: 30 },
  },
  'half a message, and then nothing for too long': {
    code: 'FDPASS_ERR_TIMEOUT',
    send: (sender, fd) => sender.send(versionOne().subarray(0, 40), fd),
    options: { messageTimeoutMs: 30 },
  },
  'a message that drips in past the deadline': {
    code: 'FDPASS_ERR_TIMEOUT',
    send: async (sender, fd) => {
      const message = versionOne();
      await sender.send(message.subarray(0, 1), fd);
      for (let at = 1; at < 40; at++) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        try {
          native.write(sender.fd, message.subarray(at, at + 1));
        } catch {
          return;
        }
      }
    },
    options: { messageTimeoutMs: 60 },
  },
  'a sender that is not on the list': {
    code: 'FDPASS_ERR_PEER',
    send: (sender, fd) => sender.send(versionOne(), fd),
    options: { allowedPeers: { uids: [65_534], gids: [65_534] } },
  },
  'a receiver that fails by itself': {
    code: 'FDPASS_ERR_RECEIVE',
    send: (sender, fd) => sender.send(versionOne(), fd),
    options: {
      refuse() {
        throw new Error('out of order');
      },
    },
    answer: '\x15',
  },
};

for (const [title, { code, send, answer = '', options = {} }] of Object.entries(cases)) {
  test(`${title}: ${code}`, async (t) => {
    const open = await openReceiver(t, { messageTimeoutMs: 30_000, ...options });
    const fd = await acceptedFd(t);
    for (const round of [1, 2]) {
      const sender = open.connect();
      await send(sender, fd);
      t.is((await open.nextError()).code, code);
      t.is(await sender.answer(), answer);
      t.is(open.waiting, 0);
      t.deepEqual(open.receiver.stats().errors, { [code]: round });
    }
    t.is(open.receiver.stats().pending, 0);
    if (options.limits !== undefined || options.allowedPeers !== undefined || options.refuse !== undefined)
      return;
    await open.serves(fd, versionOne());
  });
}

test('every error that a bad sender can cause is caused above or below', (t) => {
  const elsewhere = [
    'FDPASS_ERR_FD_TYPE',
    'FDPASS_ERR_ACK',
    'FDPASS_ERR_CONTROL_TRUNCATED',
    'FDPASS_ERR_CHANNEL',
  ];
  const ofTheSender = [
    'FDPASS_ERR_REFUSED',
    'FDPASS_ERR_BACKEND_DOWN',
    'FDPASS_ERR_BACKLOG_FULL',
    'FDPASS_ERR_ACK_TIMEOUT',
  ];
  const caused = [...Object.values(cases).map(({ code }) => code), ...elsewhere, ...ofTheSender];
  const known = Object.entries(ERRORS).filter(([, { scope }]) => scope === 'connection');
  t.deepEqual([...new Set(caused)].sort(), known.map(([code]) => code).sort());
});
