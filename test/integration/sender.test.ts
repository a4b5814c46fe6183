// The sender against backends of every sort: what becomes of the client is always the outcome, never a guess.
import { once } from 'node:events';
import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';
import { closeHandover, Receiver, type RefusalCode, Sender, type SendOutcome } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { acceptedFd, ClientSource } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { openReceiver } from '../helpers/open-receiver.js';
import { until } from '../helpers/until.js';
import { GET } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

let names = 0;
const abstractName = (): string => `\0fdpass-sender-${process.pid}-${names++}`;

/** A listening socket that answers only what the test says. */
class Silent {
  readonly path = abstractName();
  readonly fd: number;
  readonly #accepted: number[] = [];

  constructor(t: ExecutionContext, backlog = 16) {
    this.fd = native.bindUnix(this.path, 0o600);
    native.listen(this.fd, backlog);
    t.teardown(() => this.close());
  }

  async accept(): Promise<number> {
    let fd = -1;
    await until('the sender connects', () => {
      fd = native.accept(this.fd);
      return fd !== -1;
    });
    this.#accepted.push(fd);
    return fd;
  }

  close(): void {
    for (const fd of [this.fd, ...this.#accepted]) native.closeFd(fd);
  }
}

const read = (fd: number): number => native.read(fd, Buffer.alloc(65_536));

test('headers that ask for a channel: taken all the same, and the connection is closed', async (t) => {
  const open = await openReceiver(t);
  const headers = [['FD_PASS_KEEPALIVE', '1'] as const, ...GET];
  const outcome = await new Sender({ path: open.path }).send({ headers, fd: await acceptedFd(t) });
  t.deepEqual(outcome, { taken: true, connection: undefined });
  closeHandover(await open.next());
  await until('it is closed', () => open.receiver.stats().channels === 0);
  t.deepEqual(open.receiver.stats().errors, {});
});

test('full: taken, and no connection is left', async (t) => {
  const open = await openReceiver(t);
  const fd = await acceptedFd(t);
  const outcome = await new Sender({ path: open.path }).send({
    headers: GET,
    earlyBytes: Buffer.from('early'),
    fd,
  });
  t.deepEqual(outcome, { taken: true, connection: undefined });
  const handover = await open.next();
  t.is(handover.version, 1);
  t.is(handover.earlyBytes.toString(), 'early');
  t.not(handover.passedFd.fd, fd);
  closeHandover(handover);
});

test('partial: the connection that comes back is the one the handover reads', async (t) => {
  const open = await openReceiver(t);
  const fd = await acceptedFd(t);
  const outcome = await new Sender({ path: open.path }).send({ headers: [['KTLS_RX', '0'], ...GET], fd });
  const handover = await open.next<'partial'>();
  if (!outcome.taken || outcome.connection === undefined) return t.fail();
  native.write(outcome.connection.fd, Buffer.from('decrypted'));
  const bytes = Buffer.alloc(16);
  t.is(native.read(handover.connection.fd, bytes), 9);
  outcome.connection.close();
  t.is(native.read(handover.connection.fd, bytes), 0);
  closeHandover(handover);
});

test('one sender, many clients at once, over a path and over an abstract name', async (t) => {
  for (const path of [undefined, abstractName()]) {
    const open = await openReceiver(t, {}, path === undefined ? {} : { path });
    const sender = new Sender({ path: path ?? open.path });
    const fd = await acceptedFd(t);
    const outcomes = Promise.all(
      Array.from({ length: 300 }, (_, nth) =>
        sender.send({ headers: [...GET, ['NUMBER', String(nth)]], fd }),
      ),
    );
    for (let nth = 0; nth < 300; nth++) closeHandover(await open.next());
    t.true((await outcomes).every(({ taken }) => taken));
  }
});

test('a message that fills the connection waits until it is read', async (t) => {
  const silent = new Silent(t);
  const fd = await acceptedFd(t);
  const long = Array.from({ length: 15 }, (_, nth): [string, string] => [`LONG_${nth}`, 'x'.repeat(60_000)]);
  const outcome = new Sender({ path: silent.path }).send({ headers: [...GET, ...long], fd });
  const connection = await silent.accept();
  let length = 0;
  await until('all of it came', () => {
    for (let count = read(connection); count > 0; count = read(connection)) length += count;
    return length > 900_000;
  });
  native.write(connection, Buffer.of(6));
  t.true((await outcome).taken);
});

/** A client, and a check that nothing of it was touched. */
async function untouchedClient(t: ExecutionContext): Promise<{ fd: number; check: () => Promise<void> }> {
  const source = new ClientSource();
  const { fd, client } = await source.next();
  source.close();
  const check = async (): Promise<void> => {
    await client.send('to here');
    await until('its bytes can be read', () => native.readQueueBytes(fd) === 7);
    native.write(fd, Buffer.from('from here'));
    await client.readUntil('from here');
    t.is(client.received, 'from here');
    native.closeFd(fd);
    await client.close();
  };
  return { fd, check };
}

function assertRefused(t: ExecutionContext, outcome: SendOutcome, code: RefusalCode, cause?: string): void {
  if (outcome.taken) return t.fail('it was taken');
  t.is(outcome.code, code);
  t.is(outcome.error.code, code);
  t.is((outcome.error.cause as NodeJS.ErrnoException | undefined)?.code, cause);
}

const bound = (t: ExecutionContext): string => {
  const path = abstractName();
  const fd = native.bindUnix(path, 0o600);
  t.teardown(() => native.closeFd(fd));
  return path;
};

const unreachable: [title: string, path: (t: ExecutionContext) => string, cause: string][] = [
  ['nothing is at the path', () => '/nonexistent/socket', 'ENOENT'],
  ['nobody listens', bound, 'ECONNREFUSED'],
  ['the path is no socket', () => '/dev/null', 'ECONNREFUSED'],
  ['the path is too long', () => `/${'x'.repeat(200)}`, 'ENAMETOOLONG'],
];

for (const [title, path, cause] of unreachable) {
  test(`${title}: FDPASS_ERR_BACKEND_DOWN, and the client is as before`, async (t) => {
    const { fd, check } = await untouchedClient(t);
    const outcome = await new Sender({ path: path(t) }).send({ headers: GET, fd });
    assertRefused(t, outcome, 'FDPASS_ERR_BACKEND_DOWN', cause);
    await check();
  });
}

const answers: [title: string, act: (connection: number) => void][] = [
  ['the backend says 0x15', (connection) => native.write(connection, Buffer.of(0x15))],
  ['the backend says something else', (connection) => native.write(connection, Buffer.from('HTTP/1.1 200'))],
  ['the backend closes without a word', (connection) => native.shutdown(connection, 2)],
];

for (const [title, act] of answers) {
  test(`${title}: FDPASS_ERR_REFUSED, and the client is as before`, async (t) => {
    const silent = new Silent(t);
    const { fd, check } = await untouchedClient(t);
    const sending = new Sender({ path: silent.path }).send({
      headers: GET,
      earlyBytes: Buffer.from('early'),
      fd,
    });
    act(await silent.accept());
    assertRefused(t, await sending, 'FDPASS_ERR_REFUSED');
    await check();
  });
}

test('a backend that refuses while the message is still being written', async (t) => {
  const silent = new Silent(t);
  const fd = await acceptedFd(t);
  const long = Array.from({ length: 15 }, (_, nth): [string, string] => [`LONG_${nth}`, 'x'.repeat(60_000)]);
  const sending = new Sender({ path: silent.path }).send({ headers: [...GET, ...long], fd });
  const connection = await silent.accept();
  native.write(connection, Buffer.of(0x15));
  native.shutdown(connection, 2);
  assertRefused(t, await sending, 'FDPASS_ERR_REFUSED');
});

for (const backlog of [0, 1]) {
  test(`a backlog of ${backlog} that nobody accepts from: FDPASS_ERR_BACKLOG_FULL at once`, async (t) => {
    const silent = new Silent(t, backlog);
    const { fd, check } = await untouchedClient(t);
    const sender = new Sender({ path: silent.path, timeoutMs: 200 });
    const waiting = Array.from({ length: backlog + 1 }, () => sender.send({ headers: GET, fd }));
    let haveWaited = false;
    const all = Promise.all(waiting).finally(() => {
      haveWaited = true;
    });
    assertRefused(t, await sender.send({ headers: GET, fd }), 'FDPASS_ERR_BACKLOG_FULL', 'EAGAIN');
    t.false(haveWaited);
    for (const outcome of await all) assertRefused(t, outcome, 'FDPASS_ERR_ACK_TIMEOUT');
    await check();
  });
}

test('no acknowledgement in time: FDPASS_ERR_ACK_TIMEOUT, and one that comes later cannot be sent', async (t) => {
  const silent = new Silent(t);
  const { fd, check } = await untouchedClient(t);
  const began = performance.now();
  const sending = new Sender({ path: silent.path, timeoutMs: 60 }).send({ headers: GET, fd });
  const connection = await silent.accept();
  assertRefused(t, await sending, 'FDPASS_ERR_ACK_TIMEOUT');
  t.true(performance.now() - began >= 55);
  t.throws(() => native.write(connection, Buffer.of(6)), { code: 'EPIPE' });
  await check();
});

test('an acknowledgement that came just before the time was up counts', async (t) => {
  const silent = new Silent(t);
  const fd = await acceptedFd(t);
  const sending = new Sender({ path: silent.path, timeoutMs: 40 }).send({ headers: GET, fd });
  const connection = await silent.accept();
  native.write(connection, Buffer.of(6));
  // The loop is busy until past the time: its timers run before it looks at descriptors.
  for (const end = performance.now() + 60; performance.now() < end; );
  t.deepEqual(await sending, { taken: true, connection: undefined });
});

test('a receiver that comes to the message after its sender gave up serves nobody', async (t) => {
  const silent = new Silent(t);
  const { fd, check } = await untouchedClient(t);
  for (const headers of [GET, [['KTLS_RX', '0'] as const, ...GET]]) {
    assertRefused(
      t,
      await new Sender({ path: silent.path, timeoutMs: 20 }).send({ headers, fd }),
      'FDPASS_ERR_ACK_TIMEOUT',
    );
  }
  const receiver = new Receiver();
  const errors: string[] = [];
  receiver.on('handover', () => t.fail('it was handed over'));
  receiver.on('handoverError', ({ code }) => errors.push(code));
  receiver.listen({ fd: native.dupFd(silent.fd) });
  await until('both messages are looked at', () => errors.length === 2);
  t.deepEqual(errors, ['FDPASS_ERR_ACK', 'FDPASS_ERR_ACK']);
  await check();
  const closed = once(receiver, 'close');
  receiver.destroy();
  await closed;
});

test('time-outs that race with acknowledgements: nobody is served twice, nobody by none', async (t) => {
  const path = abstractName();
  const worker = new Worker(new URL('../helpers/counting-receiver.js', import.meta.url), {
    workerData: path,
  });
  // From now on: a worker's last message and its exit may come in one turn.
  const exited = once(worker, 'exit');
  await once(worker, 'message');
  const fd = await acceptedFd(t);
  const count = 1000;
  const taken: string[] = [];
  const refused: string[] = [];
  for (let nth = 0; nth < count; nth++) {
    // The receiver takes its time, about as long as the sender waits.
    const sender = new Sender({ path, timeoutMs: 2 });
    const { taken: isTaken } = await sender.send({ headers: [...GET, ['NUMBER', String(nth)]], fd });
    (isTaken ? taken : refused).push(String(nth));
  }
  worker.postMessage('report');
  const [{ handovers, errors }] = (await once(worker, 'message')) as [
    { handovers: string[]; errors: Record<string, number> },
  ];
  await exited;
  t.deepEqual(handovers, taken);
  t.is(taken.length + refused.length, count);
  t.deepEqual(Object.keys(errors), refused.length === 0 ? [] : ['FDPASS_ERR_ACK']);
  t.is(errors.FDPASS_ERR_ACK ?? 0, refused.length);
  t.log(`${taken.length} taken, ${refused.length} timed out`);
});

test('destroy() ends what is under way, except what was acknowledged already', async (t) => {
  const silent = new Silent(t);
  const { fd, check } = await untouchedClient(t);
  const sender = new Sender({ path: silent.path, timeoutMs: 60_000 });
  const first = sender.send({ headers: GET, fd });
  const firstConnection = await silent.accept();
  const second = sender.send({ headers: GET, fd });
  const secondConnection = await silent.accept();
  native.write(secondConnection, Buffer.of(6));
  sender.destroy();
  sender.destroy();
  assertRefused(t, await first, 'FDPASS_ERR_REFUSED');
  t.true((await second).taken);
  t.throws(() => native.write(firstConnection, Buffer.of(6)), { code: 'EPIPE' });
  await check();
});

test('a signal ends one send, except if it was acknowledged already; after it nothing is sent', async (t) => {
  const silent = new Silent(t);
  const { fd, check } = await untouchedClient(t);
  const sender = new Sender({ path: silent.path, timeoutMs: 60_000 });
  const [first, second] = [new AbortController(), new AbortController()];
  const refused = sender.send({ headers: GET, fd }, first.signal);
  const refusedConnection = await silent.accept();
  const taken = sender.send({ headers: GET, fd }, second.signal);
  const takenConnection = await silent.accept();
  native.write(takenConnection, Buffer.of(6));
  first.abort();
  second.abort();
  assertRefused(t, await refused, 'FDPASS_ERR_REFUSED');
  t.true((await taken).taken);
  t.throws(() => native.write(refusedConnection, Buffer.of(6)), { code: 'EPIPE' });
  assertRefused(t, await sender.send({ headers: GET, fd }, first.signal), 'FDPASS_ERR_REFUSED');
  t.is(native.accept(silent.fd), -1);
  await check();
});

test('headers that cannot be encoded are the caller’s mistake: nothing is sent', async (t) => {
  const silent = new Silent(t);
  const fd = await acceptedFd(t);
  const sender = new Sender({ path: silent.path });
  await t.throwsAsync(sender.send({ headers: [['SCGI', '1']], fd }), { code: 'SCGI_ERR_ENCODE_RESERVED' });
  await t.throwsAsync(sender.send({ headers: [['FD_PASS_VERSION', '1']], fd }), {
    code: 'SCGI_ERR_ENCODE_DUPLICATE',
  });
  await t.throwsAsync(sender.send({ headers: [['A', 'b\0c']], fd }), { code: 'SCGI_ERR_ENCODE_VALUE' });
  t.is(native.accept(silent.fd), -1);
});

for (const timeoutMs of [0, -1, 1.5, Number.NaN, 2 ** 31, '5', null]) {
  test(`a sender cannot wait for ${inspect(timeoutMs)} milliseconds`, (t) => {
    t.throws(() => new Sender({ path: '/x', timeoutMs } as never), {
      code: 'SCGI_ERR_LIMIT_OPTION',
      message: 'The option timeoutMs must be an integer from 1 to 2147483647',
    });
  });
}
