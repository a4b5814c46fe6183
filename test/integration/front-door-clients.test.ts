// What the front door answers by itself, to whom it says nothing, and that clients which misbehave cost little.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { createFrontDoor, type FrontDoor, type FrontDoorOptions } from '#runtime/front-door/index.js';
import { CollectingBackend } from '../helpers/collecting-backend.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs, program } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

interface Fixture {
  backend: CollectingBackend;
  frontDoor: FrontDoor;
  port: number;
  clientErrors: string[];
}

async function start(t: ExecutionContext, options: Partial<FrontDoorOptions> = {}): Promise<Fixture> {
  const backend = await CollectingBackend.listen();
  const frontDoor = createFrontDoor({ listeners: [{ port: 0, to: backend.path }], ...options });
  const clientErrors: string[] = [];
  frontDoor.on('clientError', (error, client) => {
    clientErrors.push(error.code);
    t.is(client?.address, '127.0.0.1');
  });
  t.teardown(async () => {
    await frontDoor.destroy();
    await backend.close();
  });
  await frontDoor.listen();
  return { backend, frontDoor, port: frontDoor.addresses()[0]?.port ?? 0, clientErrors };
}

const ANSWERS: [name: string, status: number, code: string, bytes: string][] = [
  ['a malformed head', 400, 'BKR_ERR_FRONT_DOOR_BAD_REQUEST', 'GET / HTTP/1.1\r\n\r\n'],
  ['half a malformed head', 400, 'BKR_ERR_FRONT_DOOR_BAD_REQUEST', 'NOT HTTP\r\n'],
  ['a TLS ClientHello', 400, 'BKR_ERR_FRONT_DOOR_TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['a request line without end', 414, 'BKR_ERR_FRONT_DOOR_URI_TOO_LONG', `GET /${'a'.repeat(40_000)}`],
  [
    'fields without end',
    431,
    'BKR_ERR_FRONT_DOOR_HEAD_TOO_LARGE',
    `GET / HTTP/1.1\r\nA: ${'a'.repeat(40_000)}`,
  ],
  ['600 fields', 431, 'BKR_ERR_FRONT_DOOR_HEAD_TOO_LARGE', `GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(600)}\r\n`],
  ['CONNECT', 501, 'BKR_ERR_FRONT_DOOR_NOT_IMPLEMENTED', 'CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n'],
  ['the preface of HTTP/2', 505, 'BKR_ERR_FRONT_DOOR_VERSION', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
];
for (const [name, status, code, bytes] of ANSWERS) {
  test(`answers ${name} with ${status} and closes`, async (t) => {
    const { frontDoor, port, clientErrors } = await start(t);
    const client = await RawClient.connect(port);
    await client.send(bytes);
    const answer = await client.readToEnd();
    t.regex(
      answer,
      new RegExp(
        `^HTTP/1\\.1 ${status} .+\\r\\n(.+\\r\\n)*Connection: close\\r\\n(.+\\r\\n)*\\r\\n${status} .+\\n$`,
      ),
    );
    t.regex(answer, /\r\nDate: .+ GMT\r\n/);
    t.is(client.error, undefined);
    t.deepEqual(clientErrors, [code]);
    await until('the client is released', () => frontDoor.stats().answering === 0);
    t.deepEqual(frontDoor.stats().answered, { [status]: 1 });
    t.deepEqual(frontDoor.stats().clientErrors, { [code]: 1 });
  });
}

test('names a TLS client in the log, and does not let many of them fill it', async (t) => {
  const lines: [object, string][] = [];
  const { port } = await start(t, {
    logger: { warn: (facts, message) => void lines.push([facts, message]) },
  });
  for (let n = 0; n < 20; n++) {
    const client = await RawClient.connect(port);
    await client.send('\x16\x03\x01');
    await client.readToEnd();
  }
  t.true(lines.length >= 1 && lines.length <= 5, `${lines.length} lines`);
  const [facts, message] = lines[0] ?? [];
  t.like(facts, { code: 'BKR_ERR_FRONT_DOOR_TLS', client: { address: '127.0.0.1' } });
  t.regex(message ?? '', /TLS/);
});

test('a client that is still sending its body gets its answer nonetheless', async (t) => {
  const { port } = await start(t);
  for (let round = 0; round < 20; round++) {
    const client = await RawClient.connect(port);
    const sent = client.send(
      Buffer.concat([Buffer.from('POST / HTTP/1.1\r\n\r\n'), Buffer.alloc(4 * 1024 * 1024, 'x')]),
    );
    const answer = await client.readToEnd();
    t.regex(answer, /^HTTP\/1\.1 400 /, `round ${round}`);
    t.is(client.error, undefined, `round ${round}`);
    await sent;
  }
});

test('a client that never stops sending is cut off', async (t) => {
  const { frontDoor, port } = await start(t);
  const client = await RawClient.connect(port);
  await client.send('POST / HTTP/1.1\r\n\r\n');
  const chunk = Buffer.alloc(1024 * 1024);
  let sent = 0;
  while (!client.socket.destroyed && client.error === undefined && sent < 256) {
    client.socket.write(chunk);
    sent++;
    await delay(1);
  }
  t.true(sent < 256);
  await client.close();
  await until('it is released', () => frontDoor.stats().answering === 0);
});

test('a head that is not whole in time is answered 408, however busily its client sends', async (t) => {
  const { frontDoor, port, clientErrors } = await start(t, { headTimeoutMs: 200 });
  const began = performance.now();
  const client = await RawClient.connect(port);
  await client.send('GET / HTTP/1.1\r\nA: ');
  const dripping = setInterval(() => client.socket.write('a'), 20);
  await client.readUntil('\r\n\r\n408 Request Timeout\n');
  clearInterval(dripping);
  t.true(performance.now() - began >= 195);
  await client.readToEnd();
  t.deepEqual(clientErrors, ['BKR_ERR_FRONT_DOOR_HEAD_TIMEOUT']);
  t.deepEqual(frontDoor.stats().answered, { 408: 1 });
});

test('the head timeout counts from the first byte, not from accept', async (t) => {
  const { backend, port } = await start(t, { headTimeoutMs: 400, idleTimeoutMs: 10_000 });
  const client = await RawClient.connect(port);
  await delay(500);
  await client.send('GET / HTTP/1.0\r\n');
  await delay(50);
  await client.send('\r\n');
  const { passedFd } = await backend.next();
  passedFd.close();
  t.is(await client.readToEnd(), '');
});

test('a client that sends nothing in time is closed without a word', async (t) => {
  const { frontDoor, port, clientErrors } = await start(t, { idleTimeoutMs: 100 });
  const client = await RawClient.connect(port);
  t.is(await client.readToEnd(), '');
  t.is(client.error, undefined);
  t.is(frontDoor.stats().idleTimeouts, 1);
  t.deepEqual(clientErrors, []);
});

const LEAVERS: [name: string, leave: (client: RawClient) => Promise<unknown> | unknown][] = [
  ['without a byte', (client) => client.socket.end()],
  ['by a reset, without a byte', (client) => client.socket.resetAndDestroy()],
  ['after half a head', (client) => client.socket.end('GET / HT')],
  [
    'by a reset, after half a head',
    async (client) => {
      await client.send('GET / HT');
      client.socket.resetAndDestroy();
    },
  ],
];
for (const [name, leave] of LEAVERS) {
  test(`a client that leaves ${name} is let go at once`, async (t) => {
    const { frontDoor, port, clientErrors } = await start(t);
    const client = await RawClient.connect(port);
    await until('it is accepted', () => frontDoor.stats().accepted === 1);
    await leave(client);
    await until('it is gone', () => frontDoor.stats().gone === 1);
    t.is(frontDoor.stats().waiting, 0);
    t.true(frontDoor.stats().wakeUps <= 3);
    t.is(await client.readToEnd(), '');
    t.deepEqual(clientErrors, []);
  });
}

// Node.js cannot send urgent data. Peeking never gets past it, and the kernel goes on calling the socket readable.
const withPython = needs(test, program('python3'));
withPython('urgent data in the head neither spins nor stops the clock', async (t) => {
  const { frontDoor, port } = await start(t, { headTimeoutMs: 500 });
  const script = `
import socket, sys
s = socket.create_connection(('127.0.0.1', ${port}))
s.send(b'GET / HT')
s.send(b'!', socket.MSG_OOB)
s.send(b'TP/1.1\\r\\nHost: h\\r\\n\\r\\n')
data = b''
while True:
    more = s.recv(4096)
    if not more: break
    data += more
sys.stdout.write(data.decode())
`;
  const python = spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  let answer = '';
  python.stdout.on('data', (chunk) => {
    answer += chunk;
  });
  await once(python, 'close');
  t.regex(answer, /^HTTP\/1\.1 408 /);
  t.true(frontDoor.stats().wakeUps < 40, `${frontDoor.stats().wakeUps} wake-ups`);
});

test('slow clients do not hold up a fast one', async (t) => {
  const { backend, frontDoor, port } = await start(t);
  const slow = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const client = await RawClient.connect(port);
      await client.send('GET / HTTP/1.1\r\n');
      return client;
    }),
  );
  await until('they wait', () => frontDoor.stats().waiting === 100);
  const fast = await RawClient.connect(port);
  await fast.send('GET /fast HTTP/1.1\r\nHost: h\r\n\r\n');
  const { headers, passedFd } = await backend.next();
  t.is(headers.get('REQUEST_URI'), '/fast');
  passedFd.close();
  await fast.readToEnd();
  await Promise.all(slow.map((client) => client.close()));
  await until('they are gone', () => frontDoor.stats().gone === 100);
});
