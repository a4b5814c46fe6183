// The text formats of a snapshot, and several snapshots added up.
import test from 'ava';
import prometheus from 'prom-client';
import { DEFAULT_BUCKETS, Layout } from '#runtime/stats/layout.js';
import { PairTable } from '#runtime/stats/pair-table.js';
import { prometheusText } from '#runtime/stats/prometheus.js';
import { addSnapshots, type StatsSnapshot, takeSnapshot } from '#runtime/stats/snapshot.js';

const buckets = { ...DEFAULT_BUCKETS, durationSeconds: [0.1, 1] };

/** Of `count` pairs, each with a request. */
async function snapshotOf(count: number): Promise<StatsSnapshot> {
  const pairs = new PairTable(new Layout(buckets), 10_000);
  for (let at = 0; at < count; at++) {
    const pair = pairs.pair('tag', `192.0.${at >> 8}.${at & 255}`);
    pair.countRequest(200, 1, 1000);
    pair.recordDuration(0.5);
    pair.changeConnections('partial', 1);
  }
  return takeSnapshot({
    options: { buckets, logtail: { lines: { sent: 6, dropped_full: 7 } } },
    pairs,
    handovers: new Map([['tag', Float64Array.of(1, 2, 3)]]),
    errors: new Map([['FDPASS_ERR_NO_FD', 4]]),
    missCount: 5,
  });
}

async function textOf(snapshot: StatsSnapshot, format: 'prometheus' | 'openmetrics'): Promise<string> {
  let text = '';
  for await (const piece of prometheusText(snapshot, format)) text += piece;
  return text;
}

test('every metric is there, by its name, with its labels', async (t) => {
  const text = await textOf(await snapshotOf(1), 'prometheus');
  for (const line of [
    'fdpass_requests_total{source_tag="tag",vip="192.0.0.0",code="2xx"} 1',
    'fdpass_requests_total{source_tag="tag",vip="192.0.0.0",code="unknown"} 0',
    'fdpass_request_payload_bytes_total{source_tag="tag",vip="192.0.0.0"} 1',
    'fdpass_response_payload_bytes_total{source_tag="tag",vip="192.0.0.0"} 1000',
    'fdpass_wire_bytes_total{source_tag="tag",vip="192.0.0.0",direction="in"} 0',
    'fdpass_request_duration_seconds_bucket{source_tag="tag",vip="192.0.0.0",le="0.1"} 0',
    'fdpass_request_duration_seconds_bucket{source_tag="tag",vip="192.0.0.0",le="1"} 1',
    'fdpass_request_duration_seconds_bucket{source_tag="tag",vip="192.0.0.0",le="+Inf"} 1',
    'fdpass_request_duration_seconds_sum{source_tag="tag",vip="192.0.0.0"} 0.5',
    'fdpass_request_duration_seconds_count{source_tag="tag",vip="192.0.0.0"} 1',
    'fdpass_request_size_bytes_count{source_tag="tag",vip="192.0.0.0"} 1',
    'fdpass_response_size_bytes_sum{source_tag="tag",vip="192.0.0.0"} 1000',
    'fdpass_upgraded_connection_seconds_count{source_tag="tag",vip="192.0.0.0"} 0',
    'fdpass_connections{source_tag="tag",vip="192.0.0.0",kind="partial"} 1',
    'fdpass_handovers_total{source_tag="tag",kind="relay"} 3',
    'fdpass_handover_errors_total{reason="FDPASS_ERR_NO_FD"} 4',
    'fdpass_ifindex_misses_total 5',
    'fdpass_pairs_overflow_total 0',
    'fdpass_logtail_lines_total{result="dropped_full"} 7',
    'fdpass_request_rate{source_tag="tag",vip="192.0.0.0",window="10s"} 0',
    'fdpass_byte_rate{source_tag="tag",vip="192.0.0.0",window="60s"} 0',
    `fdpass_build_info{version="0.1.0",node="${process.versions.node}"} 1`,
  ]) {
    t.true(text.split('\n').includes(line), line);
  }
});

for (const format of ['prometheus', 'openmetrics'] as const) {
  test(`${format}: a metric that is written in pieces has one head, and every sample once`, async (t) => {
    const text = await textOf(await snapshotOf(1500), format);
    const heads = text.split('\n').filter((line) => line.startsWith('# TYPE'));
    t.is(new Set(heads).size, heads.length);
    const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    t.is(new Set(samples).size, samples.length);
    t.is(samples.filter((line) => line.startsWith('fdpass_requests_total')).length, 1500 * 6);
    t.is(samples.filter((line) => line.startsWith('fdpass_request_duration_seconds_count')).length, 1500);
    // Samples of a metric follow its head, and no other's.
    let family = '';
    for (const line of text.split('\n')) {
      if (line.startsWith('# TYPE ')) family = line.split(' ')[2] as string;
      else if (line !== '' && !line.startsWith('#')) t.true(line.startsWith(family), line);
    }
  });
}

test('OpenMetrics has its own names of counters, and an end', async (t) => {
  const text = await textOf(await snapshotOf(1), 'openmetrics');
  t.true(text.includes('# TYPE fdpass_requests counter\n'));
  t.true(text.includes('fdpass_requests_total{'));
  t.true(text.endsWith('\n# EOF\n'));
  t.is(text.split('# EOF').length, 2);
});

for (const format of ['prometheus', 'openmetrics'] as const) {
  test(`prom-client's own metrics come in the format that is asked for: ${format}`, async (t) => {
    const registry = new prometheus.Registry();
    new prometheus.Counter({ name: 'own_total', help: 'Own.', registers: [registry] }).inc(7);
    new prometheus.Histogram({
      name: 'own_seconds',
      help: 'Own.',
      buckets: [1],
      registers: [registry],
    }).observe(2);
    // Again: nothing of theirs may be changed by it.
    for (let times = 0; times < 2; times++) {
      let text = '';
      for await (const piece of prometheusText(await snapshotOf(1), format, registry)) text += piece;
      t.regex(text, /^own_total 7$/m);
      t.regex(text, /^own_seconds_bucket\{le="1"\} 0$/m);
      t.regex(text, /^own_seconds_count 1$/m);
      t.regex(text, /^fdpass_ifindex_misses_total 5$/m);
      if (format === 'prometheus') t.regex(text, /^# TYPE own_total counter$/m);
      else t.regex(text, /^# TYPE own counter$/m);
      // OpenMetrics has no empty lines.
      if (format === 'openmetrics') t.notRegex(text, /\n\n/);
      t.is(text.endsWith('# EOF\n'), format === 'openmetrics');
    }
  });
}

test('snapshots of processes of different releases are added up as far as they have the same', async (t) => {
  const one = await snapshotOf(1);
  const { ifindexMisses: _misses, ...older } = one;
  const newer = { ...one, pairs: one.pairs.map((pair) => ({ ...pair, added: { later: 1 } })) };
  for (const order of [
    [older, newer],
    [newer, older],
  ]) {
    const sum = await addSnapshots(order as unknown as StatsSnapshot[]);
    t.is(sum.pairs[0]?.requests['2xx'], 2);
    t.deepEqual((sum.pairs[0] as unknown as { added: object }).added, { later: 1 });
    t.is(sum.handovers[0]?.full, 2);
  }
});

test('snapshots of several processes are added up', async (t) => {
  const sum = await addSnapshots([await snapshotOf(1), await snapshotOf(3), await snapshotOf(2)]);
  t.is(sum.pairs.length, 3);
  const [first, second, third] = sum.pairs;
  t.deepEqual(
    [first, second, third].map((pair) => pair?.requests['2xx']),
    [3, 2, 1],
  );
  t.is(first?.vip, '192.0.0.0');
  t.deepEqual(first?.duration, { counts: [0, 3, 0], sum: 1.5 });
  t.deepEqual(sum.handovers, [{ sourceTag: 'tag', full: 3, partial: 6, relay: 9 }]);
  t.deepEqual(sum.handoverErrors, { FDPASS_ERR_NO_FD: 12 });
  t.is(sum.ifindexMisses, 15);
  t.deepEqual(sum.logtailLines, { sent: 18, dropped_full: 21 });
  t.deepEqual(sum.buckets, buckets);
});
