// request.socket: what handlers, frameworks and ws expect of a net.Socket, on every kind of connection.
import type { Server } from 'node:http';
import { Socket } from 'node:net';
import { HandoverServer } from '@fdpass/backend-runtime';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { exchange } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { connectionSubjects, isAddress, subjects } from './subjects.js';

guardDescriptors(test);

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const native = loadNative();
const { SOL_SOCKET, SO_KEEPALIVE, IPPROTO_TCP, TCP_NODELAY } = native.constants;

/** The descriptor a client is written to. */
function descriptorOf(server: Server, socket: Socket): number {
  if (server instanceof HandoverServer) return server.connectionOf(socket)?.writeFd ?? -1;
  return (socket as Socket & { _handle: { fd: number } })._handle.fd;
}

for (const subject of subjects) {
  test(`${subject.name}: the socket is a net.Socket that knows both of its ends`, async (t) => {
    let seen: Record<string, unknown> = {};
    const { server, port, connect } = await subject.start(t, ({ socket }, response) => {
      const { remoteAddress, remotePort, remoteFamily, localAddress, localPort, localFamily } = socket;
      seen = { remoteAddress, remotePort, remoteFamily, localAddress, localPort, localFamily };
      t.true(socket instanceof Socket);
      t.true((socket as Socket & { server?: unknown }).server === server);
      t.deepEqual(socket.address(), { address: '127.0.0.1', family: 'IPv4', port });
      response.end();
    });
    const client = await connect();
    await exchange(client, GET);
    t.deepEqual(seen, {
      remoteAddress: '127.0.0.1',
      remotePort: client.socket.localPort,
      remoteFamily: 'IPv4',
      localAddress: '127.0.0.1',
      localPort: port,
      localFamily: 'IPv4',
    });
    t.true(isAddress(seen.remoteAddress));
  });

  test(`${subject.name}: the socket is open while it serves and destroyed afterwards`, async (t) => {
    const { connect } = await subject.start(t, ({ socket }, response) => {
      t.false(socket.destroyed);
      t.false(socket.connecting);
      t.false(socket.pending);
      t.is(socket.readyState, 'open');
      t.true(socket.readable && socket.writable);
      t.true(socket.allowHalfOpen);
      socket.on('close', (hadError) => events.push(`close ${hadError}`));
      response.end('bye');
      sockets.push(socket);
    });
    const sockets: Socket[] = [];
    const events: string[] = [];
    const client = await connect();
    await client.send(GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    await client.readToEnd();
    const [socket] = sockets as [Socket];
    await until('it is closed', () => events.length > 0);
    t.deepEqual(events, ['close false']);
    t.true(socket.destroyed);
    t.true(socket.pending);
    t.is(socket.readyState, 'closed');
  });

  test(`${subject.name}: an error with which the socket is destroyed comes with 'close'`, async (t) => {
    const events: string[] = [];
    const { connect } = await subject.start(t, ({ socket }) => {
      socket.on('error', (error) => events.push(error.message));
      socket.on('close', (hadError) => events.push(`close ${hadError}`));
      socket.destroy(new Error('enough'));
    });
    const client = await connect();
    await client.send(GET);
    await client.readToEnd();
    await until('it is closed', () => events.length > 1);
    t.deepEqual(events, ['enough', 'close true']);
  });

  test(`${subject.name}: bytesRead and bytesWritten grow, and stay after the close`, async (t) => {
    const counts: [number, number][] = [];
    let socket: Socket | undefined;
    const { connect } = await subject.start(t, (request, response) => {
      ({ socket } = request);
      const count = (): unknown => counts.push([request.socket.bytesRead, request.socket.bytesWritten]);
      count();
      request.resume().on('end', () => {
        count();
        response.write('x'.repeat(100_000), () => {
          count();
          response.end();
        });
      });
    });
    const client = await connect();
    await client.send(
      'POST / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n',
    );
    await client.send('x'.repeat(200_000));
    await client.readToEnd();
    const [atFirst, read, written] = counts as [number, number][];
    t.true((read?.[0] ?? 0) - (atFirst?.[0] ?? 0) >= 100_000);
    t.true((written?.[1] ?? 0) - (read?.[1] ?? 0) >= 100_000);
    await until('it is closed', () => socket?.destroyed === true);
    t.true((socket?.bytesRead ?? 0) >= (written?.[0] ?? Infinity));
    t.true((socket?.bytesWritten ?? 0) >= (written?.[1] ?? Infinity));
  });

  test(`${subject.name}: what sets options returns the socket`, async (t) => {
    const { connect } = await subject.start(t, ({ socket }, response) => {
      t.true(socket.setNoDelay(true) === socket);
      t.true(socket.setKeepAlive(true, 1000) === socket);
      t.true(socket.setTimeout(1000) === socket);
      t.true(socket.ref() === socket);
      t.true(socket.unref() === socket);
      socket.ref();
      response.end('done');
    });
    t.is((await exchange(await connect(), GET)).body, 'done');
  });

  test(`${subject.name}: highWaterMark is the sockets', 16 KiB or 64 KiB by default`, async (t) => {
    const { connect } = await subject.start(
      t,
      ({ socket }, response) => {
        response.end(`${socket.readableHighWaterMark} ${socket.writableHighWaterMark}`);
      },
      { highWaterMark: 12_345 },
    );
    t.is((await exchange(await connect(), GET)).body, '12345 12345');
  });
}

for (const subject of connectionSubjects) {
  for (const [what, options, expected] of [
    ['by default', {}, { noDelay: true, keepAlive: false }],
    ['with noDelay: false', { noDelay: false }, { noDelay: false, keepAlive: false }],
    ['with keepAlive: true', { keepAlive: true }, { noDelay: true, keepAlive: true }],
  ] as const) {
    test(`${subject.name}: TCP ${what}, and as the socket is told later`, async (t) => {
      const { server, connect } = await subject.start(
        t,
        ({ socket }, response) => {
          // A connection that is answered without a socket so far has what a socket is told from the moment it has one.
          socket.ref();
          const fd = descriptorOf(server, socket);
          const look = () => ({
            noDelay: native.getOption(fd, IPPROTO_TCP, TCP_NODELAY) !== 0,
            keepAlive: native.getOption(fd, SOL_SOCKET, SO_KEEPALIVE) !== 0,
          });
          t.deepEqual(look(), expected);
          socket.setNoDelay(false).setKeepAlive(true);
          t.deepEqual(look(), { noDelay: false, keepAlive: true });
          socket.setNoDelay().setKeepAlive(false);
          t.deepEqual(look(), { noDelay: true, keepAlive: false });
          response.end('seen');
        },
        options,
      );
      t.is((await exchange(await connect(), GET)).body, 'seen');
    });
  }

  test(`${subject.name}: resetAndDestroy resets the client`, async (t) => {
    const { connect } = await subject.start(t, ({ socket }) => socket.resetAndDestroy());
    const client = await connect();
    const closed = new Promise((resolve) => client.socket.once('close', resolve));
    await client.send(GET);
    await closed;
    t.is(client.error, 'ECONNRESET');
  });

  test(`${subject.name}: encrypted is not there without TLS`, async (t) => {
    const { connect } = await subject.start(t, ({ socket }, response) => {
      const { encrypted } = socket as Socket & { encrypted?: true };
      response.end(JSON.stringify([encrypted === true, 'encrypted' in socket]));
    });
    t.is((await exchange(await connect(), GET)).body, JSON.stringify([false, false]));
  });
}
