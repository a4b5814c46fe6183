// Descriptors no sender should pass: none, too many, or something that is no client. They are closed, and the listener serves
// the next one.
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeMessage } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { acceptedFd, ClientSource } from '../helpers/client-source.js';
import { guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { sendMany } from '../helpers/many-descriptors.js';
import { openReceiver } from '../helpers/open-receiver.js';
import { needs, program } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';
import { GET, versionOne, versionZero } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

/** Descriptors that are no clients. */
const wrongDescriptors: Record<string, (t: ExecutionContext) => Promise<number> | number> = {
  'a regular file': async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'fdpass-file-'));
    writeFileSync(join(folder, 'file'), 'content');
    const fd = openSync(join(folder, 'file'), 'r');
    t.teardown(async () => {
      closeSync(fd);
      await rm(folder, { recursive: true });
    });
    return fd;
  },
  'a directory': (t) => {
    const fd = openSync('/', 'r');
    t.teardown(() => closeSync(fd));
    return fd;
  },
  'a character device': (t) => {
    const fd = openSync('/dev/null', 'r+');
    t.teardown(() => closeSync(fd));
    return fd;
  },
  'a listening TCP socket': (t) => {
    const fd = native.bindTcp('127.0.0.1', 0);
    native.listen(fd, 1);
    t.teardown(() => native.closeFd(fd));
    return fd;
  },
  'a bound TCP socket': (t) => {
    const fd = native.bindTcp('127.0.0.1', 0);
    t.teardown(() => native.closeFd(fd));
    return fd;
  },
  'a datagram socket': async (t) => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    socket.connect(9, '127.0.0.1');
    await once(socket, 'connect');
    t.teardown(async () => {
      const closed = once(socket, 'close');
      socket.close();
      await closed;
    });
    return udpDescriptor(socket.address().port);
  },
  'the receiver’s own kind of socket, listening': (t) => {
    const fd = native.bindUnix(`\0fdpass-test-${process.pid}-listening`, 0o600);
    native.listen(fd, 1);
    t.teardown(() => native.closeFd(fd));
    return fd;
  },
  'a TCP socket whose client has reset it': async (t) => {
    const source = new ClientSource();
    const { fd, client: peer } = await source.next();
    source.close();
    peer.socket.resetAndDestroy();
    await until('the reset has come', () => (native.inspectSocket(fd) & (1 << 13)) === 0);
    t.teardown(() => native.closeFd(fd));
    return fd;
  },
};

/** Node.js does not tell: the kernel's table has the inode of the socket with that port. */
function udpDescriptor(port: number): number {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const line = readFileSync('/proc/net/udp', 'latin1')
    .split('\n')
    .find((each) => each.includes(local));
  const inode = line?.trim().split(/\s+/)[9];
  return [...openDescriptors()].find(([, target]) => target === `socket:[${inode}]`)?.[0] ?? -1;
}

for (const [title, make] of Object.entries(wrongDescriptors)) {
  test(`${title} as descriptor: refused, and closed`, async (t) => {
    const open = await openReceiver(t);
    const fd = await make(t);
    for (const [message, answer] of [
      [versionOne(), '\x15'],
      [versionZero(), ''],
      [encodeMessage({ headers: [['KTLS_RX', '0'], ...GET] }), ''],
    ] as const) {
      const sender = open.connect();
      await sender.send(message, fd);
      t.is((await open.nextError()).code, 'FDPASS_ERR_FD_TYPE');
      t.is(await sender.answer(), answer);
    }
    t.deepEqual(open.receiver.stats().errors, { FDPASS_ERR_FD_TYPE: 3 });
    await open.serves(await acceptedFd(t), versionOne());
  });
}

test('a pipe as descriptor, either end', async (t) => {
  const open = await openReceiver(t);
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-fifo-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const fifo = join(folder, 'fifo');
  await once(spawn('mkfifo', [fifo]), 'close');
  const both = openSync(fifo, 'r+');
  const reading = openSync(fifo, 'r');
  t.teardown(() => {
    closeSync(both);
    closeSync(reading);
  });
  for (const fd of [both, reading]) {
    const sender = open.connect();
    await sender.send(versionOne(), fd);
    const error = await open.nextError();
    t.is(error.code, 'FDPASS_ERR_FD_TYPE');
    t.regex(error.message, /it is no socket/);
    t.is(await sender.answer(), '\x15');
  }
});

const withPython = needs(test, program('python3'));

for (const [count, code] of [
  [3, 'FDPASS_ERR_TOO_MANY_FDS'],
  [5, 'FDPASS_ERR_CONTROL_TRUNCATED'],
  [250, 'FDPASS_ERR_CONTROL_TRUNCATED'],
] as const) {
  withPython(`${count} descriptors in one message: ${code}`, async (t) => {
    const open = await openReceiver(t);
    const answer = sendMany(open.path, versionOne(), count);
    t.is((await open.nextError()).code, code);
    // Cut ancillary data is noticed before the message is looked at.
    t.is(await answer, '');
    await open.serves(await acceptedFd(t), versionOne());
  });
}
