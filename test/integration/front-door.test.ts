// The front door on real sockets: what a backend gets, what stays in the kernel, and how it starts and stops.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { createFrontDoor, type FrontDoor, type FrontDoorOptions } from '#runtime/front-door/index.js';
import { native } from '#runtime/native.js';
import { CollectingBackend } from '../helpers/collecting-backend.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { RawClient } from '../helpers/raw-client.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
test.after.always('the addon holds no descriptor', (t) => {
  t.is(native().registeredFdCount(), 0);
});

interface Fixture {
  backend: CollectingBackend;
  frontDoor: FrontDoor;
  port: number;
}

async function start(t: ExecutionContext, options: Partial<FrontDoorOptions> = {}): Promise<Fixture> {
  const backend = await CollectingBackend.listen();
  const frontDoor = createFrontDoor({ listeners: [{ port: 0, to: `unix:${backend.path}` }], ...options });
  t.teardown(async () => {
    await frontDoor.destroy();
    await backend.close();
  });
  await frontDoor.listen();
  return { backend, frontDoor, port: frontDoor.addresses()[0]?.port ?? 0 };
}

const GET = 'GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n';
const POST = 'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n';

test('passes the client with version 1 of the wire, and the backend answers on its socket', async (t) => {
  const { backend, frontDoor, port } = await start(t);
  const client = await RawClient.connect(port);
  const clientPort = String(client.socket.localPort);
  await client.send(GET);
  const { handover, socket } = await backend.nextSocket();
  t.is(handover.kind, 'full');
  t.is(handover.version, 1);
  t.is(handover.earlyBytes.length, 0);
  t.deepEqual(
    [...handover.headers.entries()],
    [
      ['CONTENT_LENGTH', '0'],
      ['SCGI', '1+fd_pass'],
      ['FD_PASS_VERSION', '1'],
      ['REMOTE_ADDR', '127.0.0.1'],
      ['REMOTE_PORT', clientPort],
      ['REQUEST_METHOD', 'GET'],
      ['REQUEST_URI', '/a?b'],
      ['SERVER_ADDR', '127.0.0.1'],
      ['SERVER_PORT', String(port)],
      ['QUERY_STRING', 'b'],
      ['SERVER_PROTOCOL', 'HTTP/1.1'],
      ['REQUEST_SCHEME', 'http'],
      ['SERVER_NAME', 'h'],
      ['HTTP_HOST', 'h'],
    ],
  );
  socket.end('the answer');
  t.is(await client.readToEnd(), 'the answer');
  socket.destroy();
  await until('it is counted', () => frontDoor.stats().handedOver === 1);
  const { accepted, answered, refused, clientErrors, waiting, handingOver } = frontDoor.stats();
  t.deepEqual(
    { accepted, answered, refused, clientErrors, waiting, handingOver },
    { accepted: 1, answered: {}, refused: {}, clientErrors: {}, waiting: 0, handingOver: 0 },
  );
});

test('leaves body and pipelined requests in the kernel, to the byte', async (t) => {
  const { backend, port } = await start(t);
  const after = `12345${GET}`;
  const client = await RawClient.connect(port);
  await client.send(POST + after);
  const handover = await backend.next();
  const fd = handover.passedFd.take();
  t.is(handover.earlyBytes.length, 0);
  t.is(native().readQueueBytes(fd), after.length);
  const bytes = Buffer.alloc(100);
  t.is(native().read(fd, bytes), after.length);
  t.is(bytes.toString('latin1', 0, after.length), after);
  native().closeFd(fd);
  await client.readToEnd();
});

test('passes a head that comes in two pieces, wherever it is cut', async (t) => {
  const { backend, frontDoor, port } = await start(t);
  const request = `${POST}12345`;
  for (let cut = 1; cut < request.length; cut++) {
    const client = await RawClient.connect(port);
    await client.send(request.slice(0, cut));
    if (cut < POST.length) {
      const { wakeUps } = frontDoor.stats();
      await until(
        'the first piece is seen',
        () => frontDoor.stats().waiting === 1 || frontDoor.stats().wakeUps > wakeUps,
      );
    }
    await client.send(request.slice(cut));
    const { handover, socket } = await backend.nextSocket();
    t.is(handover.headers.get('REQUEST_METHOD'), 'POST');
    let body = '';
    while (body.length < 5) body += ((await once(socket, 'data'))[0] as Buffer).toString('latin1');
    t.is(body, '12345', `cut at ${cut}`);
    socket.destroy();
    await client.close();
  }
});

test('half a head does not spin, and leaves no low-water mark on the socket', async (t) => {
  const { backend, frontDoor, port } = await start(t);
  const client = await RawClient.connect(port);
  await client.send(POST.slice(0, 20));
  await until(
    'the first piece is seen',
    () => frontDoor.stats().wakeUps > 0 || frontDoor.stats().waiting === 1,
  );
  // The measurement: nothing shall happen in this time.
  await delay(300);
  t.true(frontDoor.stats().wakeUps <= 2, `${frontDoor.stats().wakeUps} wake-ups`);
  await client.send(POST.slice(20));
  const handover = await backend.next();
  const { SOL_SOCKET, SO_RCVLOWAT } = native().constants;
  t.is(native().getOption(handover.passedFd.fd, SOL_SOCKET, SO_RCVLOWAT), 1);
  t.true(frontDoor.stats().wakeUps <= 3, `${frontDoor.stats().wakeUps} wake-ups`);
  handover.passedFd.close();
  await client.readToEnd();
});

test('a client that sends byte by byte costs one wake-up per byte at most', async (t) => {
  const { backend, frontDoor, port } = await start(t);
  const client = await RawClient.connect(port);
  for (const byte of POST) {
    await client.send(byte);
    await delay(1);
  }
  const handover = await backend.next();
  t.is(handover.headers.get('HTTP_CONTENT_LENGTH'), '5');
  t.true(frontDoor.stats().wakeUps <= POST.length + 1, `${frontDoor.stats().wakeUps} wake-ups`);
  handover.passedFd.close();
  await client.readToEnd();
});

test('lets go of the socket after the handover: nothing it does later reaches the client', async (t) => {
  const { backend, frontDoor, port } = await start(t);
  const client = await RawClient.connect(port);
  await client.send(GET);
  const { socket } = await backend.nextSocket();
  await until('it is counted', () => frontDoor.stats().handedOver === 1);
  await frontDoor.destroy();
  socket.on('data', (chunk: Buffer) => socket.write(`echo ${chunk}`));
  await client.send('one');
  await client.readUntil('echo one');
  await client.send('two');
  await client.readUntil('echo two');
  t.is(client.error, undefined);
  socket.destroy();
  await client.readToEnd();
});

test('a client that half-closes after its request is handed over', async (t) => {
  const { backend, port } = await start(t);
  const client = await RawClient.connect(port);
  client.socket.end(GET);
  const { socket } = await backend.nextSocket();
  socket.end('answered');
  socket.resume();
  t.is(await client.readToEnd(), 'answered');
  socket.destroy();
});

test('passes HTTP/1.0 as such', async (t) => {
  const { backend, port } = await start(t);
  const client = await RawClient.connect(port);
  await client.send('GET / HTTP/1.0\r\n\r\n');
  const { passedFd, headers } = await backend.next();
  t.is(headers.get('SERVER_PROTOCOL'), 'HTTP/1.0');
  t.is(headers.get('SERVER_NAME'), '127.0.0.1');
  passedFd.close();
  await client.readToEnd();
});

test('hundreds of clients at once all arrive', async (t) => {
  const { backend, frontDoor, port } = await start(t);
  const clients = await Promise.all(
    Array.from({ length: 300 }, async (_, n) => {
      const client = await RawClient.connect(port);
      await client.send(`GET /${n} HTTP/1.1\r\nHost: h\r\n\r\n`);
      return client;
    }),
  );
  const targets = new Set<string | undefined>();
  for (let n = 0; n < clients.length; n++) {
    const { headers, passedFd } = await backend.next();
    targets.add(headers.get('REQUEST_URI'));
    passedFd.close();
  }
  t.is(targets.size, 300);
  await Promise.all(clients.map((client) => client.readToEnd()));
  await until('they are counted', () => frontDoor.stats().handedOver === 300);
});

test('each listener has a backend of its own, and addresses() tells them in order', async (t) => {
  const one = await CollectingBackend.listen();
  const other = await CollectingBackend.listen({}, `\0fdpass-front-door-${process.pid}`);
  const frontDoor = createFrontDoor({
    listeners: [
      { port: 0, to: one.path },
      { host: 'localhost', port: 0, to: `unix:${other.path}` },
    ],
  });
  t.deepEqual(frontDoor.addresses(), []);
  await frontDoor.listen();
  const [first, second] = frontDoor.addresses();
  t.not(first?.port, second?.port);
  for (const [address, backend] of [
    [first, one],
    [second, other],
  ] as const) {
    const client = await RawClient.connect(address?.port ?? 0, address?.address);
    await client.send(GET);
    const { headers, passedFd } = await backend.next();
    t.is(headers.get('SERVER_PORT'), String(address?.port));
    passedFd.close();
    await client.readToEnd();
  }
  await frontDoor.close();
  t.deepEqual(frontDoor.addresses(), []);
  await one.close();
  await other.close();
});

test('tells IPv4 addresses of a dual-stack listener as IPv4, and IPv6 as IPv6', async (t) => {
  const backend = await CollectingBackend.listen();
  const frontDoor = createFrontDoor({ listeners: [{ host: '::', port: 0, to: backend.path }] });
  await frontDoor.listen();
  const { port = 0 } = frontDoor.addresses()[0] ?? {};
  for (const host of ['127.0.0.1', '127.0.0.2', '::1']) {
    const client = await RawClient.connect(port, host);
    await client.send(GET);
    const { headers, passedFd } = await backend.next();
    t.is(headers.get('SERVER_ADDR'), host);
    t.is(headers.get('REMOTE_ADDR'), host === '::1' ? '::1' : '127.0.0.1');
    passedFd.close();
    await client.readToEnd();
  }
  await frontDoor.close();
  await backend.close();
});

test('listens on all addresses or on none, and says which one failed', async (t) => {
  const occupied = createServer().listen(0, '127.0.0.1');
  const free = createServer().listen(0, '127.0.0.1');
  await Promise.all([once(occupied, 'listening'), once(free, 'listening')]);
  const portOf = (server: typeof free): number => (server.address() as { port: number }).port;
  const freePort = portOf(free);
  free.close();
  await once(free, 'close');
  const frontDoor = createFrontDoor({
    listeners: [
      { port: freePort, to: '/nowhere' },
      { port: portOf(occupied), to: '/nowhere' },
    ],
  });
  let listening = false;
  frontDoor.on('listening', () => {
    listening = true;
  });
  const error = await t.throwsAsync(frontDoor.listen(), { code: 'EADDRINUSE' });
  t.like(error, { address: '127.0.0.1', port: portOf(occupied) });
  t.false(listening);
  const again = createServer().listen(freePort, '127.0.0.1');
  await once(again, 'listening');
  again.close();
  occupied.close();
  // It may be tried again once the port is free.
  await Promise.all([once(again, 'close'), once(occupied, 'close')]);
  await frontDoor.listen();
  t.true(listening);
  await frontDoor.close();
});

test('listens once', async (t) => {
  const { frontDoor } = await start(t);
  await t.throwsAsync(frontDoor.listen(), { code: 'BKR_ERR_FRONT_DOOR_STATE' });
  await frontDoor.close();
  await t.throwsAsync(frontDoor.listen(), { code: 'BKR_ERR_FRONT_DOOR_STATE' });
});

test('closed while it starts, it does not listen', async (t) => {
  const frontDoor = createFrontDoor({ listeners: [{ port: 0, to: '/nowhere' }] });
  const listening = frontDoor.listen();
  await frontDoor.close();
  await t.throwsAsync(listening, { code: 'BKR_ERR_FRONT_DOOR_STATE' });
});

test('at maxConnections it leaves further clients in the backlog, and takes them when there is room', async (t) => {
  const { backend, frontDoor, port } = await start(t, { maxConnections: 2 });
  const idle = await Promise.all([RawClient.connect(port), RawClient.connect(port)]);
  await until('both are accepted', () => frontDoor.stats().accepted === 2);
  const patient = await RawClient.connect(port);
  await patient.send(GET);
  await until('accepting pauses', () => frontDoor.stats().connectionPauses === 1);
  await delay(50);
  t.is(frontDoor.stats().accepted, 2);
  await idle[0].close();
  const handover = await backend.next();
  handover.passedFd.close();
  await patient.readToEnd();
  await idle[1].close();
  await until('they are gone', () => frontDoor.stats().gone === 2);
});

test('close() waits for a client that has begun its request', async (t) => {
  const { backend, frontDoor, port } = await start(t);
  const client = await RawClient.connect(port);
  await client.send(GET.slice(0, 10));
  await until('it waits', () => frontDoor.stats().waiting === 1);
  let closed = false;
  const closing = frontDoor.close().then(() => {
    closed = true;
  });
  await t.throwsAsync(RawClient.connect(port), { code: 'ECONNREFUSED' });
  await delay(700);
  t.false(closed);
  await client.send(GET.slice(10));
  const handover = await backend.next();
  await closing;
  t.is(frontDoor.stats().handedOver, 1);
  handover.passedFd.close();
  await client.readToEnd();
});

test('close() takes in what waits in the backlog', async (t) => {
  const { backend, frontDoor, port } = await start(t);
  // The kernel completes the handshake at once; our loop has no chance to accept in between.
  const connecting = RawClient.connect(port);
  await new Promise((resolve) => process.nextTick(resolve));
  const closing = frontDoor.close();
  const client = await connecting;
  await client.send(GET);
  const handover = await backend.next();
  handover.passedFd.close();
  await closing;
  await client.readToEnd();
  t.is(client.error, undefined);
});

test('close() soon lets go of clients that say nothing', async (t) => {
  const { frontDoor, port } = await start(t);
  const client = await RawClient.connect(port);
  await until('it is accepted', () => frontDoor.stats().accepted === 1);
  const began = performance.now();
  await frontDoor.close();
  t.true(performance.now() - began < 3000);
  t.is(await client.readToEnd(), '');
});

test('close() waits no longer than closeTimeoutMs', async (t) => {
  const { frontDoor, port } = await start(t, { closeTimeoutMs: 100 });
  const client = await RawClient.connect(port);
  await client.send('GET ');
  await until('it waits', () => frontDoor.stats().waiting === 1);
  await frontDoor.close();
  await client.readToEnd();
  t.is(client.received, '');
});

test('close() and destroy() are idempotent, and both resolve when all is closed', async (t) => {
  const { frontDoor, port } = await start(t);
  let closeEvents = 0;
  frontDoor.on('close', () => {
    closeEvents++;
  });
  const client = await RawClient.connect(port);
  await client.send('GET ');
  await until('it is accepted', () => frontDoor.stats().waiting === 1);
  const results = [
    frontDoor.close(),
    frontDoor.close(),
    frontDoor.destroy(),
    frontDoor.destroy(),
    frontDoor.close(),
  ];
  await Promise.all(results);
  await frontDoor.destroy();
  t.is(closeEvents, 1);
  t.is(frontDoor.stats().waiting, 0);
  await client.readToEnd();
});

test('a front door that never listened can be closed', async (t) => {
  await t.notThrowsAsync(createFrontDoor({ listeners: [{ port: 0, to: '/nowhere' }] }).close());
});
