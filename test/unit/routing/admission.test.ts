// Who is let in: by either address, by the longer prefix, and counted once.
import test from 'ava';
import { ConnectionFacts } from '#runtime/connection-info.js';
import { type Decision, IncomingHandover } from '#runtime/middleware.js';
import { type Admission, type AdmissionOptions, admission } from '#runtime/routing/admission.js';
import { requestEntries, standIn } from '../../helpers/stand-in-handover.js';

type Outcome = 'passes' | 'closed';

/** What becomes of a relay from `source` to `local`. */
function connect({ middleware }: Admission, source: string, local = '203.0.113.1'): Outcome {
  const entries = requestEntries(['REMOTE_ADDR', source], ['SERVER_ADDR', local]);
  let closes = 0;
  const connection = { close: () => closes++ };
  const handover = Object.assign(standIn(entries, { kind: 'relay' }), { connection });
  const decisions: Decision[] = [];
  const facts = new ConnectionFacts(handover, () => undefined);
  let isPassed = false;
  void middleware(new IncomingHandover(handover, facts, (decision) => void decisions.push(decision)), () => {
    isPassed = true;
  });
  if (isPassed === closes > 0) throw new Error(`passed ${isPassed}, closed ${closes} times`);
  if (!isPassed && decisions[0]?.action !== 'taken') throw new Error('not taken');
  return isPassed ? 'passes' : 'closed';
}

/** By what stands for each rule, with those that counted nothing left out. */
function countsOf(admitting: Admission): Record<string, number> {
  const { block, allow, notAllowed } = admitting.stats();
  const all = [
    ...block.map(({ prefix, connections }) => [`block ${prefix}`, connections] as const),
    ...allow.map(({ prefix, connections }) => [`allow ${prefix}`, connections] as const),
    ['not allowed', notAllowed] as const,
  ];
  return Object.fromEntries(all.filter(([, connections]) => connections > 0));
}

const BLOCK = ['192.0.2.0/24', '192.0.2.128/25', '2001:db8::/32', '203.0.113.64/26'];
const ALLOW = ['198.51.100.0/24', '192.0.2.0/24', '203.0.113.128/25'];
const UNIX = 'unix:';

for (const [what, options, source, local, outcome, rule] of [
  ['nothing is blocked without rules', {}, '192.0.2.1', undefined, 'passes', undefined],
  ['another source', { block: BLOCK }, '198.51.100.1', undefined, 'passes', undefined],
  ['the source', { block: BLOCK }, '192.0.2.1', undefined, 'closed', 'block 192.0.2.0/24'],
  ['the longest prefix', { block: BLOCK }, '192.0.2.129', undefined, 'closed', 'block 192.0.2.128/25'],
  ['a mapped source', { block: BLOCK }, '::ffff:192.0.2.1', undefined, 'closed', 'block 192.0.2.0/24'],
  ['an IPv6 source', { block: BLOCK }, '2001:db8::1', '2001:db9::1', 'closed', 'block 2001:db8::/32'],
  ['the local address', { block: BLOCK }, '198.51.100.1', '203.0.113.65', 'closed', 'block 203.0.113.64/26'],
  ['the longer of both', { block: BLOCK }, '192.0.2.1', '203.0.113.65', 'closed', 'block 203.0.113.64/26'],
  ['of equal ones the source', { block: BLOCK }, '192.0.2.1', '192.0.2.2', 'closed', 'block 192.0.2.0/24'],
  ['an allowed source', { allow: ALLOW }, '198.51.100.1', undefined, 'passes', 'allow 198.51.100.0/24'],
  [
    'an allowed local address',
    { allow: ALLOW },
    '10.0.0.1',
    '203.0.113.129',
    'passes',
    'allow 203.0.113.128/25',
  ],
  ['what is not allowed', { allow: ALLOW }, '10.0.0.1', '203.0.113.1', 'closed', 'not allowed'],
  [
    'block wins over allow',
    { block: BLOCK, allow: ALLOW },
    '192.0.2.1',
    undefined,
    'closed',
    'block 192.0.2.0/24',
  ],
  [
    'also by a shorter prefix',
    { block: ['192.0.0.0/8'], allow: ['192.0.2.1'] },
    '192.0.2.1',
    undefined,
    'closed',
    'block 192.0.0.0/8',
  ],
  ['a UNIX client', { block: ['0.0.0.0/0', '::/0'] }, UNIX, UNIX, 'passes', undefined],
  ['a UNIX client is not allowed', { allow: ['0.0.0.0/0', '::/0'] }, UNIX, UNIX, 'closed', 'not allowed'],
  ['a dry run', { block: BLOCK, dryRun: true }, '192.0.2.1', undefined, 'passes', 'block 192.0.2.0/24'],
  ['a dry run of allow', { allow: ALLOW, dryRun: true }, '10.0.0.1', undefined, 'passes', 'not allowed'],
] as [string, AdmissionOptions, string, string | undefined, Outcome, string | undefined][]) {
  test(`${what}: ${outcome}, counted for ${rule ?? 'no rule'}`, (t) => {
    const admitting = admission(options);
    t.is(connect(admitting, source, local), outcome);
    t.deepEqual(countsOf(admitting), rule === undefined ? {} : { [rule]: 1 });
  });
}

test('stats() lists the rules in the order of the options, in canonical form, as a snapshot', (t) => {
  const admitting = admission({ block: ['2001:DB8:0::/32', '192.0.2.7', '::ffff:10.0.0.0/104'] });
  const before = admitting.stats();
  connect(admitting, '10.1.2.3');
  t.deepEqual(before, {
    block: [
      { prefix: '2001:db8::/32', connections: 0 },
      { prefix: '192.0.2.7/32', connections: 0 },
      { prefix: '10.0.0.0/8', connections: 0 },
    ],
    allow: [],
    notAllowed: 0,
  });
  t.is(admitting.stats().block[2]?.connections, 1);
});

test('replace() puts all options in force at once, and rules that stay go on counting', (t) => {
  const admitting = admission({ block: ['192.0.2.0/24', '10.0.0.0/8'], allow: ['198.51.100.0/24'] });
  for (const source of ['192.0.2.1', '10.0.0.1', '198.51.100.1', '172.16.0.1']) connect(admitting, source);
  admitting.replace({ block: ['172.16.0.0/12', '::ffff:192.0.2.0/120'] });
  t.is(connect(admitting, '10.0.0.1'), 'passes');
  t.is(connect(admitting, '172.16.0.1'), 'closed');
  t.is(connect(admitting, '192.0.2.9'), 'closed');
  t.deepEqual(admitting.stats(), {
    block: [
      { prefix: '172.16.0.0/12', connections: 1 },
      { prefix: '192.0.2.0/24', connections: 2 },
    ],
    allow: [],
    notAllowed: 1,
  });
  admitting.replace({ block: ['10.0.0.0/8'], dryRun: true });
  t.is(connect(admitting, '10.0.0.1'), 'passes');
  t.deepEqual(countsOf(admitting), { 'block 10.0.0.0/8': 1, 'not allowed': 1 });
});

for (const [what, options, code, message] of [
  ['a prefix', { block: ['10.0.0.0/8', '10.0.0.0/33'] }, 'BKR_ERR_PREFIX', /^block\[1\] is no prefix/],
  ['host bits', { allow: ['10.0.0.1/8'] }, 'BKR_ERR_PREFIX', /^allow\[0\] .* the prefix is 10\.0\.0\.0\/8$/],
  ['a number', { allow: [10] }, 'BKR_ERR_PREFIX', /^allow\[0\] .* must be a string$/],
  [
    'the same twice',
    { block: ['10.0.0.0/8', '::ffff:10.0.0.0/104'] },
    'BKR_ERR_PREFIX_TWICE',
    /^block\[1\] and block\[0\] .* 10\.0\.0\.0\/8$/,
  ],
  ['a text for a list', { block: '10.0.0.0/8' }, 'BKR_ERR_OPTION', /block must be an array of prefixes$/],
  ['an action', { action: 'drop' }, 'BKR_ERR_OPTION', /action must be 'close' or 'reset'$/],
  [
    'a name',
    { blocks: ['10.0.0.0/8'] },
    'BKR_ERR_OPTION',
    /admission\.blocks must be left out: there are block, allow/,
  ],
  ['dryRun', { dryRun: 'yes' }, 'BKR_ERR_OPTION', /dryRun must be true or false$/],
] as [string, object, string, RegExp][]) {
  test(`refuses ${what} that is wrong; replace() leaves what was there in force`, (t) => {
    t.throws(() => admission(options as AdmissionOptions), { code, message });
    const admitting = admission({ block: ['192.0.2.0/24'] });
    connect(admitting, '192.0.2.1');
    t.throws(() => admitting.replace(options as AdmissionOptions), { code, message });
    t.is(connect(admitting, '192.0.2.1'), 'closed');
    t.is(connect(admitting, '10.0.0.1'), 'passes');
    t.deepEqual(countsOf(admitting), { 'block 192.0.2.0/24': 2 });
  });
}

test('thousands of rules', (t) => {
  const block = Array.from({ length: 20_000 }, (_, nth) => `10.${nth >> 8}.${nth & 255}.0/24`);
  const admitting = admission({ block });
  t.is(connect(admitting, '10.78.31.9'), 'closed');
  t.is(connect(admitting, '10.78.32.9'), 'passes');
  t.deepEqual(countsOf(admitting), { 'block 10.78.31.0/24': 1 });
});
