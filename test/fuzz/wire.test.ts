// The wire codecs against inputs nobody thought of.

import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { WireError } from '#scgi/errors.js';
import { wireLimits } from '#scgi/limits.js';
import { encodeMessage, MessageDecoder } from '#scgi/message.js';
import { encodeNetstring } from '#scgi/netstring.js';
import { encodeScgiHeaders } from '#scgi/scgi-headers.js';
import type { Outcome, Way } from '../conformance/decode.js';
import { CONFORMANCE_FOLDER } from '../conformance/vectors.js';
import { bytesUpTo, decodeEveryWay, header, holds, places } from './wire-inputs.js';

const captures = readdirSync(new URL('captures/', CONFORMANCE_FOLDER)).map((name) =>
  readFileSync(new URL(`captures/${name}`, CONFORMANCE_FOLDER)),
);

/** One mutation: `count` bytes at `place` are replaced by `bytes`, `times` over. */
const mutation = fc.record({
  place: fc.nat(8000),
  count: fc.oneof(fc.constant(0), fc.nat(40)),
  bytes: fc.oneof(
    bytesUpTo(8),
    fc
      .constantFrom(
        '\0',
        ',',
        ':',
        '\0\0',
        'SCGI\0',
        'KTLS_RX\x000\0',
        'FD_PASS_KEEPALIVE\x001\0',
        'FD_PASS_VERSION\x001\0',
        'FD_PASS_VIA\x001\0FD_PASS_VIA_PID\x001\0FD_PASS_VIA_UID\x001\0FD_PASS_VIA_GID\x001\0',
        'FD_PASS_RELAY\x009\0',
        '0',
        'HTTP_HOST\0a\0',
        '9',
        '0',
        'A\0b\0',
        '1+fd_pass',
      )
      .map((text) => Buffer.from(text, 'latin1')),
  ),
  times: fc.oneof({ weight: 9, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: fc.nat(3000) }),
});
type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

function mutate(bytes: Buffer, mutations: readonly Mutation[]): Buffer {
  return mutations.reduce((current, { place, count, bytes: piece, times }) => {
    const at = place % (current.length + 1);
    const pieces = Buffer.alloc(piece.length * times, piece);
    return Buffer.concat([current.subarray(0, at), pieces, current.subarray(at + count)]);
  }, bytes);
}

/** What a decoded message says about its netstring must be what the bytes say. */
function isFaithful(bytes: Buffer, outcome: Outcome): boolean {
  if (outcome.kind !== 'message') return true;
  const behind = Buffer.from(outcome.earlyBytes + outcome.rest, 'latin1');
  return Buffer.concat([encodeNetstring(encodeScgiHeaders(outcome.headers)), behind]).equals(bytes);
}

const id = fc.nat(2 ** 31 - 1);
const way = fc
  .record({
    hops: fc.integer({ min: 1, max: 99 }),
    firstVersion: fc.constantFrom(0 as const, 1 as const),
    firstSender: fc.tuple(id, id, id).map((ids) => ids.join(' ')),
    relayLength: fc.option(fc.maxSafeNat(), { nil: undefined }),
  })
  .map(({ relayLength, ...rest }): PassedOn => (relayLength === undefined ? rest : { ...rest, relayLength }));
type PassedOn = Omit<Way, 'kind'> & { firstSender: string };

/** As a router writes them. */
function routerHeaders({ hops, firstVersion, firstSender, relayLength }: PassedOn): [string, string][] {
  const [pid = '', uid = '', gid = ''] = firstSender.split(' ');
  const headers: [string, string][] = [
    ['FD_PASS_VIA', String(hops)],
    ['FD_PASS_VIA_PID', pid],
    ['FD_PASS_VIA_UID', uid],
    ['FD_PASS_VIA_GID', gid],
  ];
  if (firstVersion === 0) headers.push(['FD_PASS_VIA_VERSION', '0']);
  if (relayLength !== undefined) headers.push(['FD_PASS_RELAY', String(relayLength)]);
  return headers;
}

test('what is encoded comes out again, however it is cut', (t) => {
  const property = fc.property(
    fc.array(header, { maxLength: 40 }),
    fc.constantFrom('fd_pass' as const, 'plain' as const),
    fc.constantFrom(undefined, '1' as const),
    fc.constantFrom(undefined, '0' as const, '1' as const),
    fc.constantFrom(undefined, '0' as const, '1' as const),
    fc.option(way, { nil: undefined }),
    bytesUpTo(200),
    bytesUpTo(50),
    places,
    (headers, dialect, version, ktls, keepAlive, via, body, behind, at) => {
      const all: [string, string][] = [...headers, ...(via === undefined ? [] : routerHeaders(via))];
      if (version !== undefined) all.unshift(['FD_PASS_VERSION', version]);
      if (ktls !== undefined) all.push(['KTLS_RX', ktls]);
      if (keepAlive !== undefined) all.push(['FD_PASS_KEEPALIVE', keepAlive]);
      const bytes = Buffer.concat([encodeMessage({ headers: all, earlyBytes: body, dialect }), behind]);
      const plain = dialect === 'plain';
      const isRead = !plain && version === '1' && via !== undefined;
      const isRelay = isRead && via.relayLength !== undefined;
      const hasKtls = !plain && !isRelay && ktls !== undefined;
      const kind = plain || isRelay ? 'relay' : ktls === '0' ? 'partial' : 'full';
      const expected: Outcome = {
        kind: 'message',
        facts: {
          dialect,
          version: plain || version === undefined ? 0 : 1,
          ktls: !hasKtls ? 'none' : ktls === '1' ? 'full' : 'partial',
          contentLength: body.length,
          keepAlive: kind === 'full' && version === '1' && keepAlive === '1',
        },
        way: isRead ? { kind, ...via } : { kind, hops: 0 },
        headers: [['CONTENT_LENGTH', String(body.length)], ['SCGI', plain ? '1' : '1+fd_pass'], ...all],
        earlyBytes: plain ? '' : body.toString('latin1'),
        rest: (plain ? Buffer.concat([body, behind]) : behind).toString('latin1'),
      };
      return JSON.stringify(decodeEveryWay(bytes, at)) === JSON.stringify(expected);
    },
  );
  holds(t, property);
});

test('a mutated capture is a message, an error of ours or unfinished, and all cuts agree', (t) => {
  const property = fc.property(
    fc.constantFrom(...captures),
    fc.array(mutation, { minLength: 1, maxLength: 4 }),
    places,
    (capture, mutations, at) => {
      const bytes = mutate(capture, mutations);
      const outcome = decodeEveryWay(bytes, at);
      // Zeros in front of CONTENT_LENGTH and the like survive, as the headers keep their text: so the bytes must come back.
      return isFaithful(bytes, outcome);
    },
  );
  holds(t, property);
});

test('mutated headers inside a correct netstring reach the header rules and break nothing', (t) => {
  const property = fc.property(
    fc.constantFrom(...captures),
    fc.array(mutation, { minLength: 1, maxLength: 4 }),
    places,
    fc.constantFrom(wireLimits(), wireLimits({ maxHeaders: 20, maxHeaderValueBytes: 64, maxEarlyBytes: 5 })),
    (capture, mutations, at, limits) => {
      const colon = capture.indexOf(':');
      const payload = capture.subarray(colon + 1, colon + 1 + Number(capture.toString('latin1', 0, colon)));
      const bytes = Buffer.concat([encodeNetstring(mutate(payload, mutations)), Buffer.from('name=value')]);
      return isFaithful(bytes, decodeEveryWay(bytes, at, limits));
    },
  );
  holds(t, property);
});

test('payloads put together from the names and values of the protocol break nothing', (t) => {
  const name = fc.constantFrom(
    'CONTENT_LENGTH',
    'SCGI',
    'KTLS_RX',
    'FD_PASS_VERSION',
    'FD_PASS_VIA',
    'FD_PASS_VIA_PID',
    'FD_PASS_VIA_UID',
    'FD_PASS_VIA_GID',
    'FD_PASS_RELAY',
    'HTTP_HOST',
    'A',
    '',
    'A\0',
  );
  const value = fc.constantFrom('1+fd_pass', '1', '0', '3', '', '1\0', '9007199254740992');
  const payload = fc
    .tuple(
      value,
      fc.constantFrom('1+fd_pass', '1+fd_pass', '1'),
      fc.array(fc.tuple(name, value), { maxLength: 4 }),
    )
    .map(([length, dialect, more]) =>
      Buffer.from(
        [['CONTENT_LENGTH', length], ['SCGI', dialect], ...more, []]
          .map((pair) => pair.join('\0'))
          .join('\0'),
      ),
    );
  const property = fc.property(payload, bytesUpTo(6), places, (headers, behind, at) => {
    const bytes = Buffer.concat([encodeNetstring(headers), behind]);
    return isFaithful(bytes, decodeEveryWay(bytes, at));
  });
  holds(t, property);
});

test('random bytes break nothing', (t) => {
  const digitsFirst = fc
    .tuple(fc.stringMatching(/^[0-9]{0,7}:?$/), bytesUpTo(60))
    .map(([digits, bytes]) => Buffer.concat([Buffer.from(digits), bytes]));
  const property = fc.property(fc.oneof(bytesUpTo(100), digitsFirst), places, (bytes, at) =>
    isFaithful(bytes, decodeEveryWay(bytes, at)),
  );
  holds(t, property);
});

test('after an error, whatever follows meets the same error', (t) => {
  const property = fc.property(bytesUpTo(40), fc.array(bytesUpTo(40), { maxLength: 4 }), (bytes, more) => {
    const decoder = new MessageDecoder();
    let first: unknown;
    try {
      decoder.push(bytes);
      return true;
    } catch (error) {
      first = error;
    }
    return (
      first instanceof WireError &&
      first.scope === 'connection' &&
      more.every((chunk) => {
        try {
          decoder.push(chunk);
          return false;
        } catch (error) {
          return error === first;
        }
      })
    );
  });
  holds(t, property);
});
