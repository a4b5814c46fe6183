// What a Fastify application sees: our factory changes none of Fastify's own types. The compiler is the test.
import type http from 'node:http';
import {
  type ConnectionConstraint,
  type ConnectionInfo,
  connectionConstraintPlugin,
  connectionInfoPlugin,
  type HandoverServer,
  handoverRequestId,
  handoverServer,
  limitClients,
  sendFile,
} from '@fdpass/backend-runtime';
import test from 'ava';
import { expectTypeOf } from 'expect-type';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyPluginAsync,
  type FastifyPluginCallback,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerFactory,
  type RawServerDefault,
  type RouteOptions,
} from 'fastify';

test('Fastify({ serverFactory }) keeps its default types', async (t) => {
  const plain = Fastify();
  const app = Fastify({ serverFactory: handoverServer() });
  expectTypeOf(app).toEqualTypeOf(plain);
  expectTypeOf(app.server).toEqualTypeOf<RawServerDefault>();
  const instance: FastifyInstance = app;
  expectTypeOf<typeof app>().toExtend<
    FastifyInstance<http.Server, http.IncomingMessage, http.ServerResponse, FastifyBaseLogger>
  >();
  t.is<unknown, unknown>(instance, app);
  await Promise.all([app.close(), plain.close()]);
});

test("beside Fastify's other options", async (t) => {
  const app = Fastify({
    logger: false,
    keepAliveTimeout: 1000,
    genReqId: handoverRequestId,
    serverFactory: handoverServer({ keepAlive: { scope: '/' }, sendTimeoutMs: 1000 }, (server) => {
      expectTypeOf(server).toEqualTypeOf<HandoverServer>();
      server.use(limitClients({ requestsPerSecond: 100 }));
    }),
  });
  expectTypeOf(handoverServer).returns.toEqualTypeOf<FastifyServerFactory>();
  // @ts-expect-error: no such option
  t.truthy(handoverServer({ keepAliveScope: '/' }));
  await app.close();
});

test('request.connectionInfo is there for every handler, and may be undefined', async (t) => {
  expectTypeOf<FastifyRequest['connectionInfo']>().toEqualTypeOf<ConnectionInfo | undefined>();
  const app = Fastify({ serverFactory: handoverServer() });
  expectTypeOf(connectionInfoPlugin).toExtend<FastifyPluginAsync | FastifyPluginCallback>();
  await app.register(connectionInfoPlugin);
  app.get('/', (request, reply) => {
    expectTypeOf(request.connectionInfo).toEqualTypeOf<ConnectionInfo | undefined>();
    expectTypeOf(request.connectionInfo?.client.address).toEqualTypeOf<string | undefined>();
    // @ts-expect-error: there may be none (app.inject)
    const address = () => request.connectionInfo.client;
    // @ts-expect-error: read only
    const replace = () => (request.connectionInfo = undefined);
    expectTypeOf(sendFile(reply, '/srv/a')).toEqualTypeOf<Promise<void>>();
    return reply.send({ known: request.connectionInfo !== undefined, typed: [address, replace].length });
  });
  const plugin: FastifyPluginAsync = async (scope) => {
    scope.addHook('onRequest', async (request: FastifyRequest, _reply: FastifyReply) => {
      expectTypeOf(request.connectionInfo).toEqualTypeOf<ConnectionInfo | undefined>();
    });
  };
  await app.register(plugin);
  await app.close();
  t.pass();
});

test('a route constraint by the connection is typed', async (t) => {
  const app = Fastify();
  await app.register(connectionConstraintPlugin);
  const handler = async (): Promise<string> => 'served';
  expectTypeOf<NonNullable<RouteOptions['constraints']>['connection']>().toEqualTypeOf<
    ConnectionConstraint | undefined
  >();
  const connection = { localPrefix: '203.0.113.0/24', port: 443, sourcePrefix: '::/0', ingress: 'mg1' };
  app.get('/', { constraints: { connection, host: 'example.test', version: '1.0.0' } }, handler);
  app.route({ method: ['PUT', 'POST'], url: '/', constraints: { connection: { port: 80 } }, handler });
  const wrong = () => {
    // @ts-expect-error: a port is a number
    app.get('/', { constraints: { connection: { port: '80' } } }, handler);
    // @ts-expect-error: no such member
    app.get('/', { constraints: { connection: { localPrefx: '203.0.113.0/24' } } }, handler);
    // @ts-expect-error: several members, not one text
    app.get('/', { constraints: { connection: '203.0.113.0/24' } }, handler);
  };
  t.is(wrong.length, 0);
  await app.close();
});
