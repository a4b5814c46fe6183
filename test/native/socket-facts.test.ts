// What a bare socket says about itself, and its options.
import { closeSync, openSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import test from 'ava';
import { loadNative, SOCKET_FACT, type TcpInfo } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { condition, needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';
import { pair } from './listener-fixture.js';
import { tcpPair } from './tcp-pair.js';

const native = loadNative();
const { constants } = native;
const { AF_UNIX, AF_INET, AF_INET6, SOCK_STREAM } = constants;
const STREAM = SOCK_STREAM << SOCKET_FACT.TYPE_SHIFT;

guardDescriptors(test);

const withIpv6 = needs(
  test.serial,
  condition(
    Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1')),
    'IPv6 on loopback: sysctl net.ipv6.conf.lo.disable_ipv6=0',
  ),
);

test.serial('facts of sockets, and of what is none', async (t) => {
  const [left] = pair(t);
  t.is(native.inspectSocket(left), AF_UNIX | STREAM | SOCKET_FACT.CONNECTED);
  const bound = native.bindTcp('127.0.0.1', 0);
  t.is(native.inspectSocket(bound), AF_INET | STREAM);
  native.listen(bound, 1);
  t.is(native.inspectSocket(bound), AF_INET | STREAM | SOCKET_FACT.LISTENING);
  native.closeFd(bound);
  const { accepted } = await tcpPair(t);
  t.is(native.inspectSocket(accepted), AF_INET | STREAM | SOCKET_FACT.CONNECTED);
  const file = openSync('/dev/null', 'r');
  t.is(native.inspectSocket(file), 0);
  closeSync(file);
  t.throws(() => native.inspectSocket(file), { code: 'EBADF' });
});

test.serial('addresses of both ends', async (t) => {
  const { accepted, client, port } = await tcpPair(t);
  t.deepEqual(native.localAddress(accepted), { family: 'IPv4', address: '127.0.0.1', port });
  const peer = { family: 'IPv4' as const, address: '127.0.0.1', port: client.localPort ?? 0 };
  t.deepEqual(native.peerAddress(accepted), peer);
  const [left] = pair(t);
  t.deepEqual(native.localAddress(left), { family: 'unix', address: '', port: 0 });
  t.deepEqual(native.peerAddress(left), { family: 'unix', address: '', port: 0 });
  const bound = native.bindTcp('127.0.0.1', 0);
  t.throws(() => native.peerAddress(bound), { code: 'ENOTCONN' });
  native.closeFd(bound);
  const abstract = native.bindUnix('\0fdpass-\u00e9', 0o600);
  t.is(native.localAddress(abstract).address, '\0fdpass-\u00e9');
  native.closeFd(abstract);
});

withIpv6('addresses of IPv6 and IPv4-mapped clients', async (t) => {
  const six = await tcpPair(t, '::1');
  t.like(native.peerAddress(six.accepted), { family: 'IPv6', address: '::1' });
  const mapped = await tcpPair(t, '::', '127.0.0.1');
  t.like(native.peerAddress(mapped.accepted), { family: 'IPv6', address: '::ffff:127.0.0.1' });
});

test.serial('the credentials of the peer are those of this process', async (t) => {
  const [left] = pair(t);
  t.deepEqual(native.peerCredentials(left), {
    pid: process.pid,
    uid: process.getuid?.() ?? -1,
    gid: process.getgid?.() ?? -1,
  });
  const { accepted } = await tcpPair(t);
  t.deepEqual(
    native.peerCredentials(accepted),
    { pid: 0, uid: 2 ** 32 - 1, gid: 2 ** 32 - 1 },
    'TCP has none',
  );
});

const lo = (): number => native.interfaces().find(({ name }) => name === 'lo')?.index ?? -1;

/** The option that ingressIfindex switches on, and must leave as it was. */
const PKTINFO = { v4: [0, 8], v6: [41, 49] } as const;

test.serial('interfaces are those of /sys/class/net', (t) => {
  const interfaces = native.interfaces();
  t.true(interfaces.length > 0);
  for (const { index, name } of interfaces) {
    t.is(readFileSync(`/sys/class/net/${name}/ifindex`, 'latin1').trim(), String(index));
  }
});

test.serial('an IPv4 client over loopback came in by lo, and the option is off again', async (t) => {
  const { accepted, client } = await tcpPair(t);
  t.is(native.ingressIfindex(accepted), lo());
  t.is(native.getOption(accepted, ...PKTINFO.v4), 0);
  client.write('x');
  await until('a byte came', () => native.readQueueBytes(accepted) === 1);
  t.is(native.ingressIfindex(accepted), lo());
});

withIpv6('an IPv6 client over loopback came in by lo, and the option is off again', async (t) => {
  const { accepted } = await tcpPair(t, '::1');
  t.is(native.ingressIfindex(accepted), lo());
  t.is(native.getOption(accepted, ...PKTINFO.v6), 0);
});

withIpv6('an IPv4-mapped client over loopback came in by lo', async (t) => {
  const { accepted } = await tcpPair(t, '::', '127.0.0.1');
  t.is(native.ingressIfindex(accepted), lo());
  t.is(native.getOption(accepted, ...PKTINFO.v6), 0);
});

test.serial('an option that was on already stays on', async (t) => {
  const { accepted } = await tcpPair(t);
  native.setOption(accepted, ...PKTINFO.v4, 1);
  t.is(native.ingressIfindex(accepted), lo());
  t.is(native.getOption(accepted, ...PKTINFO.v4), 1);
});

test.serial('other packet options beside it do not hide the interface', async (t) => {
  const { accepted } = await tcpPair(t);
  // IP_RECVTOS and IP_RECVTTL.
  for (const name of [13, 12]) native.setOption(accepted, 0, name, 1);
  t.is(native.ingressIfindex(accepted), lo());
});

test.serial('sockets without an ingress interface answer 0; what is no socket is an error', async (t) => {
  const [left] = pair(t);
  t.is(native.ingressIfindex(left), 0);
  const bound = native.bindTcp('127.0.0.1', 0);
  t.is(native.ingressIfindex(bound), 0);
  t.is(native.getOption(bound, ...PKTINFO.v4), 0);
  native.closeFd(bound);
  t.throws(() => native.ingressIfindex(bound), { code: 'EBADF' });
});

test.serial('TCP_INFO counts what went each way', async (t) => {
  const { accepted, client } = await tcpPair(t);
  client.write('12345');
  await until('it came', () => native.readQueueBytes(accepted) === 5);
  native.write(accepted, Buffer.alloc(1000));
  let info = native.tcpInfo(accepted);
  await until('it is acknowledged', () => {
    info = native.tcpInfo(accepted);
    return info.bytesAcked >= 1000;
  });
  t.is(info.state, 1, 'established');
  t.is(info.bytesReceived, 5);
  t.is(info.bytesSent, 1000);
  t.is(info.bytesRetransmitted, 0);
  t.is(info.totalRetransmits, 0);
  t.is(info.unacked, 0);
  t.is(info.notSentBytes, 0);
  t.true(info.rttUs > 0 && info.sendCongestionWindow > 0 && info.sendMss > 500 && info.advertisedMss > 500);
  t.true(info.pathMtu >= info.sendMss && info.receiveMss > 0 && info.receiveSpace > 0);
  t.true(Object.values<number>(info as TcpInfo & Record<string, number>).every(Number.isSafeInteger));
  const [left] = pair(t);
  t.throws(() => native.tcpInfo(left), { code: 'ENOTSUP' });
});

test.serial('unread and unacknowledged bytes are counted', async (t) => {
  const [left, right] = pair(t);
  t.is(native.readQueueBytes(left), 0);
  native.write(right, Buffer.from('four'));
  t.is(native.readQueueBytes(left), 4);
  t.true(native.writeQueueBytes(right) > 0);
  native.read(left, Buffer.alloc(4));
  t.is(native.writeQueueBytes(right), 0);
});

for (const [name, level, value, expected] of [
  ['TCP_NODELAY', 'IPPROTO_TCP', 1, 1],
  ['TCP_CORK', 'IPPROTO_TCP', 1, 1],
  ['TCP_USER_TIMEOUT', 'IPPROTO_TCP', 12_345, 12_345],
  ['SO_KEEPALIVE', 'SOL_SOCKET', 1, 1],
  ['SO_RCVLOWAT', 'SOL_SOCKET', 10, 10],
  // The kernel doubles it, socket(7).
  ['SO_SNDBUF', 'SOL_SOCKET', 20_000, 40_000],
  ['SO_RCVBUF', 'SOL_SOCKET', 20_000, 40_000],
] as const) {
  test.serial(`${name} is set and read`, async (t) => {
    const { accepted } = await tcpPair(t);
    native.setOption(accepted, constants[level], constants[name], value);
    t.is(native.getOption(accepted, constants[level], constants[name]), expected);
  });
}

test.serial('an option the socket does not have is an error', async (t) => {
  const { accepted } = await tcpPair(t);
  const [left] = pair(t);
  t.throws(() => native.getOption(accepted, constants.IPPROTO_TCP, 9999), { code: 'ENOPROTOOPT' });
  t.throws(() => native.setOption(accepted, constants.IPPROTO_TCP, 9999, 1), { code: 'ENOPROTOOPT' });
  t.throws(() => native.setOption(left, constants.IPPROTO_TCP, constants.TCP_NODELAY, 1), {
    code: 'ENOTSUP',
  });
});

test.serial('a socket without an upper layer protocol has an empty one', async (t) => {
  const { accepted } = await tcpPair(t);
  const [left] = pair(t);
  t.is(native.tcpUlp(accepted), '');
  t.is(native.tcpUlp(left), '');
  t.throws(() => native.tcpUlp(100_000), { code: 'EBADF' });
});

test.serial('the limits of descriptors are those of /proc/self/limits', (t) => {
  const line = /^Max open files +(\d+|unlimited) +(\d+|unlimited)/m.exec(
    readFileSync('/proc/self/limits', 'latin1'),
  );
  const number = (text: string | undefined): number => (text === 'unlimited' ? Infinity : Number(text));
  t.deepEqual(native.descriptorLimits(), { soft: number(line?.[1]), hard: number(line?.[2]) });
});

test.serial("the constants are the kernel's", (t) => {
  t.like(constants, { SOL_SOCKET: 1, SO_RCVLOWAT: 18, IPPROTO_TCP: 6, TCP_NODELAY: 1, AF_INET6: AF_INET6 });
  t.is(AF_INET6, 10);
  t.true(Object.isFrozen(constants));
});
