// The functions of kernel TLS on sockets without it, which is all that every kernel has: what they do with TLS is tested in test/ktls.
import test from 'ava';
import { loadNative } from '#native/index.js';
import { acceptedFd } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';

guardDescriptors(test);
const native = loadNative();
const TX = 1;
const RX = 2;

test('tlsDirection is 0 for TCP without TLS, and for a UNIX socket', async (t) => {
  const fd = await acceptedFd(t);
  t.deepEqual([native.tlsDirection(fd, TX), native.tlsDirection(fd, RX)], [0, 0]);
  const pair = native.socketpair();
  t.teardown(() => {
    for (const each of pair) native.closeFd(each);
  });
  t.deepEqual([native.tlsDirection(pair[0], TX), native.tlsDirection(pair[0], RX)], [0, 0]);
});

test('readTlsRecord without TLS: bytes, EAGAIN, the end', (t) => {
  const [fd, peer] = native.socketpair();
  t.teardown(() => native.closeFd(fd));
  const target = Buffer.alloc(16);
  t.is(native.readTlsRecord(fd, target), -1);
  native.write(peer, Buffer.from('data'));
  t.is(native.readTlsRecord(fd, target), 4);
  t.is(target.toString('latin1', 0, 4), 'data');
  native.closeFd(peer);
  t.is(native.readTlsRecord(fd, target), 0);
});

test('wrong arguments', (t) => {
  t.throws(() => native.tlsDirection(-1, TX), { code: 'EBADF' });
  t.throws(() => native.tlsDirection(0, 3 as never), { instanceOf: RangeError });
  t.throws(() => native.readTlsRecord(-1, Buffer.alloc(1)), { code: 'EBADF' });
  t.throws(() => native.readTlsRecord(0, Buffer.alloc(0)), { instanceOf: RangeError });
  t.throws(() => native.sendTlsAlert(-1, 1, 0), { code: 'EBADF' });
  t.throws(() => native.sendTlsAlert(0, 3 as never, 0), { instanceOf: RangeError });
  t.throws(() => native.sendTlsAlert(0, 1, 256), { instanceOf: RangeError });
});
