// What the properties of the wire codecs have in common: how long each runs, what their messages are made of, and how they are decoded.
// Each property runs for a time box; the seed is printed, and FUZZ_SEED=<seed> repeats it. FUZZ_MS sets the time box of one property.

import type { ExecutionContext } from 'ava';
import fc from 'fast-check';
import { wireLimits } from '#scgi/limits.js';
import { SINGLETON_NAMES } from '#scgi/scgi-headers.js';
import { decodeChunks, decodeWhole, type Outcome, singleBytes } from '../conformance/decode.js';

const timeBoxMs = Number(process.env.FUZZ_MS ?? 3000);
/** A case of some 100 KiB takes milliseconds; the bound only tells linear from quadratic on a busy machine. */
const MAX_CASE_MS = 2000;

/** Looks for a case in which the property does not hold. */
export function holds<T extends unknown[]>(t: ExecutionContext, property: fc.IProperty<T>): void {
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
/** Of a name that may repeat. */
export const header = fc.tuple(headerName, latin1(notNul, 0, 40));
export const bytesUpTo = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

/** Cuts at any places, also twice at one place: then a chunk is empty. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, at) => bytes.subarray(ends[at - 1] ?? 0, end));
}
/** Where to cut. */
export const places = fc.array(fc.nat(100_000), { maxLength: 8 });

/** Decodes whole, cut and byte by byte; throws if these differ or if one takes longer than linear work can. */
export function decodeEveryWay(bytes: Buffer, at: readonly number[], limits = wireLimits()): Outcome {
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
