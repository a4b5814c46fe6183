// The options of the stats, their bounds and defaults.
import { type InterfaceRule, SOURCE_TAG } from '../ingress/interface-rules.js';
import { checkInteger, checkOption, MAX_TIMER_MS } from '../option-check.js';
import type { Logger } from '../options.js';
import { type Buckets, DEFAULT_BUCKETS } from './layout.js';

export interface InterfaceStatsOptions {
  /** Source tags by ingress interface. @default none: everything has the default tag */
  interfaces?: readonly InterfaceRule[];
  /** Of traffic that no rule names: 1 to 64 of letters, digits and `_.:-`. @default 'direct' */
  defaultTag?: string;
  /** Milliseconds between looks at all interfaces, besides what the kernel tells of changes; 0 for none. @default 60000 */
  rescanIntervalMs?: number;
  /** Whether addresses are told with their ports. @default false */
  vipPort?: boolean;
  /** Pairs of tag and address, 1 to 1000000; beyond that all are counted as one, `overflow`. @default 10000 */
  maxPairs?: number;
  /** Upper bounds of the histograms, strictly increasing, 1 to 64 each. @default for web traffic */
  buckets?: Partial<Buckets>;
  /** The log whose lines are counted as `fdpass_logtail_lines_total`, such as that of openLogtail(). @default none */
  logtail?: LineCounts;
  /** Told once if the kernel does not tell of changes. @default process warnings */
  logger?: Logger;
}

/** Lines by what became of them. */
export interface LineCounts {
  readonly lines: Readonly<Record<string, number>>;
}

export interface ResolvedStatsOptions
  extends Required<Omit<InterfaceStatsOptions, 'buckets' | 'logger' | 'logtail'>> {
  readonly logtail: LineCounts | undefined;
  readonly buckets: Buckets;
  readonly logger: Logger | undefined;
}

const MAX_PAIRS = 1_000_000;
const MAX_BOUNDS = 64;

/** @throws `BKR_ERR_OPTION` */
export function resolveStatsOptions(options: InterfaceStatsOptions): ResolvedStatsOptions {
  const { interfaces = [], defaultTag = 'direct', rescanIntervalMs = 60_000, vipPort = false } = options;
  const { maxPairs = 10_000, buckets = {}, logger, logtail } = options;
  checkOption(
    'defaultTag',
    SOURCE_TAG.test(defaultTag),
    '1 to 64 letters, digits, "_", ".", ":" or "-", a letter or digit first',
  );
  checkInteger('rescanIntervalMs', rescanIntervalMs, 0, MAX_TIMER_MS);
  checkOption('vipPort', typeof vipPort === 'boolean', 'true or false');
  checkInteger('maxPairs', maxPairs, 1, MAX_PAIRS);
  return {
    interfaces,
    defaultTag,
    rescanIntervalMs,
    vipPort,
    maxPairs,
    buckets: resolveBuckets(buckets),
    logger,
    logtail,
  };
}

function resolveBuckets(given: Partial<Buckets>): Buckets {
  for (const name of Object.keys(given)) {
    checkOption(
      `buckets.${name}`,
      Object.hasOwn(DEFAULT_BUCKETS, name),
      `one of ${Object.keys(DEFAULT_BUCKETS).join(', ')}`,
    );
  }
  for (const [name, bounds] of Object.entries(given) as [string, readonly number[]][]) {
    checkOption(
      `buckets.${name}`,
      Array.isArray(bounds) && bounds.length >= 1 && bounds.length <= MAX_BOUNDS,
      `1 to ${MAX_BOUNDS} numbers`,
    );
    for (const [index, bound] of bounds.entries()) {
      const before = bounds[index - 1] ?? 0;
      checkOption(
        `buckets.${name}[${index}]`,
        Number.isFinite(bound) && (bound > before || (index === 0 && bound === 0)),
        index === 0 ? 'a number from 0' : `above the one before, ${before}`,
      );
    }
  }
  return { ...DEFAULT_BUCKETS, ...given };
}
