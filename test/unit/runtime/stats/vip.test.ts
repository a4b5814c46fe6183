import test from 'ava';
import { isIPv4, vipOf } from '#runtime/stats/vip.js';

const cases = [
  [{ family: 'IPv4', address: '192.0.2.1', port: 80 }, '192.0.2.1', '192.0.2.1:80', true],
  [{ family: 'IPv6', address: '2001:db8::1', port: 443 }, '2001:db8::1', '[2001:db8::1]:443', false],
  [{ family: 'IPv6', address: '::ffff:192.0.2.1', port: 80 }, '192.0.2.1', '192.0.2.1:80', true],
  [{ family: 'IPv6', address: '::', port: 1 }, '::', '[::]:1', false],
  [{ family: 'unix', address: '', port: 0 }, 'unix', 'unix', false],
  [undefined, 'unknown', 'unknown', false],
] as const;

for (const [local, plain, withPort, v4] of cases) {
  test(`${local?.address ?? 'no address'} of ${local?.family} is ${plain}, with its port ${withPort}`, (t) => {
    t.is(vipOf(local, false), plain);
    t.is(vipOf(local, true), withPort);
    t.is(isIPv4(local), v4);
  });
}
