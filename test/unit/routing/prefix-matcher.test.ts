// Which value a request gets by its connection, and which rules are refused. How patterns are matched: connection-table.test.ts.
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import test from 'ava';
import { ConnectionFacts, registerSocket } from '#runtime/connection-info.js';
import { type PrefixRule, prefixMatcher } from '#runtime/routing/prefix-matcher.js';
import { requestEntries, standIn } from '../../helpers/stand-in-handover.js';

interface From {
  client?: string;
  local?: string;
  port?: string;
  tag?: string;
}

/** A relay's request: all it knows is what the sender says. */
function request({ client = '192.0.2.1', local = '203.0.113.1', port = '80', tag }: From): IncomingMessage {
  const entries = requestEntries(['REMOTE_ADDR', client], ['SERVER_ADDR', local], ['SERVER_PORT', port]);
  const facts = new ConnectionFacts(standIn(entries, { kind: 'relay' }), () => undefined);
  facts.sourceTag = tag;
  const socket = new Socket();
  registerSocket(socket, facts);
  return { httpVersion: '1.1', socket } as IncomingMessage;
}

const RULES: readonly PrefixRule<string>[] = [
  { localPrefix: '203.0.113.0/24', value: 'site' },
  { localPrefix: '203.0.113.0/24', port: 443, value: 'tls' },
  { localPrefix: '203.0.113.128/25', sourcePrefix: '198.51.100.0/24', value: 'partner' },
  { ingress: 'mg1', value: 'by mg1' },
  { localPrefix: '2001:db8::1', value: 'one address' },
];

for (const [what, from, value] of [
  ['the local prefix', {}, 'site'],
  ['the port', { port: '443' }, 'tls'],
  ['the source', { local: '203.0.113.129', client: '198.51.100.1' }, 'partner'],
  ['the shorter prefix where the longer one is for another source', { local: '203.0.113.129' }, 'site'],
  ['the source tag', { local: '10.0.0.1', tag: 'mg1' }, 'by mg1'],
  ['an IPv6 address', { local: '2001:db8::1' }, 'one address'],
  ['nothing', { local: '10.0.0.1', tag: 'mg2' }, undefined],
  ['nothing, for a UNIX client', { local: 'unix:', client: 'unix:' }, undefined],
] as [string, From, string | undefined][]) {
  test(`matches by ${what}`, (t) => {
    t.is(prefixMatcher(RULES)(request(from)), value);
    t.is(prefixMatcher(RULES)(request(from).socket), value);
  });
}

test('a rule without anything is for every connection; a request that did not come by handover has none', (t) => {
  const matchPrefix = prefixMatcher([{ value: 'all' }]);
  t.is(matchPrefix(request({ client: 'unix:', local: 'unix:' })), 'all');
  t.is(matchPrefix({ httpVersion: '1.1', socket: new Socket() } as IncomingMessage), undefined);
  t.is(matchPrefix(new Socket()), undefined);
});

test('what is undefined is left out', (t) => {
  const rule = { localPrefix: undefined, port: undefined, sourcePrefix: undefined, ingress: undefined };
  t.is(prefixMatcher([{ ...rule, value: 1 }])(request({})), 1);
});

for (const [what, rules, code, message] of [
  ['no list', undefined, 'BKR_ERR_OPTION', /rules must be an array$/],
  ['no object', ['203.0.113.0/24'], 'BKR_ERR_OPTION', /rules\[0\] must be an object$/],
  [
    'an unknown member',
    [{ localPrefx: '203.0.113.0/24', value: 1 }],
    'BKR_ERR_OPTION',
    /rules\[0\]\.localPrefx must be left out: there are localPrefix, port, sourcePrefix, ingress, value$/,
  ],
  [
    'a local prefix',
    [{ value: 1 }, { localPrefix: '203.0.113.0/33', value: 1 }],
    'BKR_ERR_PREFIX',
    /^rules\[1\]\.localPrefix is no prefix/,
  ],
  [
    'host bits',
    [{ sourcePrefix: '203.0.113.7/24', value: 1 }],
    'BKR_ERR_PREFIX',
    /^rules\[0\]\.sourcePrefix .* the prefix is 203\.0\.113\.0\/24$/,
  ],
  [
    'a port',
    [{ port: 0, value: 1 }],
    'BKR_ERR_OPTION',
    /rules\[0\]\.port must be an integer from 1 to 65535$/,
  ],
  ['a port as text', [{ port: '80', value: 1 }], 'BKR_ERR_OPTION', /rules\[0\]\.port/],
  [
    'an interface',
    [{ ingress: '', value: 1 }],
    'BKR_ERR_OPTION',
    /rules\[0\]\.ingress must be the source tag/,
  ],
  ['no value', [{ ingress: 'mg1' }], 'BKR_ERR_OPTION', /rules\[0\]\.value must be there$/],
  [
    'the same twice',
    [
      { localPrefix: '::ffff:10.0.0.0/104', value: 1 },
      { localPrefix: '10.0.0.0/8', value: 2 },
    ],
    'BKR_ERR_PREFIX_TWICE',
    /^rules\[1\] and rules\[0\]/,
  ],
] as [string, PrefixRule<number>[], string, RegExp][]) {
  test(`refuses ${what}`, (t) => {
    t.throws(() => prefixMatcher(rules), { code, message });
  });
}
