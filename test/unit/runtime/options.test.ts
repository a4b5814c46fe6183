// Defaults and bounds of a handover server's options.
import test from 'ava';
import { type HandoverServerOptions, resolveOptions } from '#runtime/options.js';

test('the defaults', (t) => {
  const { logger, ...options } = resolveOptions({});
  t.deepEqual(options, {
    keepAliveScope: undefined,
    earlyBodyTimeoutMs: 5000,
    sendTimeoutMs: 60_000,
    tcpUserTimeoutMs: 60_000,
    lingeringTimeMs: 30_000,
    lingeringTimeoutMs: 5000,
    middlewareTimeoutMs: 10_000,
    closeTimeoutMs: 30_000,
    noDelay: true,
    tcpKeepAlive: false,
    tcpKeepAliveInitialDelayMs: 0,
    highWaterMark: undefined,
    lean: true,
  });
});

test('undefined is not set', (t) => {
  t.is(
    resolveOptions({ sendTimeoutMs: undefined } as unknown as HandoverServerOptions).sendTimeoutMs,
    60_000,
  );
});

test('a keepAlive scope is ours, a boolean is TCP keep-alive', (t) => {
  const scoped = resolveOptions({ keepAlive: { scope: '/app/' } });
  t.is(scoped.keepAliveScope, '/app/');
  t.false(scoped.tcpKeepAlive);
  const probed = resolveOptions({ keepAlive: true, keepAliveInitialDelay: 1000 });
  t.is(probed.keepAliveScope, undefined);
  t.true(probed.tcpKeepAlive);
  t.is(probed.tcpKeepAliveInitialDelayMs, 1000);
  t.false(resolveOptions({ keepAlive: false }).tcpKeepAlive);
});

for (const keepAlive of [{ scope: 'app/' }, { scope: '' }, { scope: 7 }, {}, null, 'yes', 1]) {
  test(`keepAlive: ${JSON.stringify(keepAlive)} is refused`, (t) => {
    t.throws(() => resolveOptions({ keepAlive } as unknown as HandoverServerOptions), {
      code: 'BKR_ERR_OPTION',
      message: 'The option keepAlive.scope must be a path prefix that begins with "/"',
    });
  });
}

const MAX_TIMER_MS = 2 ** 31 - 1;
const bounds = {
  earlyBodyTimeoutMs: 1,
  sendTimeoutMs: 0,
  tcpUserTimeoutMs: 0,
  lingeringTimeMs: 1,
  lingeringTimeoutMs: 1,
  middlewareTimeoutMs: 1,
  closeTimeoutMs: 0,
} as const;
for (const [name, min] of Object.entries(bounds) as [keyof typeof bounds, number][]) {
  test(`${name} is a whole number from ${min} to 2^31 - 1`, (t) => {
    for (const value of [min, min + 1, MAX_TIMER_MS]) t.is(resolveOptions({ [name]: value })[name], value);
    for (const value of [min - 1, MAX_TIMER_MS + 1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null]) {
      // null is a mistake, not "not set".
      t.throws(
        () => resolveOptions({ [name]: value } as HandoverServerOptions),
        {
          code: 'BKR_ERR_OPTION',
          message: new RegExp(`^The option ${name} must be a whole number of milliseconds`),
        },
        String(value),
      );
    }
  });
}

test.serial('without a logger, log lines are process warnings', (t) => {
  const { emitWarning } = process;
  t.teardown(() => {
    process.emitWarning = emitWarning;
  });
  const warned: unknown[][] = [];
  process.emitWarning = (...args: unknown[]) => void warned.push(args);
  const { logger } = resolveOptions({});
  logger.warn({}, 'a warning');
  logger.error({}, 'an error');
  t.deepEqual(warned, [
    ['a warning', { type: 'HandoverWarning' }],
    ['an error', { type: 'HandoverWarning' }],
  ]);
});
