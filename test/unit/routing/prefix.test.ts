// What an operator may write for a prefix, what it means, and how a mistake is named.
import { isIP } from 'node:net';
import test from 'ava';
import { addressText, readAddress } from '#runtime/routing/ip-address.js';
import { type HostBits, parsePrefix } from '#runtime/routing/prefix.js';

const words = new Uint32Array(4);

for (const [text, version, canonical] of [
  ['0.0.0.0', 4, '0.0.0.0'],
  ['203.0.113.7', 4, '203.0.113.7'],
  ['255.255.255.255', 4, '255.255.255.255'],
  ['::', 6, '::'],
  ['::1', 6, '::1'],
  ['2001:db8::', 6, '2001:db8::'],
  ['2001:DB8:0:0:1:0:0:1', 6, '2001:db8::1:0:0:1'],
  ['1:2:3:4:5:6:7:8', 6, '1:2:3:4:5:6:7:8'],
  ['1:2:3:4:5:6:7::', 6, '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', 6, '0:2:3:4:5:6:7:8'],
  ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 6, 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['64:ff9b::203.0.113.7', 6, '64:ff9b::cb00:7107'],
  ['1:2:3:4:5:6:203.0.113.7', 6, '1:2:3:4:5:6:cb00:7107'],
  ['::ffff:203.0.113.7', 4, '203.0.113.7'],
  ['::ffff:cb00:7107', 4, '203.0.113.7'],
  ['::fffe:203.0.113.7', 6, '::fffe:cb00:7107'],
] as const) {
  test(`${text} is an address`, (t) => {
    t.is(readAddress(text, words), version);
    t.is(addressText(Array.from(words.subarray(0, version === 4 ? 1 : 4))), canonical);
  });
}

for (const text of [
  ...['', ' ', '1', '1.2.3', '1.2.3.4.5', '1.2.3.256', '01.2.3.4', '1.2.3.4 ', '.1.2.3', '1..2.3', '1.2.3.'],
  ...[':', ':::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2::3', ':1', '1:', '12345::', 'g::', '::1%lo'],
  ...[
    '::1.2.3',
    '1.2.3.4::',
    '1:2:3:4:5:6:7:1.2.3.4',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    '::é',
    '/32',
  ],
]) {
  test(`${JSON.stringify(text)} is no address`, (t) => {
    t.is(readAddress(text, words), 0);
    if (!text.includes('%')) t.is(isIP(text), 0);
  });
}

for (const [text, canonical, hostBits] of [
  ['203.0.113.0/24', '203.0.113.0/24'],
  ['203.0.113.7', '203.0.113.7/32'],
  ['0.0.0.0/0', '0.0.0.0/0'],
  ['128.0.0.0/1', '128.0.0.0/1'],
  ['203.0.113.7/24', '203.0.113.0/24', 'mask'],
  ['255.255.255.255/0', '0.0.0.0/0', 'mask'],
  ['2001:DB8::/32', '2001:db8::/32'],
  ['2001:db8::1', '2001:db8::1/128'],
  ['::/0', '::/0'],
  ['2001:db8:1:2:3:4:5:6/48', '2001:db8:1::/48', 'mask'],
  ['2001:db8:1:2:8000::/65', '2001:db8:1:2:8000::/65'],
  ['::ffff:203.0.113.0/120', '203.0.113.0/24'],
  ['::ffff:203.0.113.7/120', '203.0.113.0/24', 'mask'],
  ['::ffff:0:0/96', '0.0.0.0/0'],
  ['::ffff:203.0.113.7', '203.0.113.7/32'],
  ['::ffff:0:0/80', '::/80', 'mask'],
] as [string, string, HostBits?][]) {
  test(`${text} is the prefix ${canonical}`, (t) => {
    const prefix = parsePrefix(text, 'here', hostBits);
    t.is(prefix.text, canonical);
    t.deepEqual(parsePrefix(canonical, 'here'), prefix);
    t.is(prefix.words.length, prefix.family === 'ipv4' ? 1 : 4);
  });
}

for (const [text, what] of [
  [undefined, 'it must be a string'],
  [7, 'it must be a string'],
  ['', 'what stands before the length'],
  ['/8', 'what stands before the length'],
  ['localhost/8', 'what stands before the length'],
  ['fe80::1%eth0/64', 'what stands before the length'],
  ['10.0.0.0/', 'the length must be an integer from 0 to 32'],
  ['10.0.0.0/33', 'the length must be an integer from 0 to 32'],
  ['10.0.0.0/08', 'the length must be an integer from 0 to 32'],
  ['10.0.0.0/-1', 'the length must be an integer from 0 to 32'],
  ['10.0.0.0/8.5', 'the length must be an integer from 0 to 32'],
  ['10.0.0.0/8/8', 'the length must be an integer from 0 to 32'],
  ['10.0.0.0/255.0.0.0', 'the length must be an integer from 0 to 32'],
  ['::/129', 'the length must be an integer from 0 to 128'],
  ['10.0.0.1/8', 'the prefix is 10.0.0.0/8'],
  ['2001:db8::1/32', 'the prefix is 2001:db8::/32'],
  ['::ffff:10.0.0.1/104', 'the prefix is 10.0.0.0/8'],
  ['::ffff:0:0/80', 'the prefix is ::/80'],
] as [string, string][]) {
  test(`${JSON.stringify(text)} is no prefix`, (t) => {
    const error = t.throws(() => parsePrefix(text, 'routes[2].prefix'), { code: 'BKR_ERR_PREFIX' });
    t.true(error?.message.startsWith(`routes[2].prefix is no prefix (${JSON.stringify(text)})`));
    t.true(error?.message.includes(what), error?.message);
  });
}

test('a long text is not repeated whole', (t) => {
  const error = t.throws(() => parsePrefix('x'.repeat(1_000), 'here'));
  t.true((error?.message.length ?? 0) < 200);
});
