// The public types of @fdpass/backend-runtime. The compiler is the test: an expectation that fails does not build.
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  type Admission,
  type AdmissionStats,
  admission,
  type ConnectionInfo,
  connectionInfo,
  createFrontDoor,
  createServer,
  type FrontDoorStats,
  type HandoverMiddleware,
  type HandoverObserver,
  HandoverServer,
  type HandoverServerOptions,
  type HandoverServerStats,
  type IncomingHandover,
  limitClients,
  type MatchPrefix,
  prefixMatcher,
  RuntimeError,
  sendFile,
} from '@fdpass/backend-runtime';
import {
  type ERRORS,
  type RuntimeErrorCode,
  RuntimeError as RuntimeErrorOfErrors,
} from '@fdpass/backend-runtime/errors';
import { type Gateway, openGateway } from '@fdpass/backend-runtime/testing';
import type { Handover, WireError } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { expectTypeOf } from 'expect-type';

/** Typed, and never run. */
function check(t: { pass(): void }, _compiled: () => unknown): void {
  t.pass();
}

test('createServer() is called as http.createServer() is, and makes an http.Server', (t) => {
  check(t, () => {
    expectTypeOf(createServer()).toEqualTypeOf<HandoverServer>();
    createServer((request, response) => {
      expectTypeOf(request).toEqualTypeOf<IncomingMessage>();
      expectTypeOf(response).toExtend<ServerResponse>();
    });
    createServer({ keepAliveTimeout: 1000, maxHeaderSize: 8192 });
    createServer({ keepAlive: { scope: '/app/' } }, (_request, response) => response.end());
    createServer({ keepAlive: true });
    expectTypeOf<HandoverServer>().toExtend<http.Server>();
    const server: http.Server = createServer();
    // What makes a handler for the one makes it for the other.
    const listener: http.RequestListener = (_request, response) => void response.end();
    createServer(listener);
    createServer({}, listener);
    // @ts-expect-error: no such option
    createServer({ earlyBodyTimeout: 5 });
    // @ts-expect-error: milliseconds are a number
    createServer({ sendTimeoutMs: '5s' });
    // @ts-expect-error: a scope is an object
    createServer({ keepAlive: '/app/' });
    // @ts-expect-error: options come first
    createServer(listener, {});
    return server;
  });
});

test('listening, and what it says about itself', (t) => {
  check(t, () => {
    const server = createServer();
    expectTypeOf(server.listen('/run/x.sock', () => {})).toEqualTypeOf<HandoverServer>();
    expectTypeOf(server.address()).toEqualTypeOf<string | null>();
    expectTypeOf(server.stats()).toEqualTypeOf<HandoverServerStats>();
    expectTypeOf(server.close()).toEqualTypeOf<HandoverServer>();
    expectTypeOf(server.use()).toEqualTypeOf<HandoverServer>();
    expectTypeOf<HandoverServerOptions>().toHaveProperty('allowedPeers');
    expectTypeOf<HandoverServerOptions>().toHaveProperty('trustedRouters');
  });
});

test('middleware may be synchronous or not', (t) => {
  check(t, () => {
    const synchronous: HandoverMiddleware = (handover, next) => {
      expectTypeOf(handover).toEqualTypeOf<IncomingHandover>();
      expectTypeOf(handover.kind).toEqualTypeOf<'full' | 'partial' | 'relay'>();
      expectTypeOf(handover.take()).toEqualTypeOf<Handover>();
      handover.tags.set('mine', 1);
      handover.reject(503, { 'Retry-After': '1' });
      handover.guard((request) => (request.url === '/' ? undefined : 404));
      next();
      next(new Error('why'));
    };
    const asynchronous: HandoverMiddleware = async (handover, next) => {
      await Promise.resolve(handover.info.client.address);
      next();
    };
    createServer().use(synchronous, asynchronous, limitClients({ maxConnections: 10 }), () => {});
    // @ts-expect-error: a status is a number
    createServer().use((handover) => handover.reject('503'));
    // @ts-expect-error: it must do with a handover and next
    createServer().use((_handover, _next, _more) => {});
    // @ts-expect-error: it must return nothing
    const returning: HandoverMiddleware = () => Promise.resolve(1);
    // @ts-expect-error: a guard answers a status or undefined
    createServer().use((handover) => handover.guard(() => 'no'));
    // @ts-expect-error: no such limit
    limitClients({ connections: 1 });
    return returning;
  });
});

test('an observer takes what it wants to hear', (t) => {
  check(t, () => {
    const observer: HandoverObserver = {
      onRequest: (request, response) => {
        expectTypeOf(request).toEqualTypeOf<IncomingMessage>();
        expectTypeOf(response).toExtend<ServerResponse>();
      },
      onUpgrade: (_request, socket, head) => {
        expectTypeOf(socket).toEqualTypeOf<Duplex>();
        expectTypeOf(head).toExtend<Uint8Array>();
      },
      onClose: (hadError) => expectTypeOf(hadError).toBeBoolean(),
    };
    // @ts-expect-error: no such event
    const wrong: HandoverObserver = { onEnd: () => {} };
    return [observer, wrong];
  });
});

test('connectionInfo() keeps what the sender says and what the kernel says apart', (t) => {
  check(t, () => (request: IncomingMessage) => {
    const info = connectionInfo(request);
    expectTypeOf(info).toEqualTypeOf<ConnectionInfo>();
    expectTypeOf(connectionInfo(request.socket)).toEqualTypeOf<ConnectionInfo>();
    expectTypeOf(info.handover).toEqualTypeOf<'full' | 'partial' | 'relay'>();
    expectTypeOf(info.client.family).toEqualTypeOf<'IPv4' | 'IPv6' | 'unix'>();
    expectTypeOf(info.peer).extract<undefined>().toEqualTypeOf<undefined>();
    expectTypeOf(info.variables).toEqualTypeOf<Readonly<Record<string, string>>>();
    expectTypeOf(info.requestNumber).toBeNumber();
    // @ts-expect-error: there may be none
    info.peer.address;
    // @ts-expect-error: there may be none
    info.ingress.name;
    // @ts-expect-error: facts do not change
    info.requestNumber = 2;
    // @ts-expect-error: neither a request nor a socket
    connectionInfo({});
  });
});

test('codes are a closed union, and an error takes what its message needs', (t) => {
  t.is(RuntimeErrorOfErrors, RuntimeError);
  check(t, () => {
    expectTypeOf<RuntimeErrorCode>().toEqualTypeOf<keyof typeof ERRORS>();
    expectTypeOf<RuntimeErrorCode & WireError['code']>().toBeNever();
    expectTypeOf(new RuntimeError('BKR_ERR_ADOPT').code).toEqualTypeOf<RuntimeErrorCode>();
    new RuntimeError('BKR_ERR_APP', 'app.js', 'does not load', { cause: new Error('why') });
    // @ts-expect-error: no such code
    new RuntimeError('BKR_ERR_NOPE');
    // @ts-expect-error: what is wrong with it is missing
    new RuntimeError('BKR_ERR_APP', 'app.js');
  });
});

test('files, front door and gateway', (t) => {
  check(t, () => async (response: ServerResponse) => {
    expectTypeOf(sendFile(response, '/srv/a', { start: 1, end: 2 })).toEqualTypeOf<Promise<void>>();
    // @ts-expect-error: nothing to answer on
    await sendFile({}, '/srv/a');
    const door = createFrontDoor({ listeners: [{ port: 0, to: ['unix:/run/a', '/run/b'] }] });
    expectTypeOf(door.stats()).toEqualTypeOf<FrontDoorStats>();
    door.on('clientError', (error) => expectTypeOf(error).toEqualTypeOf<RuntimeError>());
    // @ts-expect-error: where to is missing
    createFrontDoor({ listeners: [{ port: 0 }] });
    const gateway = await openGateway(createServer(), { kind: 'partial', version: 0 });
    expectTypeOf(gateway).toEqualTypeOf<Gateway>();
    expectTypeOf(gateway.url).toBeString();
    // @ts-expect-error: no such kind
    await openGateway(createServer(), { kind: 'half' });
    // @ts-expect-error: no such version
    await openGateway(createServer(), { kind: 'full', version: 2 });
  });
});

test('the server is the class that is exported', (t) => {
  t.true(createServer() instanceof HandoverServer);
  t.true(createServer() instanceof http.Server);
});

test('admission() is for use(), and matchPrefix() has the type of the values', (t) => {
  check(t, () => {
    const admitting = admission({ block: ['192.0.2.0/24'], action: 'reset', dryRun: true });
    expectTypeOf(admitting).toEqualTypeOf<Admission>();
    createServer().use(admitting);
    expectTypeOf(admitting.stats()).toEqualTypeOf<AdmissionStats>();
    admitting.replace({ allow: ['192.0.2.0/24'] as const });
    // @ts-expect-error: no such action
    admission({ action: 'drop' });
    const matchPrefix = prefixMatcher([{ localPrefix: '192.0.2.0/24', value: 1 }, { value: 2 }]);
    expectTypeOf(matchPrefix).toEqualTypeOf<MatchPrefix<number>>();
    createServer((request) => {
      expectTypeOf(matchPrefix(request)).toEqualTypeOf<number | undefined>();
      matchPrefix(request.socket);
    });
    // @ts-expect-error: undefined is what no rule is for
    prefixMatcher([{ value: undefined }]);
  });
});
