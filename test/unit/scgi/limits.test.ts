import test from 'ava';
import { defaultWireLimits, MAX_LIMIT, wireLimits } from '#scgi/limits.js';
import { Receiver } from '#scgi/receiver.js';

test('the defaults are those of the protocol', (t) => {
  t.deepEqual(wireLimits(), {
    maxMessageBytes: 256 * 1024,
    maxHeaders: 512,
    maxHeaderValueBytes: 64 * 1024,
    maxLengthDigits: 8,
    maxEarlyBytes: 64 * 1024,
  });
});

test('one limit can be set and the others stay', (t) => {
  t.deepEqual(wireLimits({ maxHeaders: 7 }), { ...defaultWireLimits, maxHeaders: 7 });
});

test('an option that is there but undefined means the default', (t) => {
  t.is(wireLimits({ maxHeaders: undefined } as object).maxHeaders, 512);
});

test('the defaults cannot be changed by whoever holds them', (t) => {
  t.throws(() => Object.assign(defaultWireLimits, { maxHeaders: 1 }), { instanceOf: TypeError });
});

for (const value of [
  0,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  MAX_LIMIT + 1,
  '512',
  null,
  512n,
  [512],
]) {
  test(`a limit of ${typeof value} ${String(value)} is refused`, (t) => {
    const partial = { maxEarlyBytes: value } as unknown as { maxEarlyBytes: number };
    const error = t.throws(() => wireLimits(partial), { code: 'SCGI_ERR_LIMIT_OPTION' });
    t.is(error?.message, 'The option maxEarlyBytes must be an integer from 1 to 268435456');
  });
}

test('the smallest and the largest limit are allowed', (t) => {
  t.is(wireLimits({ maxHeaders: 1 }).maxHeaders, 1);
  t.is(wireLimits({ maxMessageBytes: MAX_LIMIT }).maxMessageBytes, MAX_LIMIT);
});

test('the bounds of a receiver are checked when it is made, before anything is bound', (t) => {
  for (const [option, min] of [
    ['messageTimeoutMs', 1],
    ['maxPendingConnections', 1],
    ['maxChannels', 0],
    ['minFreeDescriptors', 0],
  ] as const) {
    for (const value of [min - 1, 2 ** 31, 1.5, Number.NaN, null]) {
      t.throws(() => new Receiver({ [option]: value }), {
        code: 'SCGI_ERR_LIMIT_OPTION',
        message: `The option ${option} must be an integer from ${min} to 2147483647`,
      });
    }
    t.notThrows(() => new Receiver({ [option]: min }));
  }
});
