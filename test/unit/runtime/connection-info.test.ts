// The facts of a connection: what the sender says and what the kernel says, kept apart.
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer, type Server, Socket } from 'node:net';
import test from 'ava';
import {
  ConnectionFacts,
  connectionInfo,
  registerRequest,
  registerSocket,
} from '#runtime/connection-info.js';
import { guardDescriptors } from '../../helpers/descriptors.js';
import { RawClient } from '../../helpers/raw-client.js';
import { type Entries, requestEntries, type StandIn, standIn } from '../../helpers/stand-in-handover.js';

guardDescriptors(test);

const facts = (more: Entries, options: StandIn = {}, descriptor?: number): ConnectionFacts =>
  new ConnectionFacts(standIn(requestEntries(...more), options), () => descriptor);

const clients: [entries: Entries, expected: ConnectionFacts['client']][] = [
  [
    [
      ['REMOTE_ADDR', '192.0.2.7'],
      ['REMOTE_PORT', '40000'],
    ],
    { family: 'IPv4', address: '192.0.2.7', port: 40_000 },
  ],
  [
    [
      ['REMOTE_ADDR', '2001:db8::7'],
      ['REMOTE_PORT', '1'],
    ],
    { family: 'IPv6', address: '2001:db8::7', port: 1 },
  ],
  [
    [
      ['REMOTE_ADDR', '::ffff:192.0.2.7'],
      ['REMOTE_PORT', '65535'],
    ],
    { family: 'IPv6', address: '::ffff:192.0.2.7', port: 65_535 },
  ],
  [
    [
      ['REMOTE_ADDR', 'unix:'],
      ['REMOTE_PORT', ''],
    ],
    { family: 'unix', address: '', port: 0 },
  ],
  [[], { family: 'unix', address: '', port: 0 }],
  [
    [
      ['REMOTE_ADDR', 'evil.example'],
      ['REMOTE_PORT', '80'],
    ],
    { family: 'unix', address: '', port: 0 },
  ],
  [[['REMOTE_ADDR', '192.0.2.7.1']], { family: 'unix', address: '', port: 0 }],
];
for (const [entries, expected] of clients) {
  test(`the client of ${JSON.stringify(entries)}`, (t) => {
    t.deepEqual(facts(entries).client, expected);
  });
}

for (const port of ['', '-1', '65536', '1e3', '0x50', ' 80', '80 ', '8080.5', 'http', '99999999999']) {
  test(`the port ${JSON.stringify(port)} is none`, (t) => {
    t.is(
      facts([
        ['REMOTE_ADDR', '192.0.2.7'],
        ['REMOTE_PORT', port],
      ]).client.port,
      0,
    );
  });
}

test('variables are what the operator added, and neither the request nor the protocol', (t) => {
  const { variables } = facts(
    [
      ['REMOTE_ADDR', '192.0.2.7'],
      ['REMOTE_PORT', '1'],
      ['SERVER_ADDR', '192.0.2.1'],
      ['SERVER_PORT', '443'],
      ['SERVER_PROTOCOL', 'HTTP/1.1'],
      ['QUERY_STRING', ''],
      ['HTTPS', 'on'],
      ['KTLS_RX', '1'],
      ['FD_PASS_VERSION', '1'],
      ['HTTP_X_USER', 'no'],
      ['SSL_CLIENT_S_DN', 'CN=client-7'],
      ['REMOTE_USER', 'client-7'],
      ['GEO', 'first'],
      ['GEO', 'second'],
      ['EMPTY', ''],
    ],
    { kind: 'full' },
  );
  t.deepEqual(
    { ...variables },
    { SSL_CLIENT_S_DN: 'CN=client-7', REMOTE_USER: 'client-7', GEO: 'first', EMPTY: '' },
  );
});

test('variables have no prototype: any name is only a name', (t) => {
  const { variables } = facts([
    ['__proto__', 'a'],
    ['constructor', 'b'],
    ['toString', 'c'],
    ['hasOwnProperty', 'd'],
  ]);
  t.is(Object.getPrototypeOf(variables), null);
  t.deepEqual(Object.entries(variables), [
    ['__proto__', 'a'],
    ['constructor', 'b'],
    ['toString', 'c'],
    ['hasOwnProperty', 'd'],
  ]);
  t.is(Object.getPrototypeOf({}), Object.prototype);
  t.false('valueOf' in variables);
});

test('one request cannot change the variables another one sees', (t) => {
  const { variables } = facts([['GEO', 'a']]);
  t.throws(() => Object.assign(variables, { GEO: 'b' }), { instanceOf: TypeError });
  t.is(variables.GEO, 'a');
});

/** There is no descriptor to ask the kernel about. */
const unasked = { version: undefined, cipher: undefined, truncated: false };
const tls: [kind: StandIn['kind'], entries: Entries, expected: ConnectionFacts['tls']][] = [
  ['full', [], undefined],
  ['full', [['HTTPS', 'off']], undefined],
  ['full', [['HTTPS', '']], undefined],
  [
    'full',
    [
      ['HTTPS', 'on'],
      ['KTLS_RX', '1'],
    ],
    { ...unasked, kernelTx: true, kernelRx: true },
  ],
  [
    'partial',
    [
      ['HTTPS', 'on'],
      ['KTLS_RX', '0'],
    ],
    { ...unasked, kernelTx: true, kernelRx: false },
  ],
  ['relay', [['HTTPS', 'on']], { ...unasked, kernelTx: false, kernelRx: false }],
  ['relay', [['HTTPS', 'ON']], { ...unasked, kernelTx: false, kernelRx: false }],
];
for (const [kind, entries, expected] of tls) {
  test(`TLS of a ${kind} handover with ${JSON.stringify(entries)}`, (t) => {
    t.deepEqual(facts(entries, kind === undefined ? {} : { kind }).tls, expected);
  });
}

test("the kernel is asked for peer, local address and interface of the client's socket", async (t) => {
  const listener: Server = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as { port: number };
  const [client, [accepted]] = await Promise.all([RawClient.connect(port), once(listener, 'connection')]);
  const socket = accepted as Socket & { _handle: { fd: number } };
  const info = facts(
    [
      ['REMOTE_ADDR', '192.0.2.7'],
      ['REMOTE_PORT', '9'],
    ],
    {},
    socket._handle.fd,
  ).snapshot(1);
  t.deepEqual(info.client, { family: 'IPv4', address: '192.0.2.7', port: 9 });
  t.deepEqual(info.peer, { family: 'IPv4', address: '127.0.0.1', port: client.socket.localPort as number });
  t.deepEqual(info.local, { family: 'IPv4', address: '127.0.0.1', port });
  t.is(info.ingress?.name, 'lo');
  t.true((info.ingress?.ifindex ?? 0) > 0);
  socket.destroy();
  await client.close();
  listener.close();
  await once(listener, 'close');
});

test('facts asked for in time are kept after the connection is gone, the others are unknown', async (t) => {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as { port: number };
  const [client, [accepted]] = await Promise.all([RawClient.connect(port), once(listener, 'connection')]);
  const socket = accepted as Socket & { _handle: { fd: number } };
  let descriptor: number | undefined = socket._handle.fd;
  const kept = new ConnectionFacts(standIn(requestEntries()), () => descriptor);
  const { peer } = kept;
  descriptor = undefined;
  socket.destroy();
  t.deepEqual(kept.peer, peer);
  t.is(kept.peer?.address, '127.0.0.1');
  t.is(kept.local, undefined);
  t.is(kept.ingress, undefined);
  await client.close();
  listener.close();
  await once(listener, 'close');
});

test("a relay has no client socket: its local address is the sender's word", (t) => {
  const info = facts(
    [
      ['SERVER_ADDR', '192.0.2.1'],
      ['SERVER_PORT', '443'],
    ],
    { kind: 'relay' },
  ).snapshot(1);
  t.is(info.peer, undefined);
  t.is(info.ingress, undefined);
  t.deepEqual(info.local, { family: 'IPv4', address: '192.0.2.1', port: 443 });
  t.is(facts([['SERVER_ADDR', 'unix:/run/x']], { kind: 'relay' }).local, undefined);
});

test('a descriptor the kernel knows nothing about leaves facts unknown', (t) => {
  const info = facts([], {}, 1_000_000).snapshot(1);
  t.is(info.peer, undefined);
  t.is(info.local, undefined);
  t.is(info.ingress, undefined);
});

test('connectionInfo() tells each request its own number, and a socket the latest', (t) => {
  const socket = new Socket();
  const registered = facts([], { earlyBytes: Buffer.from('early') });
  registerSocket(socket, registered);
  const request = () => ({ httpVersion: '1.1', socket }) as unknown as IncomingMessage;
  const [first, second] = [request(), request()];
  t.is(connectionInfo(socket).requestNumber, 0);
  t.is(registerRequest(first, registered), 1);
  t.is(registerRequest(second, registered), 2);
  t.is(connectionInfo(first).requestNumber, 1);
  t.is(connectionInfo(second).requestNumber, 2);
  t.is(connectionInfo(socket).requestNumber, 2);
  t.is(connectionInfo(first).earlyBytes, 5);
  t.deepEqual(connectionInfo(first).sender, { pid: 4711, uid: 33, gid: 33 });
  t.is(connectionInfo(first).handover, 'full');
});

test('a request that did not come by handover has no connection info', (t) => {
  const socket = new Socket();
  t.throws(() => connectionInfo(socket), { code: 'BKR_ERR_NO_CONNECTION_INFO' });
  t.throws(() => connectionInfo({ httpVersion: '1.1', socket } as unknown as IncomingMessage), {
    code: 'BKR_ERR_NO_CONNECTION_INFO',
  });
});
