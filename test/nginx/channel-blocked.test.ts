// A backend that keeps its connection and then does not read: what a channel does not take goes another way, and what it has begun to
// send it finishes.
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { KEPT } from '../helpers/channel-backend.js';
import { type ChannelNginx, channelNginx } from '../helpers/channel-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';
import { listeningSocket, REFUSED } from '../helpers/wire-backend.js';

const native = loadNative();

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

/** One connection, which is read only when the test says so; descriptors that come on it are left to the kernel, which closes them. */
class StillConnection {
  readonly fd: number;
  /** Those that were read to their ends, as latin1. */
  readonly messages: string[] = [];
  #rest = '';

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Reads what is there. */
  read(): void {
    const bytes = Buffer.alloc(65_536);
    for (let count = native.read(this.fd, bytes); count > 0; count = native.read(this.fd, bytes)) {
      this.#rest += bytes.toString('latin1', 0, count);
    }
    for (;;) {
      const [digits = '', length = ''] = /^(\d+):/.exec(this.#rest) ?? [];
      const end = digits.length + Number(length) + 1;
      if (digits === '' || this.#rest.length < end) return;
      this.messages.push(this.#rest.slice(0, end));
      this.#rest = this.#rest.slice(end);
    }
  }

  /** Reads until one more message is whole. */
  async next(): Promise<string> {
    const count = this.messages.length + 1;
    await until('a message comes', () => {
      this.read();
      return this.messages.length >= count;
    });
    return this.messages.at(-1) ?? '';
  }

  answer(...bytes: number[]): void {
    native.write(this.fd, Buffer.from(bytes));
  }
}

interface Still extends ChannelNginx {
  /** A channel, between two messages. */
  readonly channel: StillConnection;
  /** The other connections so far. */
  others(): readonly StillConnection[];
  /** Resolves with the first of them. */
  other(): Promise<StillConnection>;
}

const FIELD = `${'x'.repeat(60_000)}\r\n`;
/** More than a UNIX socket takes at once. */
const LARGE = `A: ${FIELD}B: ${FIELD}C: ${FIELD}D: ${FIELD}`;

async function stillBackend(t: ExecutionContext, directives = ''): Promise<Still> {
  const still = (socket: string): string => join(dirname(socket), 'still.sock');
  const front = await channelNginx(t, {
    directives: `fd_pass_keepalive 1; large_client_header_buffers 16 64k; ${directives}`,
    http: (_path, socket) =>
      `upstream app { server unix:${still(socket)} max_fails=0; server unix:${socket} backup; }`,
    locations: () => 'location / { fd_pass app; }',
    nginx: { connections: 1024 },
    server: { maxHeaderSize: 262_144 },
  });
  const listening = listeningSocket(still(front.socket), 4096);
  const connections: StillConnection[] = [];
  t.teardown(() => {
    for (const { fd } of connections) native.closeFd(fd);
    native.closeFd(listening);
  });
  const accepted = (): readonly StillConnection[] => {
    for (let fd = native.accept(listening); fd !== -1; fd = native.accept(listening)) {
      connections.push(new StillConnection(fd));
    }
    return connections;
  };
  const connection = async (n: number): Promise<StillConnection> => {
    await until('nginx connects', () => accepted().length > n);
    return connections[n] as StillConnection;
  };
  const first = front.ask('/first');
  const channel = await connection(0);
  await channel.next();
  channel.answer(KEPT);
  // Nobody has it any more.
  t.is(await first, '');
  return { ...front, channel, others: () => accepted().slice(1), other: () => connection(1) };
}

/** And it goes on. */
async function goesOn(t: ExecutionContext, { ask, channel }: Still): Promise<void> {
  const again = ask('/again');
  t.regex(await channel.next(), /\0REQUEST_URI\0\/again\0/);
  channel.answer(REFUSED);
  t.is(await again, '200 next /again');
}

withNginx(
  'a message that is more than the channel takes is finished when the backend reads on',
  async (t) => {
    const front = await stillBackend(t);
    const { ask, channel, other } = front;
    const large = ask('/large', LARGE.repeat(3));
    await until('a part of it is there', () => native.readQueueBytes(channel.fd) > 65_536);
    // Meanwhile others go past it.
    const small = ask('/small');
    const own = await other();
    t.regex(await own.next(), /\0REQUEST_URI\0\/small\0/);
    own.answer(REFUSED);
    t.is(await small, '200 next /small');
    const message = await channel.next();
    t.regex(message, /\0REQUEST_URI\0\/large\0/);
    t.is(message.split('x'.repeat(60_000)).length, 13);
    channel.answer(KEPT);
    t.is(await large, '');
    await goesOn(t, front);
  },
);

for (const [what, bytes] of [
  ['refuses a message that it has a part of', [REFUSED]],
  ['takes a message that it has a part of', [KEPT]],
  ['closes', []],
] as const) {
  withNginx(`a backend that ${what}: the channel ends, and the client is not lost`, async (t) => {
    const { ask, channel, other } = await stillBackend(t);
    const large = ask('/large', LARGE);
    await until('a part of it is there', () => native.readQueueBytes(channel.fd) > 65_536);
    if (bytes.length > 0) channel.answer(...bytes);
    else native.shutdown(channel.fd, 2);
    if (bytes.length === 0) {
      const own = await other();
      t.regex(await own.next(), /\0REQUEST_URI\0\/large\0/);
      own.answer(REFUSED);
    }
    t.is(await large, '200 next /large');
    await until('nginx has closed it', () => {
      channel.read();
      return native.peek(channel.fd, Buffer.alloc(1)) === 0;
    });
  });
}

withNginx('a channel that is full between two messages is passed by until it is read', async (t) => {
  const CLIENTS = 60;
  const front = await stillBackend(t);
  const { ask, channel, other, others } = front;
  const answers = Array.from({ length: CLIENTS }, (_none, n) => ask(`/${n}`, `A: ${'x'.repeat(8000)}\r\n`));
  const { length } = await (await other()).next();
  const offered = (): number => {
    for (const each of others()) each.read();
    return others().reduce((sum, { messages }) => sum + messages.length, 0);
  };
  // The targets have one digit or two.
  const onChannel = (): number => Math.round(native.readQueueBytes(channel.fd) / length);
  await until('all are offered', () => offered() + onChannel() === CLIENTS);
  channel.read();
  t.is(channel.messages.length - 1 + offered(), CLIENTS);
  t.true(others().length > CLIENTS / 4, `${others().length} past it`);
  channel.answer(...Array(channel.messages.length - 1).fill(REFUSED));
  for (const each of others()) each.answer(REFUSED);
  t.deepEqual(
    await Promise.all(answers),
    Array.from({ length: CLIENTS }, (_none, n) => `200 next /${n}`),
  );
  await goesOn(t, front);
});
