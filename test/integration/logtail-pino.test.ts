// The pino transport: what an application logs arrives line by line, also what it logs last.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pinoTransport from '@fdpass/backend-runtime/pino-transport';
import test from 'ava';
import { udpCollector, unixCollector } from '../helpers/collector.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { temporaryFolder } from '../helpers/serve.js';

guardDescriptors(test);

const run = promisify(execFile);
const LOGGING = fileURLToPath(new URL('../helpers/logging-process.js', import.meta.url));

for (const [way, open] of [
  ['UDP', udpCollector],
  [
    'a UNIX path',
    async (t: Parameters<typeof udpCollector>[0]) => unixCollector(t, `${await temporaryFolder(t)}/logs`),
  ],
  [
    'an abstract UNIX address',
    async (t: Parameters<typeof udpCollector>[0]) => unixCollector(t, `\0fdpass-pino-${process.pid}`),
  ],
] as const) {
  test(`${way}: all that a program logs before its end arrives`, async (t) => {
    const collector = await open(t);
    const { stdout, stderr } = await run(process.execPath, [LOGGING, collector.to, '500'], {
      timeout: 30_000,
    });
    t.is(stdout, '');
    t.is(stderr, '');
    const lines = (await collector.wait(500)).map((line) =>
      JSON.parse(Buffer.from(line, 'latin1').toString()),
    );
    t.deepEqual(
      lines.map(({ nth, msg }) => [nth, msg]),
      Array.from({ length: 500 }, (_, nth) => [nth, 'zürich →\nnext']),
    );
  });
}

test('a transport that cannot be opened says so', async (t) => {
  await t.throwsAsync(pinoTransport({ to: 'nowhere' }), { code: 'BKR_ERR_OPTION' });
  await t.throwsAsync(pinoTransport({ to: 'unix:/nowhere/logs' }), { code: 'BKR_ERR_LOG_COLLECTOR' });
  const failed = await t.throwsAsync(
    run(process.execPath, [LOGGING, 'unix:/nowhere/logs', '1'], { timeout: 30_000 }),
  );
  t.regex((failed as unknown as { stderr: string }).stderr, /The log cannot be sent to unix:\/nowhere\/logs/);
});

test.serial('what was dropped is told at the end', async (t) => {
  const warned: string[] = [];
  const onWarning = (warning: Error): void => void warned.push(warning.message);
  process.on('warning', onWarning);
  t.teardown(() => process.off('warning', onWarning));
  const collector = await udpCollector(t);
  const transport = await pinoTransport({ to: collector.to, maxDatagramBytes: 512 });
  transport.write('{"a":1}\nnot JSON\n');
  transport.end(`${'x'.repeat(600)}\n`);
  await once(transport, 'close');
  t.deepEqual(await collector.wait(2), ['{"a":1}', 'not JSON']);
  t.deepEqual(warned, ['Lines of the log that were not sent: dropped_too_long 1']);
});
