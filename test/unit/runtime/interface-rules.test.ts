// What an operator may write about interfaces, and where a mistake is said to be.
import test from 'ava';
import { type InterfaceRule, resolveRules } from '#runtime/ingress/interface-rules.js';

const eth0 = { device: 'eth0' };

test('tags by device and family', (t) => {
  const rules: InterfaceRule[] = [
    eth0,
    { device: 'eth1', family: 'ipv6', tag: 'six' },
    { device: 'eth1', family: 'ipv4' },
    { device: 'abcdefghijklmno', tag: `0${'_.:-'.repeat(15)}xyz` },
    { device: '+é', tag: 'a' },
  ];
  t.deepEqual(Object.fromEntries(resolveRules(rules)), {
    eth0: { ipv4: 'eth0', ipv6: 'eth0' },
    eth1: { ipv4: 'eth1', ipv6: 'six' },
    abcdefghijklmno: { ipv4: `0${'_.:-'.repeat(15)}xyz`, ipv6: `0${'_.:-'.repeat(15)}xyz` },
    '+é': { ipv4: 'a', ipv6: 'a' },
  });
  t.is(resolveRules([]).size, 0);
});

for (const [what, rules, message] of [
  ['no list', {}, 'interfaces must be an array'],
  ['no rule', [eth0, null], 'interfaces[1] must be an object'],
  ['no device', [eth0, {}], 'interfaces[1].device must be 1 to 15 bytes'],
  ['a device that is no text', [{ device: 7 }], 'interfaces[0].device must be'],
  ['an empty device', [{ device: '' }], 'interfaces[0].device must be'],
  ['a device of 16 bytes', [{ device: 'abcdefghijklmnop' }], 'interfaces[0].device must be'],
  ['a device of 8 letters and 16 bytes', [{ device: 'éééééééé' }], 'interfaces[0].device must be'],
  ['a device with NUL', [{ device: 'a\0' }], 'interfaces[0].device must be'],
  ['a family that is none', [{ ...eth0, family: 'v4' }], "interfaces[0].family must be 'ipv4', 'ipv6'"],
  ['no family', [{ ...eth0, family: null }], 'interfaces[0].family must be'],
  ['an empty tag', [eth0, { device: 'eth1', tag: '' }], 'interfaces[1].tag must be 1 to 64'],
  ['a long tag', [{ ...eth0, tag: 'x'.repeat(65) }], 'interfaces[0].tag must be 1 to 64'],
  ['a tag with a space', [{ ...eth0, tag: 'a b' }], 'interfaces[0].tag must be'],
  ['a tag that begins with a dot', [{ ...eth0, tag: '.a' }], 'interfaces[0].tag must be'],
  ['a tag with a line feed', [{ ...eth0, tag: 'a\n' }], 'interfaces[0].tag must be'],
  ['a tag that is no text', [{ ...eth0, tag: 7 }], 'interfaces[0].tag must be'],
  ['a device whose name is no tag', [{ device: '@x' }], 'interfaces[0].tag must be'],
  [
    'a device twice',
    [eth0, { device: 'eth1' }, { ...eth0, tag: 'x' }],
    'interfaces[2] must be for something else than interfaces[0]: both are for ipv4 of eth0',
  ],
  [
    'a device and a family twice',
    [
      { device: 'eth0', family: 'ipv4' },
      { device: 'eth0', family: 'ipv6' },
      { device: 'eth0', family: 'ipv6', tag: 'x' },
    ],
    'interfaces[2] must be for something else than interfaces[1]: both are for ipv6 of eth0',
  ],
  [
    'a family beside both',
    [{ device: 'eth0', family: 'ipv6' }, eth0],
    'interfaces[1] must be for something else than interfaces[0]: both are for ipv6 of eth0',
  ],
] as const) {
  test(`refused with its place: ${what}`, (t) => {
    const error = t.throws(() => resolveRules(rules as never), { code: 'BKR_ERR_OPTION' });
    t.true(error.message.startsWith(`The option ${message}`), error.message);
  });
}
