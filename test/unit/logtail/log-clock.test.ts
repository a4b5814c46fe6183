// Times as nginx writes them.
import test from 'ava';
import { iso8601Time, localTime, seconds } from '#runtime/logtail/log-clock.js';

for (const [ms, text] of [
  [0, '0.000'],
  [0.9, '0.000'],
  [4.2, '0.004'],
  [999.9, '0.999'],
  [1000, '1.000'],
  [61_005, '61.005'],
  [-3, '0.000'],
  [1_795_274_872_042, '1795274872.042'],
] as const) {
  test(`${ms} ms are ${text}`, (t) => t.is(seconds(ms), text));
}

for (const [zone, local, iso] of [
  ['UTC', '21/Nov/2026:15:27:52 +0000', '2026-11-21T15:27:52+00:00'],
  ['Asia/Kolkata', '21/Nov/2026:20:57:52 +0530', '2026-11-21T20:57:52+05:30'],
  ['America/St_Johns', '21/Nov/2026:11:57:52 -0330', '2026-11-21T11:57:52-03:30'],
] as const) {
  test.serial(`the time in ${zone}`, (t) => {
    const before = process.env.TZ;
    process.env.TZ = zone;
    t.teardown(() => {
      if (before === undefined) delete process.env.TZ;
      else process.env.TZ = before;
    });
    // The time that was written last is another one.
    localTime(0);
    const nowMs = Date.UTC(2026, 10, 21, 15, 27, 52, 999);
    t.is(localTime(nowMs), local);
    t.is(iso8601Time(nowMs), iso);
    t.is(localTime(nowMs + 1), local.replace(':52 ', ':53 '));
  });
}
