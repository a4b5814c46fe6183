// The chain: what each middleware can do with a handover, and that exactly one decision comes of it.
import test from 'ava';
import { ConnectionFacts } from '#runtime/connection-info.js';
import {
  type Decision,
  type HandoverMiddleware,
  IncomingHandover,
  runMiddleware,
} from '#runtime/middleware.js';
import { requestEntries, standIn } from '../../helpers/stand-in-handover.js';

function incoming() {
  const handover = standIn(requestEntries(['X_TAG', 'blue']));
  const decisions: Decision[] = [];
  const facts = new ConnectionFacts(handover, () => undefined);
  const made = new IncomingHandover(handover, facts, (decision) => void decisions.push(decision));
  return { handover, incoming: made, decisions };
}

async function run(...chain: HandoverMiddleware[]) {
  const { handover, incoming: made, decisions } = incoming();
  const errors: unknown[] = [];
  runMiddleware(chain, made, (error) => void errors.push(error));
  const atOnce = decisions.length;
  await new Promise((resolve) => setImmediate(resolve));
  return { handover, incoming: made, decisions, errors, atOnce };
}

const later = (): Promise<void> => Promise.resolve();
const SERVE = { action: 'serve' } as const;

test('an empty chain serves at once', async (t) => {
  const { decisions, atOnce } = await run();
  t.deepEqual(decisions, [SERVE]);
  t.is(atOnce, 1);
});

test('synchronous middleware runs in order and decides at once', async (t) => {
  const seen: string[] = [];
  const { decisions, atOnce } = await run(
    ({ tags, info, headers, kind }, next) => {
      seen.push('first', info.variables.X_TAG ?? '', headers.get('REQUEST_METHOD') ?? '', kind);
      tags.set('mine', 1);
      next();
      seen.push('after the others');
    },
    ({ tags }, next) => {
      seen.push('second', String(tags.get('mine')));
      next();
    },
  );
  t.deepEqual(seen, ['first', 'blue', 'GET', 'full', 'second', '1', 'after the others']);
  t.deepEqual(decisions, [SERVE]);
  t.is(atOnce, 1);
});

test('asynchronous middleware decides when it is done', async (t) => {
  const { decisions, atOnce } = await run(
    async (_handover, next) => {
      await later();
      next();
    },
    (_handover, next) => next(),
  );
  t.is(atOnce, 0);
  t.deepEqual(decisions, [SERVE]);
});

test("a middleware that says nothing leaves it undecided: the deadline is the server's", async (t) => {
  const { decisions, errors } = await run(() => {});
  t.deepEqual(decisions, []);
  t.deepEqual(errors, []);
});

test('reject() ends the chain', async (t) => {
  const { decisions, incoming: made } = await run(
    (handover, next) => {
      handover.reject(429, { 'Retry-After': '5' });
      next();
    },
    () => t.fail('the next one was run'),
  );
  t.deepEqual(decisions, [{ action: 'reject', status: 429, headers: { 'Retry-After': '5' } }]);
  t.true(made.isDecided);
});

test('take() ends the chain and gives the handover away', async (t) => {
  let taken: unknown;
  const { decisions, handover } = await run(
    (each) => {
      taken = each.take();
    },
    () => t.fail('the next one was run'),
  );
  t.is(taken, handover);
  t.deepEqual(decisions, [{ action: 'taken' }]);
});

for (const [first, second] of [
  ['reject', 'take'],
  ['take', 'reject'],
  ['reject', 'reject'],
  ['take', 'take'],
] as const) {
  test(`${second}() after ${first}() is an error, and the first one counts`, (t) => {
    const { incoming: made, decisions } = incoming();
    const act = { reject: () => made.reject(503), take: () => made.take() };
    act[first]();
    t.throws(() => act[second](), { code: 'BKR_ERR_HANDOVER_DECIDED' });
    t.is(decisions.length, 1);
  });
}

for (const status of [200, 302, 399, 600, 404.5, Number.NaN]) {
  test(`reject(${status}) is refused and decides nothing`, (t) => {
    const { incoming: made, decisions } = incoming();
    t.throws(() => made.reject(status), { code: 'BKR_ERR_REJECT_STATUS' });
    t.deepEqual(decisions, []);
  });
}

test('reject() refuses headers that would be more than one line', (t) => {
  const { incoming: made, decisions } = incoming();
  t.throws(() => made.reject(403, { 'X-Why': 'a\r\nSet-Cookie: b=1' }), { code: 'ERR_INVALID_CHAR' });
  t.throws(() => made.reject(403, { 'X Why': 'a' }), { code: 'ERR_INVALID_HTTP_TOKEN' });
  t.deepEqual(decisions, []);
});

const boom = new Error('boom');
const failures: [title: string, middleware: HandoverMiddleware][] = [
  [
    'throws',
    () => {
      throw boom;
    },
  ],
  ['rejects', () => Promise.reject(boom)],
  ['passes an error on', (_handover, next) => next(boom)],
  [
    'passes an error on later',
    async (_handover, next) => {
      await later();
      next(boom);
    },
  ],
];
for (const [title, middleware] of failures) {
  test(`a middleware that ${title}: the chain ends, the error is told once, nothing is decided`, async (t) => {
    const { decisions, errors } = await run(middleware, () => t.fail('the next one was run'));
    t.deepEqual(errors, [boom]);
    t.deepEqual(decisions, []);
  });
}

test('an error after next() is told, and what next() led to stays', async (t) => {
  const { decisions, errors } = await run(async (_handover, next) => {
    next();
    throw boom;
  });
  t.deepEqual(decisions, [SERVE]);
  t.deepEqual(errors, [boom]);
});

test('next() twice runs the rest once; null and undefined are no errors', async (t) => {
  let runs = 0;
  const { decisions, errors } = await run(
    (_handover, next) => {
      next(null);
      next(undefined);
      next(boom);
    },
    (_handover, next) => {
      runs++;
      next();
    },
  );
  t.is(runs, 1);
  t.deepEqual(decisions, [SERVE]);
  t.deepEqual(errors, []);
});

test('next() after the deadline has decided changes nothing', async (t) => {
  const { incoming: made, decisions } = incoming();
  let pass: () => void = () => {};
  runMiddleware(
    [
      (_handover, next) => {
        pass = next;
      },
      () => t.fail('the next one was run'),
    ],
    made,
    () => t.fail('an error was told'),
  );
  made.reject(503);
  pass();
  t.deepEqual(
    decisions.map(({ action }) => action),
    ['reject'],
  );
});

test('each observer hears of the close once', (t) => {
  const { incoming: made } = incoming();
  const heard: [string, boolean][] = [];
  made.observe({ onClose: (hadError) => void heard.push(['first', hadError]) });
  made.observe({});
  made.observe({ onClose: (hadError) => void heard.push(['second', hadError]) });
  made.tellClosed(true);
  made.tellClosed(false);
  t.deepEqual(heard, [
    ['first', true],
    ['second', true],
  ]);
});
