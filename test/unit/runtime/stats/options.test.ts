import { interfaceStats } from '@fdpass/backend-runtime';
import test from 'ava';

/** What is wrong, and how the message begins. */
const refused: readonly [options: object, message: RegExp][] = [
  [{ defaultTag: '' }, /^The option defaultTag must be /],
  [{ defaultTag: 'with space' }, /^The option defaultTag must be /],
  [{ defaultTag: 'x'.repeat(65) }, /^The option defaultTag must be /],
  [{ rescanIntervalMs: -1 }, /^The option rescanIntervalMs must be an integer from 0 /],
  [{ rescanIntervalMs: 1.5 }, /^The option rescanIntervalMs /],
  [{ vipPort: 'yes' }, /^The option vipPort must be true or false/],
  [{ maxPairs: 0 }, /^The option maxPairs must be an integer from 1 /],
  [{ maxPairs: 1_000_001 }, /^The option maxPairs /],
  [{ buckets: { durationSeconds: [] } }, /^The option buckets\.durationSeconds must be 1 to 64 numbers/],
  [
    { buckets: { durationSeconds: [1, 1] } },
    /^The option buckets\.durationSeconds\[1\] must be above the one before, 1$/,
  ],
  [
    { buckets: { requestBytes: [10, 5] } },
    /^The option buckets\.requestBytes\[1\] must be above the one before, 10$/,
  ],
  [{ buckets: { responseBytes: [-1] } }, /^The option buckets\.responseBytes\[0\] must be a number from 0$/],
  [{ buckets: { upgradedSeconds: [1, Number.NaN] } }, /^The option buckets\.upgradedSeconds\[1\] /],
  [{ buckets: { upgradedSeconds: '1,2' } }, /^The option buckets\.upgradedSeconds must be /],
  [
    { buckets: { responseBytes: [-0.5] } },
    /^The option buckets\.responseBytes\[0\] must be a number from 0$/,
  ],
  [{ buckets: { toString: [1] } }, /^The option buckets\.toString must be one of /],
  [{ buckets: { latency: [1] } }, /^The option buckets\.latency must be one of durationSeconds, /],
  [
    { interfaces: [{ device: 'eth0' }, { device: 'not/one' }] },
    /^The option interfaces\[1\]\.device must be /,
  ],
  [{ interfaces: [{ device: 'eth0', tag: 'not one' }] }, /^The option interfaces\[0\]\.tag must be /],
  [{ interfaces: [{ device: 'eth0' }, { device: 'eth0', family: 'ipv4' }] }, /^The option interfaces\[1\] /],
];

for (const [options, message] of refused) {
  test(`refused: ${JSON.stringify(options).slice(0, 100)}`, (t) => {
    t.throws(() => interfaceStats(options), { code: 'BKR_ERR_OPTION', message });
  });
}

test('all of them have defaults', async (t) => {
  const { version, pairs, handovers, handoverErrors, buckets } = await interfaceStats().snapshot();
  t.deepEqual(
    { version, pairs, handovers, handoverErrors },
    { version: 1, pairs: [], handovers: [], handoverErrors: {} },
  );
  t.is(buckets.durationSeconds.length, 13);
});
