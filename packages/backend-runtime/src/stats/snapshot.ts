// All numbers of the stats at one moment as plain data: what JSON shows, what Prometheus text is made from, and what those of several
// processes are added up in. schemas/stats-1.schema.json of this package describes it; adding a member is no new version.

import { VERSION } from '../version.js';
import { type Buckets, CELL, CODES, KINDS, Layout, WINDOWS_S } from './layout.js';
import type { LineCounts } from './options.js';
import type { Pair } from './pair.js';

export const SNAPSHOT_VERSION = 1;

export interface HistogramSnapshot {
  /** One for each bound and one for what is above them; each bucket by itself. */
  readonly counts: readonly number[];
  readonly sum: number;
}

type ByCode = Readonly<Record<(typeof CODES)[number], number>>;
type ByKind = Readonly<Record<(typeof KINDS)[number], number>>;
/** Seconds as the key. */
type ByWindow = Readonly<Record<`${(typeof WINDOWS_S)[number]}`, number>>;

export interface PairSnapshot {
  readonly sourceTag: string;
  readonly vip: string;
  readonly requests: ByCode;
  readonly requestPayloadBytes: number;
  readonly responsePayloadBytes: number;
  readonly wireBytes: { readonly in: number; readonly out: number };
  /** Seconds. */
  readonly duration: HistogramSnapshot;
  readonly requestSize: HistogramSnapshot;
  readonly responseSize: HistogramSnapshot;
  /** Seconds. */
  readonly upgraded: HistogramSnapshot;
  readonly connections: ByKind;
  /** Per second. */
  readonly requestRate: ByWindow;
  readonly byteRate: ByWindow;
}

export interface StatsSnapshot {
  readonly version: typeof SNAPSHOT_VERSION;
  /** Milliseconds since 1970. */
  readonly timeMs: number;
  readonly build: { readonly version: string; readonly node: string };
  readonly buckets: Buckets;
  readonly pairs: readonly PairSnapshot[];
  readonly handovers: readonly ({ readonly sourceTag: string } & ByKind)[];
  /** By code. */
  readonly handoverErrors: Readonly<Record<string, number>>;
  readonly ifindexMisses: number;
  readonly pairsOverflow: number;
  /** By what became of them; empty without a log. */
  readonly logtailLines: Readonly<Record<string, number>>;
}

/** Which pairs are wanted; none given: all. */
export interface PairFilter {
  readonly sourceTags?: readonly string[];
  readonly vips?: readonly string[];
}

/** What a snapshot is taken of. */
export interface Counted {
  readonly options: { readonly buckets: Buckets; readonly logtail?: LineCounts | undefined };
  readonly pairs: { readonly pairs: readonly Pair[]; readonly overflowCount: number };
  readonly handovers: ReadonlyMap<string, Float64Array>;
  readonly errors: ReadonlyMap<string, number>;
  readonly missCount: number;
}

/** A turn of the event loop has no more of them: about a millisecond. */
export const PAIRS_A_TURN = 200;

export async function takeSnapshot(counted: Counted, filter: PairFilter = {}): Promise<StatsSnapshot> {
  const { buckets } = counted.options;
  const layout = new Layout(buckets);
  const wanted = counted.pairs.pairs.filter(isWanted(filter));
  const pairs: PairSnapshot[] = [];
  for (const [index, pair] of wanted.entries()) {
    if (index > 0 && index % PAIRS_A_TURN === 0) await nextTurn();
    pairs.push(snapshotOf(pair, layout));
  }
  return {
    version: SNAPSHOT_VERSION,
    timeMs: Date.now(),
    build: { version: VERSION, node: process.versions.node },
    buckets,
    pairs,
    handovers: [...counted.handovers].map(([sourceTag, counts]) => ({
      sourceTag,
      ...named(KINDS, counts, 0),
    })),
    handoverErrors: Object.fromEntries(counted.errors),
    ifindexMisses: counted.missCount,
    pairsOverflow: counted.pairs.overflowCount,
    logtailLines: { ...counted.options.logtail?.lines },
  };
}

/** Lets everybody else go first. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const isWanted =
  ({ sourceTags, vips }: PairFilter) =>
  ({ sourceTag, vip }: Pair): boolean =>
    (sourceTags === undefined || sourceTags.includes(sourceTag)) &&
    (vips === undefined || vips.includes(vip));

const snapshotOf = ({ sourceTag, vip, cells }: Pair, layout: Layout): PairSnapshot => ({
  sourceTag,
  vip,
  requests: named(CODES, cells, CELL.REQUESTS),
  requestPayloadBytes: cells[CELL.REQUEST_PAYLOAD_BYTES] as number,
  responsePayloadBytes: cells[CELL.RESPONSE_PAYLOAD_BYTES] as number,
  wireBytes: { in: cells[CELL.WIRE_BYTES_IN] as number, out: cells[CELL.WIRE_BYTES_OUT] as number },
  duration: layout.duration.read(cells),
  requestSize: layout.requestBytes.read(cells),
  responseSize: layout.responseBytes.read(cells),
  upgraded: layout.upgraded.read(cells),
  connections: named(KINDS, cells, CELL.CONNECTIONS),
  requestRate: named(WINDOWS_S, cells, CELL.REQUEST_RATES),
  byteRate: named(WINDOWS_S, cells, CELL.BYTE_RATES),
});

function named<Name extends string | number>(
  names: readonly Name[],
  cells: Float64Array,
  offset: number,
): Record<`${Name}`, number> {
  const values = {} as Record<`${Name}`, number>;
  names.forEach((name, index) => {
    values[`${name}`] = cells[offset + index] as number;
  });
  return values;
}

/** Those of several processes with the same options, added up. @param snapshots at least one */
export async function addSnapshots(snapshots: readonly StatsSnapshot[]): Promise<StatsSnapshot> {
  const [first] = snapshots as [StatsSnapshot];
  const pairs = new Map<string, PairSnapshot>();
  let done = 0;
  for (const pair of snapshots.flatMap((each) => each.pairs)) {
    if (++done % PAIRS_A_TURN === 0) await nextTurn();
    const key = `${pair.sourceTag} ${pair.vip}`;
    const before = pairs.get(key);
    pairs.set(key, before === undefined ? pair : added(before, pair));
  }
  const handovers = new Map<string, StatsSnapshot['handovers'][number]>();
  for (const each of snapshots.flatMap((snapshot) => snapshot.handovers)) {
    const before = handovers.get(each.sourceTag);
    handovers.set(each.sourceTag, before === undefined ? each : added(before, each));
  }
  return {
    ...first,
    timeMs: Math.max(...snapshots.map(({ timeMs }) => timeMs)),
    pairs: [...pairs.values()],
    handovers: [...handovers.values()],
    handoverErrors: snapshots
      .map(({ handoverErrors }) => handoverErrors)
      .reduce((sum, each) => added(sum, each)),
    ifindexMisses: snapshots
      .map(({ ifindexMisses }) => ifindexMisses)
      .reduce((sum, each) => added(sum, each)),
    pairsOverflow: snapshots
      .map(({ pairsOverflow }) => pairsOverflow)
      .reduce((sum, each) => added(sum, each)),
    logtailLines: snapshots.map(({ logtailLines }) => logtailLines).reduce((sum, each) => added(sum, each)),
  };
}

/** Adds numbers wherever they are; what names something is that of the first. Processes of different releases may lack something. */
function added<Value>(first: Value, second: Value): Value {
  if (first === undefined || second === undefined) return first ?? second;
  if (typeof first === 'number') return (first + (second as number)) as Value;
  if (Array.isArray(first)) {
    return first.map((item, index) => added(item, (second as unknown[])[index])) as Value;
  }
  if (typeof first !== 'object' || first === null) return first;
  const one = first as Record<string, unknown>;
  const other = second as Record<string, unknown>;
  const result: Record<string, unknown> = {};
  for (const name of Object.keys({ ...one, ...other })) result[name] = added(one[name], other[name]);
  return result as Value;
}
