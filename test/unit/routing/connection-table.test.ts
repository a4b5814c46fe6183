// Patterns are matched jointly: what matches in part must not hide a shorter prefix that matches whole.
import test from 'ava';
import { type ConnectionPattern, ConnectionTable } from '#runtime/routing/connection-table.js';

const RULES: readonly ConnectionPattern[] = [
  {},
  { prefix: '203.0.113.0/24' },
  { prefix: '203.0.113.0/24', port: 443 },
  { prefix: '203.0.113.128/25', source: '198.51.100.0/24' },
  { prefix: '203.0.113.128/25', source: '198.51.100.7' },
  { prefix: '203.0.113.128/25', source: '198.51.100.7', ingress: 'mg1' },
  { prefix: '2001:db8::/32', ingress: 'mg1' },
  { source: '192.0.2.0/24' },
  { source: '192.0.2.0/24', port: 8080 },
  { ingress: 'mg2' },
];

for (const [what, local, source, ingress, wanted] of [
  ['by the prefix', '203.0.113.1 80', '198.51.100.1', undefined, 1],
  ['by prefix and port', '203.0.113.1 443', '198.51.100.1', undefined, 2],
  ['by prefix and source', '203.0.113.129 80', '198.51.100.1', undefined, 3],
  ['by the longer source', '203.0.113.129 80', '198.51.100.7', undefined, 4],
  ['by the interface, too', '203.0.113.129 80', '198.51.100.7', 'mg1', 5],
  ['another interface', '203.0.113.129 80', '198.51.100.7', 'mg9', 4],
  ['another source: the shorter prefix wins', '203.0.113.129 80', '198.18.0.1', undefined, 1],
  ['another source: the shorter prefix and its port', '203.0.113.129 443', '198.18.0.1', undefined, 2],
  ['the local prefix counts before the source', '203.0.113.1 80', '192.0.2.1', undefined, 1],
  ['IPv6 by the interface', '2001:db8::1 80', '2001:db8::2', 'mg1', 6],
  ['IPv6 by another interface', '2001:db8::1 80', '2001:db8::2', 'mg9', 0],
  ['by the source alone', '10.0.0.1 80', '192.0.2.1', undefined, 7],
  ['by the port and the source', '10.0.0.1 8080', '192.0.2.1', undefined, 8],
  ['by the interface alone', '10.0.0.1 80', '10.0.0.2', 'mg2', 9],
  ['the source counts before the interface', '10.0.0.1 80', '192.0.2.1', 'mg2', 7],
  ['by nothing', '10.0.0.1 80', '10.0.0.2', undefined, 0],
  ['a client of a UNIX socket', undefined, undefined, undefined, 0],
  ['mapped addresses', '::ffff:203.0.113.129 80', '::ffff:198.51.100.7', undefined, 4],
] as [string, string | undefined, string | undefined, string | undefined, number][]) {
  test(`matches ${what}`, (t) => {
    const [address = '', port] = local?.split(' ') ?? [];
    const facts = { local: local ? { address, port: Number(port) } : undefined, source, ingress };
    for (const order of [RULES, RULES.toReversed()]) {
      const table = new ConnectionTable(order.map((rule) => ({ ...rule, value: { rule } })));
      t.deepEqual(table.match(facts)?.rule, RULES[wanted]);
    }
  });
}

test('without a rule for everything, nothing is found for what matches in part', (t) => {
  const table = new ConnectionTable([{ prefix: '10.0.0.0/8', source: '192.0.2.0/24', value: 1 }]);
  const local = { address: '10.0.0.1', port: 80 };
  t.is(table.match({ local, source: '192.0.2.1', ingress: undefined }), 1);
  t.is(table.match({ local, source: '192.0.3.1', ingress: undefined }), undefined);
  t.is(table.match({ local: undefined, source: '192.0.2.1', ingress: undefined }), undefined);
});

test('find() goes through all that match, the best first, until something is made of one', (t) => {
  const table = new ConnectionTable(RULES.toReversed().map((rule) => ({ ...rule, value: { rule } })));
  const local = { address: '203.0.113.129', port: 443 };
  const facts = { local, source: '198.51.100.7', ingress: 'mg1' };
  const seen: number[] = [];
  t.is(
    table.find(facts, ({ rule }) => void seen.push(RULES.indexOf(rule))),
    undefined,
  );
  t.deepEqual(seen, [5, 4, 3, 2, 1, 0]);
  t.is(
    table.find(facts, ({ rule }) => (rule.source === undefined ? rule : undefined)),
    RULES[2],
  );
});

test('values may be anything but undefined', (t) => {
  const rules = [
    { ingress: 'mg1', value: 0 },
    { source: '192.0.2.0/24', value: 0 },
    { prefix: '203.0.113.0/24', value: 0 },
    { value: 1 },
  ];
  const table = new ConnectionTable(rules);
  const elsewhere = { address: '10.0.0.1', port: 80 };
  const here = { address: '203.0.113.1', port: 80 };
  t.is(table.match({ local: here, source: undefined, ingress: undefined }), 0);
  t.is(table.match({ local: elsewhere, source: '192.0.2.1', ingress: undefined }), 0);
  t.is(table.match({ local: elsewhere, source: undefined, ingress: 'mg1' }), 0);
  t.is(table.match({ local: elsewhere, source: undefined, ingress: undefined }), 1);
});

test('asks for the interface only if some rule needs it', (t) => {
  const facts = {
    local: undefined,
    source: undefined,
    get ingress(): string {
      throw new Error('asked');
    },
  };
  t.is(new ConnectionTable([{ value: 1 }]).match(facts), 1);
  t.throws(() => new ConnectionTable([{ value: 1 }, { ingress: 'a', value: 2 }]).match(facts), {
    message: 'asked',
  });
});

for (const [what, rules, code, message] of [
  ['the same twice', [{}, { port: 80 }, { port: 80 }], 'BKR_ERR_PREFIX_TWICE', 'r[2] and r[1]'],
  [
    'nothing twice',
    [{}, {}],
    'BKR_ERR_PREFIX_TWICE',
    'r[1] and r[0] are for the same connections: every connection',
  ],
  [
    'the same source twice',
    [{ source: '10.0.0.0/8' }, { source: '::ffff:10.0.0.0/104' }],
    'BKR_ERR_PREFIX_TWICE',
    'r[1] and r[0]',
  ],
  [
    'the same interface twice',
    [{ ingress: 'a' }, { ingress: 'b' }, { ingress: 'a' }],
    'BKR_ERR_PREFIX_TWICE',
    'r[2] and r[0]',
  ],
  ['a malformed prefix', [{}, { prefix: '10.0.0.0/99' }], 'BKR_ERR_PREFIX', 'r[1].prefix is no prefix'],
  ['a malformed source', [{}, { source: 'x' }], 'BKR_ERR_PREFIX', 'r[1].source is no prefix'],
  ['a port that is none', [{}, { port: 0 }], 'BKR_ERR_OPTION', 'r[1].port must be'],
  ['no name of an interface', [{ ingress: '' }], 'BKR_ERR_OPTION', 'r[0].ingress must be'],
] as [string, ConnectionPattern[], string, string][]) {
  test(`refused: ${what}`, (t) => {
    const make = () =>
      new ConnectionTable(
        rules.map((rule) => ({ ...rule, value: 1 })),
        { place: 'r' },
      );
    const error = t.throws(make, { code });
    t.true(error?.message.includes(message), error?.message);
  });
}

test('strict refuses local prefixes that overlap', (t) => {
  const rules = [{ prefix: '10.0.0.0/8' }, { prefix: '10.1.0.0/16' }].map((rule) => ({ ...rule, value: 1 }));
  t.is(new ConnectionTable(rules).size, 2);
  t.throws(() => new ConnectionTable(rules, { strict: true }), { code: 'BKR_ERR_PREFIX_OVERLAP' });
});
