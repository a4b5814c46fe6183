// The guard's reading and judging; what it measures takes valgrind and is not run here.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { costOf } from '../../bench/guard/callgrind.js';
import {
  compare,
  type Figure,
  isFailure,
  type Origin,
  type Record,
  report,
  type Verdict,
} from '../../bench/guard/figures.js';

const HERE: Origin = { node: 'v20', arch: 'x64', compiler: 'g++ 12' };

const figure = (value: number, name = 'instructions'): Figure => ({
  name,
  unit: 'per handover',
  value,
  tolerance: 0.02,
  because: 'two runs differ by 1 %.',
});
const record = (...figures: Figure[]): Record => ({ recorded: HERE, figures });

// As callgrind 3.19 writes it: names once, then by number; a call's line is followed by what it cost.
const PROFILE = `# callgrind format
version: 1
events: Ir
summary: 5000

ob=(1) /usr/bin/node
fl=(1) ???
fn=(1) uv_run
0 1000
cob=(2) /srv/app/fdpass_native.node
cfn=(2) fdpass::FdListener::OnReadable(uv_poll_s*, int, int)
calls=1 0
0 777

ob=(2)
fl=(2) ???
fn=(2)
0 100
+3 20
cfn=(3) fdpass::FdListener::Receive(fdpass::Connection&)
calls=2 0
0 500
0 7
cob=(3) /usr/lib/x86_64-linux-gnu/libc.so.6
cfi=(3) ./socket/../sysdeps/unix/sysv/linux/close.c
cfn=(4) close
calls=4 27
0 40
cob=(1)
cfn=(5) napi_call_function
calls=1 0
0 3000

fn=(3)
* 11
-2 13
cob=(3)
cfn=(6) memcpy
calls=9 0
0 90
cob=(3)
cfn=(7) __libc_recvmsg
calls=2 0
0 6
cob=(4) /usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30
cfn=(8) operator new(unsigned long)
calls=1 0
0 5

ob=(3)
fn=(4)
0 40

totals: 5000
`;

test('an object costs its own instructions and those of the C library for it, not what it calls elsewhere', (t) => {
  t.deepEqual(costOf(PROFILE, 'fdpass_native.node'), {
    instructions: 100 + 20 + 7 + 40 + 11 + 13 + 90 + 6 + 5,
    systemCalls: 4 + 2,
  });
});

test('an object that is not in the profile costs nothing', (t) => {
  t.deepEqual(costOf(PROFILE, 'another.node'), { instructions: 0, systemCalls: 0 });
});

const VERDICTS: {
  of: string;
  now: Figure[];
  known: Figure[];
  origin?: Origin;
  verdict: Verdict;
  fails: boolean;
}[] = [
  { of: 'the same value', now: [figure(1000)], known: [figure(1000)], verdict: 'same', fails: false },
  {
    of: 'the most that is tolerated',
    now: [figure(1020)],
    known: [figure(1000)],
    verdict: 'same',
    fails: false,
  },
  { of: 'one more', now: [figure(1021)], known: [figure(1000)], verdict: 'worse', fails: true },
  {
    of: 'the least that is tolerated',
    now: [figure(980)],
    known: [figure(1000)],
    verdict: 'same',
    fails: false,
  },
  { of: 'one less', now: [figure(979)], known: [figure(1000)], verdict: 'better', fails: false },
  { of: 'a figure nobody recorded', now: [figure(1000)], known: [], verdict: 'new', fails: true },
  { of: 'a figure nobody measured', now: [], known: [figure(1000)], verdict: 'missing', fails: true },
  {
    of: 'another Node.js',
    now: [figure(2000)],
    known: [figure(1000)],
    origin: { ...HERE, node: 'v22' },
    verdict: 'elsewhere',
    fails: false,
  },
  {
    of: 'another compiler',
    now: [figure(2000)],
    known: [figure(1000)],
    origin: { ...HERE, compiler: 'g++ 14' },
    verdict: 'elsewhere',
    fails: false,
  },
];

for (const { of, now, known, origin = HERE, verdict, fails } of VERDICTS) {
  test(`${of} is ${verdict}, and ${fails ? 'fails' : 'passes'}`, (t) => {
    const comparisons = compare(now, record(...known), origin);
    t.deepEqual(
      comparisons.map((each) => each.verdict),
      [verdict],
    );
    t.is(comparisons.some(isFailure), fails);
  });
}

test('without a record every figure is new', (t) => {
  t.deepEqual(
    compare([figure(1), figure(2, 'other')], undefined, HERE).map(({ verdict }) => verdict),
    ['new', 'new'],
  );
});

test('the recorded tolerance holds, not the one of the code that measures', (t) => {
  const strict = { ...figure(1000), tolerance: 0 };
  t.deepEqual(
    compare([figure(1001)], record(strict), HERE).map(({ verdict }) => verdict),
    ['worse'],
  );
});

test('a failure is told with both values, the change and why the tolerance is what it is', (t) => {
  const known = record(figure(1000));
  const text = report(compare([figure(1100)], known, HERE), known, HERE);
  t.regex(text, /^instructions +per handover +1100 +1000 +\+10\.0 % +2 % +WORSE$/m);
  t.regex(text, /^instructions: two runs differ by 1 %\.$/m);
});

test('figures of elsewhere are told with what they were recorded with', (t) => {
  const known = record(figure(1000));
  const origin = { ...HERE, node: 'v24' };
  const text = report(compare([figure(1100)], known, origin), known, origin);
  t.regex(text, /^Recorded with Node\.js v20 on x64, addon by g\+\+ 12, this is Node\.js v24 on x64/m);
});

test('the committed record is one of ours', (t) => {
  const file = fileURLToPath(new URL('../../../bench/guard.json', import.meta.url));
  const { recorded, figures } = JSON.parse(readFileSync(file, 'utf8')) as Record;
  t.deepEqual(Object.keys(recorded).sort(), ['arch', 'compiler', 'node']);
  t.true(figures.length > 0);
  for (const { name, unit, value, tolerance, because } of figures) {
    t.true(name !== '' && unit !== '' && because !== '', name);
    t.true(value > 0 && tolerance > 0 && tolerance < 0.1, name);
  }
});
