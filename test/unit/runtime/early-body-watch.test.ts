// When a body counts as lost: no byte of it for the whole time, while nobody but the client could be the reason.
import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { EarlyBodyWatch } from '#runtime/early-body-watch.js';
import { ManualClock } from '../../helpers/manual-clock.js';

const TIMEOUT_MS = 5000;

function watch(t: ExecutionContext) {
  const clock = ManualClock.install(t);
  const request = Object.assign(new EventEmitter(), { complete: false, readableLength: 0 });
  const response = new EventEmitter();
  const socket = Object.assign(new EventEmitter(), { bytesRead: 100 });
  let lost = 0;
  new EarlyBodyWatch(
    request as unknown as IncomingMessage,
    response as unknown as ServerResponse,
    socket as unknown as Socket,
    TIMEOUT_MS,
    () => {
      lost++;
    },
  );
  return { clock, request, response, socket, timesLost: () => lost };
}

test.serial('a body that stands still is lost once, and not before its time', (t) => {
  const { clock, timesLost } = watch(t);
  clock.advance(TIMEOUT_MS - 1);
  t.is(timesLost(), 0);
  clock.advance(1001);
  t.is(timesLost(), 1);
  clock.advance(60_000);
  t.is(timesLost(), 1);
  t.is(clock.pending, 0);
});

test.serial('each byte begins the time anew', (t) => {
  const { clock, socket, timesLost } = watch(t);
  for (let round = 0; round < 5; round++) {
    clock.advance(TIMEOUT_MS - 1001);
    socket.bytesRead++;
    clock.advance(1000);
  }
  t.is(timesLost(), 0);
  clock.advance(TIMEOUT_MS + 1000);
  t.is(timesLost(), 1);
});

test.serial('a handler that leaves bytes unread is not a client that sends none', (t) => {
  const { clock, request, timesLost } = watch(t);
  request.readableLength = 1;
  clock.advance(60_000);
  t.is(timesLost(), 0);
  request.readableLength = 0;
  clock.advance(TIMEOUT_MS + 1000);
  t.is(timesLost(), 1);
});

test.serial('a process that stood still has not read what came meanwhile', (t) => {
  const { clock, socket, timesLost } = watch(t);
  clock.stall(10 * TIMEOUT_MS);
  socket.bytesRead++;
  clock.advance(TIMEOUT_MS - 1);
  t.is(timesLost(), 0);
});

test.serial('a whole body ends the watch', (t) => {
  const { clock, request, timesLost } = watch(t);
  request.complete = true;
  clock.advance(60_000);
  t.is(timesLost(), 0);
  t.is(clock.pending, 0);
});

for (const ended of ['request', 'response', 'socket'] as const) {
  test.serial(`it ends with the ${ended}`, (t) => {
    const watched = watch(t);
    watched[ended].emit('close');
    t.is(watched.clock.pending, 0);
    watched.clock.advance(60_000);
    t.is(watched.timesLost(), 0);
  });
}
