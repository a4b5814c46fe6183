// The dashboard and the alert rules of deploy/grafana against the demo, as a real Prometheus scrapes it: whatever they ask has an answer.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { OVERALL_FAMILIES, PAIR_FAMILIES } from '#runtime/stats/families.js';
import { MAX_DOWNLOAD_BYTES, useDemo } from '../helpers/demo-traffic.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { root } from '../helpers/fdpass-command.js';
import { eventually, JOB, Prometheus, promtool, TEXT_JOB } from '../helpers/prometheus.js';
import { needs, program } from '../helpers/requirements.js';
import { type ServedDemo, waysToServe } from '../helpers/served-demo.js';

guardDescriptors(test);

interface Panel {
  id: number;
  title: string;
  description: string;
  datasource: { uid: string };
  gridPos: { x: number; y: number; w: number; h: number };
  targets: { expr: string }[];
}

interface Dashboard {
  panels: Panel[];
  templating: { list: { name: string; query: string | { query: string } }[] };
}

const withPrometheus = needs(test, program('prometheus'), program('promtool', 'prometheus'));
const withPromtool = needs(test, program('promtool', 'prometheus'));

const { panels, templating }: Dashboard = JSON.parse(
  readFileSync(join(root, 'deploy/grafana/dashboard.json'), 'utf8'),
);
const families = [...PAIR_FAMILIES, ...OVERALL_FAMILIES];
/** In the demo there is no unknown interface, and there are few pairs. */
const NEVER_HERE = /fdpass_(ifindex_misses|pairs_overflow)_total/;

/** As Grafana writes an expression of its own before it asks Prometheus. */
const filledIn = (expression: string, sourceTags: string, vips: string): string =>
  expression
    .replaceAll('$__rate_interval', '10s')
    .replaceAll('$source_tag', sourceTags)
    .replaceAll('$vip', vips);

async function start(t: ExecutionContext): Promise<{ demo: ServedDemo; prometheus: Prometheus }> {
  let sent = 0;
  const demo = await waysToServe['a handover']({
    download: { maxBytes: MAX_DOWNLOAD_BYTES },
    metrics: {
      interfaces: [{ device: 'lo', tag: 'loopback' }],
      // In place of a log: a line more at each scrape.
      logtail: {
        get lines() {
          return { sent: ++sent };
        },
      },
    },
  });
  t.teardown(() => demo.close());
  const prometheus = await Prometheus.start(t, demo.port);
  await eventually('both targets are up', async () => {
    const health = await prometheus.health();
    return health[JOB] === 'up' && health[TEXT_JOB] === 'up';
  });
  return { demo, prometheus };
}

test('the dashboard shows every metric', (t) => {
  const expressions = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join('\n');
  t.deepEqual(
    families.filter(({ name }) => !expressions.includes(name)).map(({ name }) => name),
    [],
  );
});

test('no panel covers another, each says what it shows, and asks the data source that was chosen', (t) => {
  t.is(new Set(panels.map(({ id }) => id)).size, panels.length);
  const taken = new Set<string>();
  for (const { title, description, datasource, gridPos } of panels) {
    t.true(description.length > 0, title);
    t.is(datasource.uid, '$' + '{datasource}', title);
    t.true(gridPos.x + gridPos.w <= 24, title);
    for (let { x } = gridPos; x < gridPos.x + gridPos.w; x++) {
      for (let { y } = gridPos; y < gridPos.y + gridPos.h; y++) {
        t.false(taken.has(`${x} ${y}`), title);
        taken.add(`${x} ${y}`);
      }
    }
  }
});

withPromtool(
  'promtool finds nothing to say about a scrape and the alert rules, and they fire when they should',
  async (t) => {
    const demo = await waysToServe['a handover']({ download: { maxBytes: MAX_DOWNLOAD_BYTES } });
    t.teardown(() => demo.close());
    await useDemo(demo);
    const scrape = await fetch(`${demo.origin}/metrics`, { headers: { connection: 'close' } });
    t.is(promtool(['check', 'metrics'], await scrape.text()), '');
    t.is(promtool(['check', 'rules', join(root, 'deploy/grafana/alerts.yml')]), '');
    t.is(promtool(['test', 'rules', join(root, 'test/deploy/alerts.yml')]), '');
  },
);

withPrometheus(
  'Prometheus asks for OpenMetrics, reads that and the older text, and has the same numbers by both',
  async (t) => {
    const { demo, prometheus } = await start(t);
    await useDemo(demo);
    // OpenMetrics names a counter without its suffix.
    const [types, textTypes] = [await prometheus.types(JOB), await prometheus.types(TEXT_JOB)];
    for (const { name, type } of families) {
      t.is(types.get(type === 'counter' ? name.replace(/_total$/, '') : name), type, name);
      t.is(textTypes.get(name), type, name);
    }
    const url = `${demo.origin}/metrics?format=json`;
    await eventually('it has counted what the demo has', async () => {
      const answer = await fetch(url, { headers: { connection: 'close' } });
      const { pairs } = (await answer.json()) as { pairs: { requests: Record<string, number> }[] };
      const expected = pairs
        .flatMap(({ requests }) => Object.values(requests))
        .reduce((total, count) => total + count, 0);
      const sums = await prometheus.query('sum by (job) (fdpass_requests_total)');
      return expected >= 8 && sums.length === 2 && sums.every(({ value }) => value === expected);
    });
    t.pass();
  },
);

withPrometheus(
  'every expression of the dashboard has data, of all interfaces and of chosen ones',
  async (t) => {
    const { demo, prometheus } = await start(t);
    const expressions = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    const unanswered = new Set(
      expressions.flatMap((expr) => [
        filledIn(expr, '.*', '.*'),
        filledIn(expr, 'direct|loopback', '127\\\\.0\\\\.0\\\\.1'),
      ]),
    );
    const problem = await eventually('each has an answer', async () => {
      await useDemo(demo);
      for (const expression of unanswered) {
        const series = await prometheus.query(expression);
        const least = NEVER_HERE.test(expression) ? 0 : Number.MIN_VALUE;
        if (series.some(({ value }) => value >= least)) unanswered.delete(expression);
      }
      return unanswered.size === 0;
    }).then(
      () => undefined,
      ({ message }: Error) => message,
    );
    t.deepEqual([...unanswered], [], problem);
    const choices: Record<string, string[]> = {};
    for (const { name, query } of templating.list) {
      if (typeof query === 'string') continue;
      const [, series = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(query.query) ?? [];
      choices[name] = await prometheus.labelValues(label, filledIn(series, 'loopback', '.*'));
    }
    t.deepEqual(choices, { source_tag: ['direct', 'loopback'], vip: ['127.0.0.1'] });
  },
);

withPrometheus('every alert rule is evaluated, and asks for metrics that there are', async (t) => {
  const { demo, prometheus } = await start(t);
  await useDemo(demo);
  await eventually('the failed handover is an alert', async () => {
    const rules = await prometheus.rules();
    return rules.some(({ name, state }) => name === 'FdpassHandoverErrors' && state === 'firing');
  });
  const rules = await prometheus.rules();
  t.true(rules.length >= 6);
  for (const { name, query, health, lastError } of rules) {
    t.is(health, 'ok', `${name}: ${lastError}`);
    await t.notThrowsAsync(prometheus.query(query), name);
    for (const metric of query.match(/\bfdpass_\w+|\bup\b/g) ?? []) {
      t.true((await prometheus.query(metric)).length > 0, `${name}: ${metric}`);
    }
  }
});
