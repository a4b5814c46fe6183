// A snapshot as Prometheus text or OpenMetrics, written by prom-client; long metrics a piece at a time.
import prometheus, { type Metric, type RegistryContentType } from 'prom-client';
import { type Family, OVERALL_FAMILIES, PAIR_FAMILIES, type Sample } from './families.js';
import { nextTurn, type StatsSnapshot } from './snapshot.js';

export type TextFormat = 'prometheus' | 'openmetrics';

const CONTENT_TYPES: Readonly<Record<TextFormat, RegistryContentType>> = {
  prometheus: prometheus.Registry.PROMETHEUS_CONTENT_TYPE,
  openmetrics: prometheus.Registry.OPENMETRICS_CONTENT_TYPE,
};

/** A turn of the event loop writes no more lines: about two milliseconds. */
const SAMPLES_A_TURN = 1000;
/** `# HELP` and `# TYPE`. */
const HEAD_LINES = 2;
const EOF = '# EOF\n';

export const contentType = (format: TextFormat): string => CONTENT_TYPES[format];

/** Pieces of the text, one after the other; the first of them may be sent before the last is made. */
export async function* prometheusText(
  snapshot: StatsSnapshot,
  format: TextFormat,
  others?: prometheus.Registry,
): AsyncGenerator<string> {
  for (const family of OVERALL_FAMILIES) yield await written(family, family.samples(snapshot), format, true);
  for (const family of PAIR_FAMILIES) {
    let isFirst = true;
    let samples: Sample[] = [];
    for (const pair of snapshot.pairs) {
      samples.push(...family.samples(pair, snapshot));
      if (samples.length < SAMPLES_A_TURN) continue;
      yield await written(family, samples, format, isFirst);
      await nextTurn();
      isFirst = false;
      samples = [];
    }
    if (isFirst || samples.length > 0) yield await written(family, samples, format, isFirst);
  }
  for (const { name, help, type, values } of (await others?.getMetricsAsJSON()) ?? []) {
    yield await written({ name, help, type }, values as readonly Sample[], format, true);
  }
  if (format === 'openmetrics') yield EOF;
}

/** A metric of whoever. */
type Described = Pick<Family, 'name' | 'help'> & { readonly type: unknown };

/** @param hasHead whether it is the metric's first piece */
async function written(
  { name, help, type }: Described,
  samples: readonly Sample[],
  format: TextFormat,
  hasHead: boolean,
): Promise<string> {
  const registry = new prometheus.Registry();
  registry.setContentType(CONTENT_TYPES[format] as never);
  // The registry gives it another name in OpenMetrics.
  const metric = { name, help, type, values: samples, aggregator: 'sum', get: async () => metric };
  registry.registerMetric(metric as unknown as Metric);
  const text = withoutEnd(await registry.metrics());
  return hasHead ? text : text.split('\n').slice(HEAD_LINES).join('\n');
}

const withoutEnd = (text: string): string => (text.endsWith(EOF) ? text.slice(0, -EOF.length) : text);
