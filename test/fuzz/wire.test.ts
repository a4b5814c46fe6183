// The wire codecs against inputs nobody thought of. Each property runs for a time box; the seed is printed, and
// FUZZ_SEED=<seed> repeats it. FUZZ_MS sets the time box of one property.

import { readdirSync, readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { WireError } from '#scgi/errors.js';
import { wireLimits } from '#scgi/limits.js';
import { encodeMessage, MessageDecoder } from '#scgi/message.js';
import { encodeNetstring } from '#scgi/netstring.js';
import { encodeScgiHeaders, SINGLETON_NAMES } from '#scgi/scgi-headers.js';
import { decodeChunks, decodeWhole, type Outcome, singleBytes } from '../conformance/decode.js';
import { CONFORMANCE_FOLDER } from '../conformance/vectors.js';

const timeBoxMs = Number(process.env.FUZZ_MS ?? 3000);
/** A case of some 100 KiB takes milliseconds; the bound only tells linear from quadratic on a busy machine. */
const MAX_CASE_MS = 2000;

function holds<T extends unknown[]>(t: ExecutionContext, property: fc.IProperty<T>): void {
  const seed = Number(process.env.FUZZ_SEED ?? Math.trunc(Math.random() * 2 ** 31));
  const details = fc.check(property, { seed, numRuns: 1_000_000, interruptAfterTimeLimit: timeBoxMs });
  t.log(`seed ${seed}, ${details.numRuns} runs`);
  t.false(details.failed, fc.defaultReportMessage(details));
  t.true(details.numRuns > 0, 'the time box was too small for one run');
}

const latin1 = (alphabet: fc.Arbitrary<number>, minLength: number, maxLength: number): fc.Arbitrary<string> =>
  fc.array(alphabet, { minLength, maxLength }).map((codes) => String.fromCharCode(...codes));
const notNul = fc.integer({ min: 1, max: 255 });

const headerName = fc
  .oneof(
    fc.constantFrom('HTTP_COOKIE', 'HTTP_X_FORWARDED_FOR', '__proto__', 'constructor', 'a', ''),
    latin1(notNul, 1, 20),
  )
  .filter((name) => name !== '' && !SINGLETON_NAMES.has(name));
const header = fc.tuple(headerName, latin1(notNul, 0, 40));
const bytesUpTo = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

/** Cuts at any places, also twice at one place: then a chunk is empty. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, at) => bytes.subarray(ends[at - 1] ?? 0, end));
}
const places = fc.array(fc.nat(100_000), { maxLength: 8 });

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

/** Decodes whole, cut and byte by byte; throws if these differ or if one takes longer than linear work can. */
function decodeEveryWay(bytes: Buffer, at: readonly number[], limits = wireLimits()): Outcome {
  const start = performance.now();
  const { outcome } = decodeChunks([bytes], limits);
  const whole = decodeWhole(bytes, limits);
  if (JSON.stringify(whole) !== JSON.stringify(outcome)) {
    throw new Error(`in one piece: ${JSON.stringify(whole)}, by the decoder: ${JSON.stringify(outcome)}`);
  }
  for (const chunks of [cut(bytes, at), singleBytes(bytes)]) {
    const other = decodeChunks(chunks, limits).outcome;
    if (JSON.stringify(other) !== JSON.stringify(outcome)) {
      throw new Error(`cut: ${JSON.stringify(other)}, whole: ${JSON.stringify(outcome)}`);
    }
  }
  const tookMs = performance.now() - start;
  if (tookMs > MAX_CASE_MS) throw new Error(`${bytes.length} bytes took ${tookMs} ms`);
  return outcome;
}

/** What a decoded message says about its netstring must be what the bytes say. */
function isFaithful(bytes: Buffer, outcome: Outcome): boolean {
  if (outcome.kind !== 'message') return true;
  const behind = Buffer.from(outcome.earlyBytes + outcome.rest, 'latin1');
  return Buffer.concat([encodeNetstring(encodeScgiHeaders(outcome.headers)), behind]).equals(bytes);
}

test('what is encoded comes out again, however it is cut', (t) => {
  const property = fc.property(
    fc.array(header, { maxLength: 40 }),
    fc.constantFrom('fd_pass' as const, 'plain' as const),
    fc.constantFrom(undefined, '1' as const),
    fc.constantFrom(undefined, '0' as const, '1' as const),
    fc.constantFrom(undefined, '0' as const, '1' as const),
    bytesUpTo(200),
    bytesUpTo(50),
    places,
    (headers, dialect, version, ktls, keepAlive, body, behind, at) => {
      const all: [string, string][] = [...headers];
      if (version !== undefined) all.unshift(['FD_PASS_VERSION', version]);
      if (ktls !== undefined) all.push(['KTLS_RX', ktls]);
      if (keepAlive !== undefined) all.push(['FD_PASS_KEEPALIVE', keepAlive]);
      const bytes = Buffer.concat([encodeMessage({ headers: all, earlyBytes: body, dialect }), behind]);
      const plain = dialect === 'plain';
      const expected: Outcome = {
        kind: 'message',
        facts: {
          dialect,
          version: plain || version === undefined ? 0 : 1,
          ktls: plain || ktls === undefined ? 'none' : ktls === '1' ? 'full' : 'partial',
          contentLength: body.length,
          keepAlive: !plain && version === '1' && ktls !== '0' && keepAlive === '1',
        },
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
