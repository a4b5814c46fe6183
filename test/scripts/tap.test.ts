import { createRequire } from 'node:module';
import { join } from 'node:path';
import test from 'ava';
import { repositoryRoot } from './stand-in-workspace.js';

interface Report {
  passed: number;
  failures: { title: string; details: string[] }[];
  skips: string[];
  push(text: string): void;
  finish(exitCode: number): Report;
}
const { TapReport } = createRequire(import.meta.url)(join(repositoryRoot, 'scripts', 'tap.cjs')) as {
  TapReport: new (
    onTest?: (test: { outcome: string; title: string }) => void,
    onLog?: (line: string) => void,
  ) => Report;
};

const mixed = `TAP version 13
ok 1 - unit › netstring › reads a length
#   a log line
not ok 2 - unit › netstring › refuses a leading zero
#   the input was 03:abc,
  ---
    name: AssertionError
    message: |-
      Value is not \`true\`:

      false
    at: 'file.js:3:5'
  ...
ok 3 - native › adopts # 2 of 3 (needs wrk: apt-get install wrk) # SKIP
not ok 4 - a thing to come # TODO
ok 5 - says "not ok 6 - no test"
# unit › hook title

1..5
# tests 4
# pass 2
# skip 1
# fail 2
`;

function read(text: string, exitCode = 0, pieceLength = text.length): Report {
  const report = new TapReport();
  for (let start = 0; start < text.length; start += pieceLength)
    report.push(text.slice(start, start + pieceLength));
  return report.finish(exitCode);
}

for (const pieceLength of [1, 7, 64, mixed.length]) {
  test(`counts passed, failed, skipped and to-do tests, read ${pieceLength} characters at a time`, (t) => {
    const { passed, failures, skips } = read(mixed, 1, pieceLength);
    t.is(passed, 2);
    t.deepEqual(
      failures.map(({ title }) => title),
      ['unit › netstring › refuses a leading zero'],
    );
    t.deepEqual(skips, [
      'native › adopts # 2 of 3 (needs wrk: apt-get install wrk)',
      'a thing to come (to be written)',
    ]);
  });
}

test('a failure keeps its log and its error, and no more', (t) => {
  const { details } = read(mixed, 1).failures[0]!;
  t.is(details[0], '#   the input was 03:abc,');
  t.is(details.at(-1), "    at: 'file.js:3:5'");
  t.is(details.length, 7);
});

test('every test is announced once, as it becomes known', (t) => {
  const seen: string[] = [];
  const report = new TapReport(({ outcome }) => seen.push(outcome));
  report.push('TAP version 13\nok 1 - a\nok 2 - b # SK');
  t.deepEqual(seen, ['passed']);
  report.push('IP\n');
  t.deepEqual(seen, ['passed', 'skipped']);
});

test('what a test that passed has logged is told, a failure keeps its own', (t) => {
  const lines: string[] = [];
  new TapReport(undefined, (line) => lines.push(line)).push(mixed);
  t.deepEqual(lines, ['a log line']);
});

test('tests that AVA counts as failed but never named are a failure', (t) => {
  const { passed, failures } = read(
    'TAP version 13\nok 1 - a\n# 2 tests remaining in b.js\n\n1..3\n# tests 3\n# pass 1\n# fail 2\n',
    1,
  );
  t.is(passed, 1);
  t.deepEqual(failures, [{ title: 'tests that never ran to their end: 2', details: [] }]);
});

test('a report that breaks off is a failure', (t) => {
  t.deepEqual(read('TAP version 13\nok 1 - a\n', 0).failures, [
    { title: 'the test runner ended before its report was complete', details: [] },
  ]);
  t.is(read('', 0).failures.length, 1);
});

test('an exit code that no test explains is a failure', (t) => {
  const text = 'TAP version 13\nok 1 - a\n\n1..1\n# tests 1\n# pass 1\n# fail 0\n';
  t.deepEqual(read(text, 0).failures, []);
  t.deepEqual(read(text, 3).failures, [{ title: 'the test runner ended with exit code 3', details: [] }]);
});
