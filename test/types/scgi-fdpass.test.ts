// The public types of @fdpass/scgi-fdpass. The compiler is the test: an expectation that fails does not build.
import type { EventEmitter } from 'node:events';
import {
  closeHandover,
  encodeMessage,
  type Handover,
  type HandoverKind,
  type ListenAddress,
  type Message,
  MessageDecoder,
  type OutgoingHandover,
  PassedFd,
  passOn,
  Receiver,
  type ReceiverOptions,
  type RefusalCode,
  type RelayHandover,
  type ScgiHeaders,
  Sender,
  type SendOutcome,
  WireError,
  type WireErrorCode,
  type WireLimits,
  wireLimits,
} from '@fdpass/scgi-fdpass';
import { type ERRORS, type ErrorScope, WireError as WireErrorOfErrors } from '@fdpass/scgi-fdpass/errors';
import test from 'ava';
import { expectTypeOf } from 'expect-type';

/** Typed, and never run. */
function check(t: { pass(): void }, _compiled: () => unknown): void {
  t.pass();
}

test('the kind of a handover says which descriptors it has', (t) => {
  check(t, () => (handover: Handover) => {
    expectTypeOf(handover.kind).toEqualTypeOf<HandoverKind>();
    expectTypeOf<HandoverKind>().toEqualTypeOf<'full' | 'partial' | 'relay'>();
    // @ts-expect-error: a relay has none
    handover.passedFd;
    // @ts-expect-error: a full handover has none
    handover.connection;
    switch (handover.kind) {
      case 'full':
        expectTypeOf(handover.passedFd).toEqualTypeOf<PassedFd>();
        // @ts-expect-error: the UNIX connection is closed by then
        handover.connection;
        break;
      case 'partial':
        expectTypeOf(handover.passedFd).toEqualTypeOf<PassedFd>();
        expectTypeOf(handover.connection).toEqualTypeOf<PassedFd>();
        break;
      case 'relay':
        expectTypeOf(handover).toEqualTypeOf<RelayHandover>();
        expectTypeOf(handover.contentLength).toBeNumber();
        // @ts-expect-error: no descriptor came
        handover.passedFd;
        break;
      default:
        expectTypeOf(handover).toBeNever();
    }
    expectTypeOf(handover.headers).toEqualTypeOf<ScgiHeaders>();
    expectTypeOf(handover.version).toEqualTypeOf<0 | 1>();
    expectTypeOf(handover.hops).toBeNumber();
    expectTypeOf(closeHandover).toBeCallableWith(handover);
    expectTypeOf(passOn(handover)).toEqualTypeOf<OutgoingHandover>();
    // @ts-expect-error: facts do not change
    handover.version = 1;
  });
});

test('codes are a closed union, and an error takes what its message needs', (t) => {
  t.is(WireErrorOfErrors, WireError);
  check(t, () => {
    expectTypeOf<WireErrorCode>().toEqualTypeOf<keyof typeof ERRORS>();
    expectTypeOf<'FDPASS_ERR_NO_FD'>().toExtend<WireErrorCode>();
    expectTypeOf<string>().not.toExtend<WireErrorCode>();
    expectTypeOf<RefusalCode>().toExtend<WireErrorCode>();
    const error = new WireError('FDPASS_ERR_TRUNCATED', 12, { cause: new Error('why') });
    expectTypeOf(error.code).toEqualTypeOf<WireErrorCode>();
    expectTypeOf(error.scope).toEqualTypeOf<ErrorScope>();
    expectTypeOf(error).toExtend<Error>();
    new WireError('FDPASS_ERR_NO_FD');
    new WireError('FDPASS_ERR_NO_FD', { cause: error });
    // @ts-expect-error: no such code
    new WireError('FDPASS_ERR_NOPE');
    // @ts-expect-error: the number of bytes is missing
    new WireError('FDPASS_ERR_TRUNCATED');
    // @ts-expect-error: it is a number
    new WireError('FDPASS_ERR_TRUNCATED', '12');
    // @ts-expect-error: this message takes nothing
    new WireError('FDPASS_ERR_NO_FD', 12);
    // @ts-expect-error: no such code
    if (error.code === 'FDPASS_ERR_NOPE') return;
  });
});

test('the events of a receiver are typed', (t) => {
  check(t, () => {
    const receiver = new Receiver({ limits: { maxHeaders: 8 }, refuse: (message) => message.version === 1 });
    expectTypeOf(receiver).toExtend<EventEmitter>();
    receiver.on('handover', (handover) => expectTypeOf(handover).toEqualTypeOf<Handover>());
    receiver.on('handoverError', (error, sender) => {
      expectTypeOf(error).toEqualTypeOf<WireError>();
      expectTypeOf(sender).toEqualTypeOf<{ pid: number; uid: number; gid: number }>();
    });
    // @ts-expect-error: it gets the handover
    receiver.on('handover', (_wrong: string) => {});
    expectTypeOf(receiver.path).toEqualTypeOf<string | undefined>();
    expectTypeOf<NonNullable<ReceiverOptions['refuse']>>().parameter(0).toEqualTypeOf<Message>();
    receiver.listen({ path: '/run/x.sock', mode: 0o660, takeover: true });
    receiver.listen({ fd: 3 });
    // @ts-expect-error: a port is nothing to listen on
    receiver.listen({ port: 80 });
    // @ts-expect-error: neither path nor fd
    const nowhere: ListenAddress = {};
    return nowhere;
  });
});

test('what became of a handover tells who owns the client', (t) => {
  check(t, () => async () => {
    const sender = new Sender({ path: '/run/x.sock' });
    const outcome = await sender.send({ headers: [['REQUEST_METHOD', 'GET']], fd: 0 });
    expectTypeOf(outcome).toEqualTypeOf<SendOutcome>();
    if (outcome.taken) {
      expectTypeOf(outcome.connection).toEqualTypeOf<PassedFd | undefined>();
      // @ts-expect-error: it was taken
      outcome.code;
    } else {
      expectTypeOf(outcome.code).toEqualTypeOf<RefusalCode>();
      expectTypeOf(outcome.error).toEqualTypeOf<WireError>();
      // @ts-expect-error: it was not taken
      outcome.connection;
    }
    // @ts-expect-error: the client's descriptor is missing
    await sender.send({ headers: [] });
    // @ts-expect-error: the path is missing
    new Sender({});
  });
});

test('the codecs', (t) => {
  check(t, () => {
    expectTypeOf(new MessageDecoder().push(Buffer.alloc(0))).toEqualTypeOf<Message | undefined>();
    expectTypeOf(encodeMessage({ headers: new Map([['A', 'b']]) })).toExtend<Uint8Array>();
    // @ts-expect-error: values are strings
    encodeMessage({ headers: [['A', 1]] });
    // @ts-expect-error: no such dialect
    encodeMessage({ headers: [], dialect: 'http' });
    expectTypeOf(wireLimits).returns.toEqualTypeOf<WireLimits>();
    // @ts-expect-error: no such limit
    wireLimits({ maxCookies: 1 });
  });
});

test('a passed descriptor is disposable', (t) => {
  check(t, () => {
    using owner = new PassedFd(0);
    expectTypeOf(owner.take()).toBeNumber();
    expectTypeOf(owner.dup()).toEqualTypeOf<PassedFd>();
    // @ts-expect-error: read only
    owner.fd = 1;
  });
});
