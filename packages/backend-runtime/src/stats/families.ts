// The metrics by their public names: which numbers of a snapshot each of them shows, under which labels. Names and labels stay as they are.
import type { HistogramSnapshot, PairSnapshot, StatsSnapshot } from './snapshot.js';

export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** Where it is not the metric's own: `_bucket`, `_sum`, `_count`. */
  readonly metricName?: string;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
}

/** A metric of each pair. */
export interface PairFamily extends Family {
  samples(pair: PairSnapshot, snapshot: StatsSnapshot): readonly Sample[];
}

/** A metric of all together. */
export interface OverallFamily extends Family {
  samples(snapshot: StatsSnapshot): readonly Sample[];
}

type Labels = Sample['labels'];

const labelsOf = ({ sourceTag, vip }: PairSnapshot): Labels => ({ source_tag: sourceTag, vip });

/** One sample for each entry, the key as one more label. */
const each =
  (label: string, entries: (pair: PairSnapshot) => Readonly<Record<string, number>>) =>
  (pair: PairSnapshot): Sample[] =>
    Object.entries(entries(pair)).map(([key, value]) => ({
      labels: { ...labelsOf(pair), [label]: key },
      value,
    }));

const one =
  (value: (pair: PairSnapshot) => number) =>
  (pair: PairSnapshot): Sample[] => [{ labels: labelsOf(pair), value: value(pair) }];

/** Buckets add up as Prometheus has them: each has all that is at most its bound. */
const histogram =
  (
    name: string,
    read: (pair: PairSnapshot) => HistogramSnapshot,
    bounds: (snapshot: StatsSnapshot) => readonly number[],
  ) =>
  (pair: PairSnapshot, snapshot: StatsSnapshot): Sample[] => {
    const { counts, sum } = read(pair);
    const labels = labelsOf(pair);
    const limits = [...bounds(snapshot), '+Inf'];
    let total = 0;
    const samples = counts.map((count, index): Sample => {
      total += count;
      return {
        metricName: `${name}_bucket`,
        labels: { ...labels, le: limits[index] as number | string },
        value: total,
      };
    });
    samples.push({ metricName: `${name}_sum`, labels, value: sum });
    samples.push({ metricName: `${name}_count`, labels, value: total });
    return samples;
  };

const DURATION = 'fdpass_request_duration_seconds';
const REQUEST_SIZE = 'fdpass_request_size_bytes';
const RESPONSE_SIZE = 'fdpass_response_size_bytes';
const UPGRADED = 'fdpass_upgraded_connection_seconds';

export const PAIR_FAMILIES: readonly PairFamily[] = [
  {
    name: 'fdpass_requests_total',
    help: 'Requests whose answers are done, by class of status; unknown: the client left before there was one.',
    type: 'counter',
    samples: each('code', ({ requests }) => requests),
  },
  {
    name: 'fdpass_request_payload_bytes_total',
    help: 'Bytes of request bodies, without framing, and what came over upgraded connections.',
    type: 'counter',
    samples: one(({ requestPayloadBytes }) => requestPayloadBytes),
  },
  {
    name: 'fdpass_response_payload_bytes_total',
    help: 'Bytes of answers without heads and framing, and what went over upgraded connections.',
    type: 'counter',
    samples: one(({ responsePayloadBytes }) => responsePayloadBytes),
  },
  {
    name: 'fdpass_wire_bytes_total',
    help: 'TCP payload since the handover, each byte once: retransmissions do not count.',
    type: 'counter',
    samples: each('direction', ({ wireBytes }) => wireBytes),
  },
  {
    name: DURATION,
    help: 'From the head of a request to the end of its answer.',
    type: 'histogram',
    samples: histogram(
      DURATION,
      ({ duration }) => duration,
      ({ buckets }) => buckets.durationSeconds,
    ),
  },
  {
    name: REQUEST_SIZE,
    help: 'Bytes of the body of a request.',
    type: 'histogram',
    samples: histogram(
      REQUEST_SIZE,
      ({ requestSize }) => requestSize,
      ({ buckets }) => buckets.requestBytes,
    ),
  },
  {
    name: RESPONSE_SIZE,
    help: 'Bytes of the body of an answer.',
    type: 'histogram',
    samples: histogram(
      RESPONSE_SIZE,
      ({ responseSize }) => responseSize,
      ({ buckets }) => buckets.responseBytes,
    ),
  },
  {
    name: UPGRADED,
    help: 'How long upgraded connections (WebSocket) and streams of server-sent events lasted.',
    type: 'histogram',
    samples: histogram(
      UPGRADED,
      ({ upgraded }) => upgraded,
      ({ buckets }) => buckets.upgradedSeconds,
    ),
  },
  {
    name: 'fdpass_connections',
    help: 'Connections open now, by kind of handover.',
    type: 'gauge',
    samples: each('kind', ({ connections }) => connections),
  },
  {
    name: 'fdpass_request_rate',
    help: 'Requests per second, an exponentially weighted average over so many seconds.',
    type: 'gauge',
    samples: each('window', ({ requestRate }) => inSeconds(requestRate)),
  },
  {
    name: 'fdpass_byte_rate',
    help: 'Payload bytes per second, both ways, an exponentially weighted average over so many seconds.',
    type: 'gauge',
    samples: each('window', ({ byteRate }) => inSeconds(byteRate)),
  },
];

const inSeconds = (rates: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(rates).map(([seconds, rate]) => [`${seconds}s`, rate]));

export const OVERALL_FAMILIES: readonly OverallFamily[] = [
  {
    name: 'fdpass_handovers_total',
    help: 'Handovers received, by kind.',
    type: 'counter',
    samples: ({ handovers }) =>
      handovers.flatMap(({ sourceTag, ...kinds }) =>
        Object.entries(kinds).map(([kind, value]) => ({ labels: { source_tag: sourceTag, kind }, value })),
      ),
  },
  {
    name: 'fdpass_handover_errors_total',
    help: 'Handovers that failed, by error code (docs/errors.md).',
    type: 'counter',
    samples: ({ handoverErrors }) =>
      Object.entries(handoverErrors).map(([reason, value]) => ({ labels: { reason }, value })),
  },
  {
    name: 'fdpass_ifindex_misses_total',
    help: 'Connections from an interface that no rule names: they have the default tag.',
    type: 'counter',
    samples: ({ ifindexMisses }) => [{ labels: {}, value: ifindexMisses }],
  },
  {
    name: 'fdpass_pairs_overflow_total',
    help: 'Connections that were counted as overflow, because there are too many pairs of tag and address.',
    type: 'counter',
    samples: ({ pairsOverflow }) => [{ labels: {}, value: pairsOverflow }],
  },
  {
    name: 'fdpass_logtail_lines_total',
    help: 'Lines of the log, by what became of them.',
    type: 'counter',
    samples: ({ logtailLines }) =>
      Object.entries(logtailLines).map(([result, value]) => ({ labels: { result }, value })),
  },
  {
    name: 'fdpass_build_info',
    help: 'Always 1; the labels tell the versions.',
    type: 'gauge',
    samples: ({ build }) => [{ labels: { ...build }, value: 1 }],
  },
];
