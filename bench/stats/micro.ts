// The stats by themselves: nanoseconds for one request's counting, bytes for a pair, and how long a scrape of many pairs keeps the event
// loop to itself.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { interfaceStats, scrapeListener } from '@fdpass/backend-runtime';
import { DEFAULT_BUCKETS, Layout } from '#runtime/stats/layout.js';
import { Pair } from '#runtime/stats/pair.js';

export interface MicroFigures {
  /** Of `countRequest` and `recordDuration`. */
  readonly nanosecondsPerRequest: number;
  readonly bytesPerPair: number;
  readonly scrapedPairs: number;
  /** Longest time that the loop did nothing else during a scrape, by format. */
  readonly longestBlockMs: Readonly<Record<'prometheus' | 'json', number>>;
}

const REQUESTS = 5_000_000;
const PAIRS = 10_000;

export async function microFigures(): Promise<MicroFigures> {
  return {
    nanosecondsPerRequest: nanosecondsPerRequest(),
    bytesPerPair: bytesPerPair(),
    scrapedPairs: PAIRS,
    longestBlockMs: { prometheus: await longestBlockMs('prometheus'), json: await longestBlockMs('json') },
  };
}

function nanosecondsPerRequest(): number {
  const pair = new Pair(new Layout(DEFAULT_BUCKETS), 'tag', '192.0.2.1');
  const run = (): void => {
    for (let number = 0; number < REQUESTS; number++) {
      pair.countRequest(200, number & 1023, number & 65_535);
      pair.recordDuration((number & 255) / 10_000);
    }
  };
  run();
  const startMs = performance.now();
  run();
  return ((performance.now() - startMs) / REQUESTS) * 1e6;
}

function bytesPerPair(): number {
  const layout = new Layout(DEFAULT_BUCKETS);
  const used = (): number => {
    globalThis.gc?.();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = used();
  const pairs = Array.from({ length: PAIRS }, (_, at) => new Pair(layout, 'tag', `192.0.2.${at}`));
  const after = used();
  return (after - before) / pairs.length;
}

/** The third of three scrapes: the code is warm then. */
async function longestBlockMs(format: string): Promise<number> {
  const stats = interfaceStats();
  for (let at = 0; at < PAIRS; at++)
    stats.pairs.pair('tag', `2001:db8::${at.toString(16)}`).countRequest(200, 1, 1);
  let longestMs = 0;
  for (let times = 0; times < 3; times++) {
    longestMs = 0;
    let isDone = false;
    let turnedMs = performance.now();
    const turn = (): void => {
      const nowMs = performance.now();
      longestMs = Math.max(longestMs, nowMs - turnedMs);
      turnedMs = nowMs;
      if (!isDone) setImmediate(turn);
    };
    setImmediate(turn);
    await scrape(stats, format);
    isDone = true;
  }
  return longestMs;
}

function scrape(stats: ReturnType<typeof interfaceStats>, format: string): Promise<void> {
  const response = Object.assign(new Writable({ write: (_chunk, _encoding, done) => done() }), {
    writeHead: () => response,
  });
  const request = { method: 'GET', url: `/?format=${format}`, headers: {} };
  return scrapeListener(stats)(request as IncomingMessage, response as unknown as ServerResponse);
}
