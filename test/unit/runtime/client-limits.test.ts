// Limits for each client address: connections at a time, requests in a second.
import type { IncomingMessage } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { type ClientLimits, limitClients } from '#runtime/client-limits.js';
import { ConnectionFacts } from '#runtime/connection-info.js';
import { type Decision, IncomingHandover } from '#runtime/middleware.js';
import { ManualClock } from '../../helpers/manual-clock.js';
import { requestEntries, standIn } from '../../helpers/stand-in-handover.js';

const REQUEST = {} as IncomingMessage;

/** Clients that come and go, in front of one limit. */
function limited(t: ExecutionContext, limits: ClientLimits) {
  const clock = ManualClock.install(t);
  const middleware = limitClients(limits);
  const connect = (address = '192.0.2.1') => {
    const handover = standIn(requestEntries(['REMOTE_ADDR', address]));
    let decision: Decision | undefined;
    const incoming = new IncomingHandover(
      handover,
      new ConnectionFacts(handover, () => undefined),
      (made) => {
        decision = made;
      },
    );
    let isPassed = false;
    void middleware(incoming, () => {
      isPassed = true;
    });
    return {
      isPassed,
      status: decision?.action === 'reject' ? decision.status : undefined,
      /** What the guards answer: undefined serves. */
      request: () => incoming.guards.map((guard) => guard(REQUEST)).find((status) => status !== undefined),
      close: () => incoming.tellClosed(false),
    };
  };
  return { clock, connect };
}

test.serial('a client has so many connections at a time, and the next gets 503', (t) => {
  const { connect } = limited(t, { maxConnections: 2 });
  const [first, second, third] = [connect(), connect(), connect()];
  t.deepEqual([first.isPassed, second.isPassed, third.isPassed], [true, true, false]);
  t.is(third.status, 503);
  t.true(connect('192.0.2.2').isPassed, 'another client');
  // The close of a connection that was refused frees nothing.
  third.close();
  t.is(connect().status, 503);
  first.close();
  t.true(connect().isPassed);
  t.is(connect().status, 503);
});

test.serial('without a rate no request is judged', (t) => {
  const { connect, clock } = limited(t, { maxConnections: 1 });
  const connection = connect();
  for (let count = 0; count < 1000; count++) t.is(connection.request(), undefined);
  connection.close();
  t.is(clock.pending, 0);
});

test.serial('requests above the rate get 429, until time has earned others', (t) => {
  const { connect, clock } = limited(t, { requestsPerSecond: 2 });
  const { request } = connect();
  t.deepEqual([request(), request(), request()], [undefined, undefined, 429]);
  clock.advance(499);
  t.is(request(), 429);
  clock.advance(1);
  t.deepEqual([request(), request()], [undefined, 429]);
  clock.advance(3_600_000);
  t.deepEqual(
    [request(), request(), request()],
    [undefined, undefined, 429],
    'an hour earns no more than the burst',
  );
});

test.serial('a burst comes on top, and is earned at the rate', (t) => {
  const { connect, clock } = limited(t, { requestsPerSecond: 1, burst: 3 });
  const { request } = connect();
  t.deepEqual([request(), request(), request(), request()], [undefined, undefined, undefined, 429]);
  clock.advance(1000);
  t.deepEqual([request(), request()], [undefined, 429]);
});

test.serial('a rate below one request a second still lets one through', (t) => {
  const { connect, clock } = limited(t, { requestsPerSecond: 0.1 });
  const { request } = connect();
  t.deepEqual([request(), request()], [undefined, 429]);
  clock.advance(10_000);
  t.is(request(), undefined);
});

test.serial('all connections of a client share its tokens, and other clients have their own', (t) => {
  const { connect } = limited(t, { requestsPerSecond: 2 });
  const [first, second, other] = [connect(), connect(), connect('2001:db8::1')];
  t.is(first.request(), undefined);
  t.is(second.request(), undefined);
  t.is(first.request(), 429);
  t.is(other.request(), undefined);
});

test.serial(
  'reconnecting gives no new tokens, and a client is forgotten when it has earned them all',
  (t) => {
    const { connect, clock } = limited(t, { requestsPerSecond: 1, burst: 10 });
    const spend = (count: number): (number | undefined)[] => {
      const connection = connect();
      const answers = Array.from({ length: count }, () => connection.request());
      connection.close();
      return answers;
    };
    // One token is missing: a timer of one second.
    t.deepEqual(spend(1), [undefined]);
    clock.advance(500);
    // Nearly all are missing now; that timer must not forget it.
    t.deepEqual(spend(10).filter((status) => status === 429).length, 1);
    clock.advance(600);
    t.deepEqual(spend(2), [undefined, 429]);
    t.is(clock.pending, 1);
    clock.advance(10_000);
    t.is(clock.pending, 0);
    t.is(spend(11).filter((status) => status === 429).length, 1);
  },
);

const refused: [limits: object, message: string][] = [
  [{ maxConnections: 0 }, 'The option maxConnections must be at least 1'],
  [{ maxConnections: Number.NaN }, 'The option maxConnections must be at least 1'],
  [{ requestsPerSecond: 0 }, 'The option requestsPerSecond must be above 0'],
  [{ requestsPerSecond: -1 }, 'The option requestsPerSecond must be above 0'],
  [{ requestsPerSecond: 5, burst: 0.5 }, 'The option burst must be at least 1'],
];
for (const [limits, message] of refused) {
  test(`${JSON.stringify(limits)} is refused`, (t) => {
    t.throws(() => limitClients(limits), { code: 'BKR_ERR_OPTION', message });
  });
}
