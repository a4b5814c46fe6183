// The JSON scrape and its published JSON Schema hold each other: real scrapes are as the schema says, and it says everything they have.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { addSnapshots, type StatsSnapshot } from '@fdpass/backend-runtime';
import { Ajv2020 } from 'ajv/dist/2020.js';
import test, { type ExecutionContext } from 'ava';
import { MAX_DOWNLOAD_BYTES, useDemo } from '../helpers/demo-traffic.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type ServedDemo, waysToServe } from '../helpers/served-demo.js';

guardDescriptors(test);

type Schema = { [keyword: string]: unknown };

const file = fileURLToPath(import.meta.resolve('@fdpass/backend-runtime/stats-1.schema.json'));
const schema: Schema = JSON.parse(readFileSync(file, 'utf8'));

/** The same where a member that is not named is an error; readers of the published one pass over it. */
function closed(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(closed);
  if (typeof part !== 'object' || part === null) return part;
  const parts = Object.fromEntries(Object.entries(part).map(([name, value]) => [name, closed(value)]));
  const isObject = parts.type === 'object' && 'properties' in parts;
  return isObject ? { ...parts, additionalProperties: false } : parts;
}

const problems = (rules: unknown, value: unknown): unknown => {
  const ajv = new Ajv2020({ allErrors: true });
  return ajv.validate(rules as Schema, value) ? [] : ajv.errors;
};

async function start(t: ExecutionContext): Promise<ServedDemo> {
  const demo = await waysToServe['a handover']({
    download: { maxBytes: MAX_DOWNLOAD_BYTES },
    metrics: { interfaces: [{ device: 'lo', tag: 'loopback' }], logtail: { lines: { sent: 1 } } },
  });
  t.teardown(() => demo.close());
  return demo;
}

async function scrape({ origin }: ServedDemo, query = ''): Promise<StatsSnapshot> {
  const url = `${origin}/metrics?format=json${query}`;
  const response = await fetch(url, { headers: { connection: 'close' } });
  return (await response.json()) as StatsSnapshot;
}

test('a scrape after traffic of every kind is as the schema says, and has no member that it does not name', async (t) => {
  const demo = await start(t);
  await useDemo(demo);
  const snapshot = await scrape(demo);
  t.true(snapshot.pairs.length > 1);
  t.true(Object.keys(snapshot.handoverErrors).length > 0);
  t.deepEqual(problems(schema, snapshot), []);
  t.deepEqual(problems(closed(schema), snapshot), []);
});

test('a scrape before any traffic, and one that asks for no pair there is, are as the schema says', async (t) => {
  const demo = await start(t);
  t.deepEqual(problems(closed(schema), await scrape(demo)), []);
  const none = await scrape(demo, '&source_tag=nobody');
  t.deepEqual(none.pairs, []);
  t.deepEqual(problems(closed(schema), none), []);
});

test('what several processes have counted, added up, is as the schema says', async (t) => {
  const demo = await start(t);
  await useDemo(demo);
  const snapshot = await scrape(demo);
  t.deepEqual(problems(closed(schema), await addSnapshots([snapshot, snapshot])), []);
});

test('a member more is no error, a member less is', async (t) => {
  const snapshot = await scrape(await start(t));
  t.deepEqual(problems(schema, { ...snapshot, later: 1 }), []);
  t.notDeepEqual(problems(closed(schema), { ...snapshot, later: 1 }), []);
  for (const name of Object.keys(snapshot)) {
    t.notDeepEqual(problems(schema, { ...snapshot, [name]: undefined }), [], name);
  }
});

test('another version, and numbers that cannot be, are errors', async (t) => {
  const snapshot = await scrape(await start(t));
  t.notDeepEqual(problems(schema, { ...snapshot, version: 2 }), []);
  t.notDeepEqual(problems(schema, { ...snapshot, ifindexMisses: -1 }), []);
  t.notDeepEqual(problems(schema, { ...snapshot, pairsOverflow: 0.5 }), []);
});
