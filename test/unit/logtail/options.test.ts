// Where lines may go, and what openLogtail() refuses, with the exact place.
import { type LogtailOptions, openLogtail } from '@fdpass/backend-runtime';
import test from 'ava';
import { parseCollectorAddress } from '#runtime/logtail/datagram-sink.js';
import { guardDescriptors } from '../../helpers/descriptors.js';

guardDescriptors(test);

for (const [to, address] of [
  ['udp://127.0.0.1:5140', { family: 'udp', host: '127.0.0.1', port: 5140 }],
  ['udp://[::1]:1', { family: 'udp', host: '::1', port: 1 }],
  ['udp://logs.example:65535', { family: 'udp', host: 'logs.example', port: 65_535 }],
  ['unix:/run/logs', { family: 'unix', path: '/run/logs' }],
  ['unix:@logs', { family: 'unix', path: '\0logs' }],
] as const) {
  test(`${to} is an address`, (t) => {
    t.deepEqual(parseCollectorAddress(to), address);
  });
}

for (const to of [
  '',
  'udp://',
  'udp://127.0.0.1',
  'udp://127.0.0.1:0',
  'udp://127.0.0.1:65536',
  'udp://:5140',
  'udp://::1:5140',
  'udp://[logs]:5140',
  'udp://host:5140/path',
  'udp://user@host:5140',
  'tcp://127.0.0.1:5140',
  'unix:',
  'unix:/',
  'unix:@',
  'unix:relative',
  'unix:/a\0b',
  '/run/logs',
  undefined,
  5140,
]) {
  test(`to: ${JSON.stringify(to)} is refused`, async (t) => {
    await t.throwsAsync(openLogtail({ to: to as string }), {
      code: 'BKR_ERR_OPTION',
      message: 'The option to must be "udp://host:port", "unix:/path" or "unix:@name"',
    });
  });
}

const TO = 'udp://127.0.0.1:9';
for (const [options, code, message] of [
  [{ format: 7 }, 'BKR_ERR_OPTION', 'The option format must be a string'],
  [
    { format: '$status $nope' },
    'BKR_ERR_LOG_FORMAT',
    'The option format is wrong at character 9: there is no variable $nope',
  ],
  [{ escape: 'xml' }, 'BKR_ERR_OPTION', 'The option escape must be default, json, none'],
  [{ escape: 'toString' }, 'BKR_ERR_OPTION', 'The option escape must be default, json, none'],
  [{ if: '' }, 'BKR_ERR_OPTION', 'The option if must be a function or a text with variables'],
  [{ if: 1 }, 'BKR_ERR_OPTION', 'The option if must be a function or a text with variables'],
  [
    { if: '$loggable' },
    'BKR_ERR_LOG_FORMAT',
    'The option if is wrong at character 1: there is no variable $loggable',
  ],
  [
    { bufferBytes: 1023 },
    'BKR_ERR_OPTION',
    'The option bufferBytes must be an integer from 1024 to 16777216',
  ],
  [
    { bufferBytes: '64k' },
    'BKR_ERR_OPTION',
    'The option bufferBytes must be an integer from 1024 to 16777216',
  ],
  [
    { flushIntervalMs: 99 },
    'BKR_ERR_OPTION',
    'The option flushIntervalMs must be an integer from 100 to 2147483647',
  ],
  [
    { flushIntervalMs: Number.NaN },
    'BKR_ERR_OPTION',
    'The option flushIntervalMs must be an integer from 100 to 2147483647',
  ],
  [
    { maxDatagramBytes: 511 },
    'BKR_ERR_OPTION',
    'The option maxDatagramBytes must be an integer from 512 to 16777216',
  ],
  [
    { to: 'udp://collector.invalid:5140' },
    'BKR_ERR_LOG_COLLECTOR',
    'The log cannot be sent to udp://collector.invalid:5140',
  ],
  [{ to: 'unix:/nowhere/logs' }, 'BKR_ERR_LOG_COLLECTOR', 'The log cannot be sent to unix:/nowhere/logs'],
  [
    { to: `unix:/${'x'.repeat(200)}` },
    'BKR_ERR_LOG_COLLECTOR',
    `The log cannot be sent to unix:/${'x'.repeat(200)}`,
  ],
] as const) {
  test(`${JSON.stringify(options)} is refused`, async (t) => {
    const error = await t.throwsAsync(openLogtail({ to: TO, ...options } as unknown as LogtailOptions), {
      code,
      message,
    });
    t.is(error?.cause !== undefined, code === 'BKR_ERR_LOG_COLLECTOR');
  });
}

test('undefined is not set', async (t) => {
  const unset = { format: undefined, escape: undefined, if: undefined, bufferBytes: undefined };
  const tail = await openLogtail({ to: TO, ...unset } as unknown as LogtailOptions);
  await tail.close();
  t.pass();
});
