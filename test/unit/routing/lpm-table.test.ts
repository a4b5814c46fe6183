// Which entry of a table an address finds, and which tables are refused.
import test from 'ava';
import { type LpmEntry, type LpmOptions, LpmTable } from '#runtime/routing/lpm-table.js';

/** Prefixes, with `port` behind a space, whose values are their own text. */
const tableOf = (texts: readonly string[], options?: LpmOptions): LpmTable<string> =>
  new LpmTable(
    texts.map((text): LpmEntry<string> => {
      const [prefix, port] = text.split(' ');
      return {
        prefix: prefix === '*' ? undefined : prefix,
        port: port ? Number(port) : undefined,
        value: text,
      };
    }),
    options,
  );

const NESTED = [
  '10.0.0.0/8',
  '10.1.0.0/16',
  '10.1.2.0/24',
  '10.1.2.3/32',
  '2001:db8::/32',
  '2001:db8:1::/48',
];

for (const [entries, address, port, wanted] of [
  [NESTED, '10.1.2.3', 0, '10.1.2.3/32'],
  [NESTED, '10.1.2.4', 0, '10.1.2.0/24'],
  [NESTED, '10.1.1.255', 0, '10.1.0.0/16'],
  [NESTED, '10.1.3.0', 0, '10.1.0.0/16'],
  [NESTED, '10.255.255.255', 0, '10.0.0.0/8'],
  [NESTED, '11.0.0.0', 0, undefined],
  [NESTED, '9.255.255.255', 0, undefined],
  [NESTED, '::ffff:10.1.2.9', 0, '10.1.2.0/24'],
  [NESTED, '2001:db8:1:ffff:ffff:ffff:ffff:ffff', 0, '2001:db8:1::/48'],
  [NESTED, '2001:db8:2::', 0, '2001:db8::/32'],
  [NESTED, '2001:db7:ffff::', 0, undefined],
  [NESTED, '2001:db9::', 0, undefined],
  [NESTED, 'nonsense', 0, undefined],
  [['fe80::/10'], 'fe80::1%eth0', 0, 'fe80::/10'],
  [['fe80::/10'], '%eth0', 0, undefined],
  [NESTED, undefined, 0, undefined],
  [['0.0.0.0/0'], '255.255.255.255', 0, '0.0.0.0/0'],
  [['0.0.0.0/0'], '::', 0, undefined],
  [['::/0'], '10.0.0.1', 0, undefined],
  [['::/0'], '::', 0, '::/0'],
  [['0.0.0.0/0', '255.255.255.255/32'], '255.255.255.255', 0, '255.255.255.255/32'],
  [['0.0.0.0/0', '255.255.255.255/32'], '255.255.255.254', 0, '0.0.0.0/0'],
  [['0.0.0.0/32', '0.0.0.0/0'], '0.0.0.0', 0, '0.0.0.0/32'],
  [['0.0.0.0/1', '128.0.0.0/1'], '128.0.0.0', 0, '128.0.0.0/1'],
  [['::1/128', '::/127', '::/64'], '::1', 0, '::1/128'],
  [['::1/128', '::/127', '::/64'], '::0', 0, '::/127'],
  [['::1/128', '::/127', '::/64'], '::2', 0, '::/64'],
  [['::/32', '::/64', '::/96', '::/128'], '::', 0, '::/128'],
  [['::/32', '::/64', '::/96', '::/128'], '::1', 0, '::/96'],
  [['::/32', '::/64', '::/96', '::/128'], '::1:0:0', 0, '::/64'],
  [['::/32', '::/64', '::/96', '::/128'], '0:0:1::', 0, '::/32'],
  // The longer prefix before the port; at equal length the port.
  [['10.0.0.0/8', '10.0.0.0/8 443'], '10.9.9.9', 443, '10.0.0.0/8 443'],
  [['10.0.0.0/8', '10.0.0.0/8 443'], '10.9.9.9', 80, '10.0.0.0/8'],
  [['10.0.0.0/8 443', '10.1.0.0/16'], '10.1.9.9', 443, '10.1.0.0/16'],
  [['10.0.0.0/8', '10.1.0.0/16 443'], '10.1.9.9', 80, '10.0.0.0/8'],
  [['10.0.0.0/8 80', '10.1.0.0/16 443'], '10.1.9.9', 80, '10.0.0.0/8 80'],
  [['10.0.0.0/8 80', '10.1.0.0/16 443'], '10.1.9.9', 8080, undefined],
  [['*', '10.0.0.0/8 80'], '10.1.9.9', 8080, '*'],
  [['*', '10.0.0.0/8 80'], '::1', 0, '*'],
  [['*', '10.0.0.0/8 80'], undefined, 0, '*'],
  [['*', '* 80'], undefined, 80, '* 80'],
  [[], '10.0.0.1', 80, undefined],
] as [string[], string | undefined, number, string | undefined][]) {
  test(`${address} ${port} in [${entries}]: ${wanted}`, (t) => {
    for (const each of [entries, entries.toReversed()]) {
      t.is(tableOf(each).lookup(address, port), wanted);
      t.is(tableOf(each).size, entries.length);
    }
  });
}

test('goes on with shorter prefixes for whoever does not like the longest', (t) => {
  const seen: string[] = [];
  tableOf(['*', ...NESTED, '10.1.0.0/16 80']).find('10.1.2.3', 80, (value) => void seen.push(value));
  t.deepEqual(seen, ['10.1.2.3/32', '10.1.2.0/24', '10.1.0.0/16 80', '10.1.0.0/16', '10.0.0.0/8', '*']);
});

test('host bits are refused, or masked', (t) => {
  t.throws(() => tableOf(['10.0.0.1/8']), { code: 'BKR_ERR_PREFIX', message: /^entries\[0\]\.prefix is/ });
  t.is(tableOf(['10.0.0.1/8'], { hostBits: 'mask' }).lookup('10.9.9.9'), '10.0.0.1/8');
});

for (const [what, texts, code, message] of [
  [
    'a prefix twice',
    ['::/0', '10.0.0.0/8', '10.0.0.0/8'],
    'BKR_ERR_PREFIX_TWICE',
    'r[2] and r[1] are for the same',
  ],
  ['twice in two ways', ['10.0.0.0/8', '::ffff:10.0.0.0/104'], 'BKR_ERR_PREFIX_TWICE', '10.0.0.0/8'],
  [
    'a prefix and port twice',
    ['10.0.0.0/8 80', '10.0.0.0/8 80'],
    'BKR_ERR_PREFIX_TWICE',
    '10.0.0.0/8 port 80',
  ],
  ['everything twice', ['*', '*'], 'BKR_ERR_PREFIX_TWICE', 'every address'],
  ['a malformed prefix', ['10.0.0.0/8', '10.0.0/8'], 'BKR_ERR_PREFIX', 'r[1].prefix is no prefix'],
  [
    'a port that is none',
    ['10.0.0.0/8 65536'],
    'BKR_ERR_OPTION',
    'r[0].port must be an integer from 1 to 65535',
  ],
  ['a port with a fraction', ['10.0.0.0/8 1.5'], 'BKR_ERR_OPTION', 'r[0].port must be'],
] as [string, string[], string, string][]) {
  test(`refused: ${what}`, (t) => {
    const error = t.throws(() => tableOf(texts, { place: 'r' }), { code });
    t.true(error?.message.includes(message), error?.message);
  });
}

test('refused: more than a million entries', (t) => {
  const entries = Array(1_000_001).fill({ prefix: '10.0.0.0/8', value: 1 });
  const error = t.throws(() => new LpmTable(entries, { place: 'r' }), { code: 'BKR_ERR_PREFIX_TABLE' });
  t.is(error?.message, 'r[1000000] is one too many: a table has at most 1000000 entries');
});

for (const [texts, overlap] of [
  [['10.0.0.0/8', '11.0.0.0/8', '2001:db8::/32', '::1/128'], undefined],
  [['10.0.0.0/8', '10.1.0.0/16'], 'r[1] (10.1.0.0/16) overlaps r[0] (10.0.0.0/8)'],
  [['10.1.0.0/16', '10.0.0.0/8'], 'r[0] (10.1.0.0/16) overlaps r[1] (10.0.0.0/8)'],
  [['::/0', '2001:db8::/32'], 'r[1] (2001:db8::/32) overlaps r[0] (::/0)'],
  [['10.0.0.0/8 80', '10.1.0.0/16 443'], undefined],
  [['10.0.0.0/8 80', '10.0.0.0/8 443'], undefined],
  [['10.0.0.0/8', '10.0.0.0/8 443'], 'r[0] (10.0.0.0/8) overlaps r[1] (10.0.0.0/8 port 443)'],
  [['10.0.0.0/8', '10.1.0.0/16 443'], 'r[1] (10.1.0.0/16 port 443) overlaps r[0] (10.0.0.0/8)'],
  [
    ['10.0.0.0/8 1', '10.1.0.0/16 2', '10.1.2.0/24 1'],
    'r[2] (10.1.2.0/24 port 1) overlaps r[0] (10.0.0.0/8 port 1)',
  ],
  [['*', '10.0.0.0/8'], undefined],
] as [string[], string | undefined][]) {
  test(`strict: [${texts}] ${overlap === undefined ? 'is taken' : 'is refused'}`, (t) => {
    const make = () => tableOf(texts, { strict: true, place: 'r' });
    if (overlap === undefined) t.is(make().size, texts.length);
    else t.true(t.throws(make, { code: 'BKR_ERR_PREFIX_OVERLAP' })?.message.startsWith(overlap));
  });
}
