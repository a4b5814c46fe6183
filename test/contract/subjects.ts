// The servers one contract is held against: http.createServer as the control, and ours behind each kind of gateway. Owns how
// each is made and reached; what must be true of all of them is in the test files.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, isIP, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, HandoverServer, type HandoverServerOptions } from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { type GatewayOptions, openGateway } from '#runtime/testing/index.js';
import { RawClient } from '../helpers/raw-client.js';

/** A server that listens, and the way to it. */
export interface Running {
  readonly server: Server;
  /** Where clients connect, on 127.0.0.1. */
  readonly port: number;
  /** Without a slash at the end. */
  readonly url: string;
  connect(): Promise<RawClient>;
  /** Stops at once, with every connection. Idempotent; a test's end calls it. */
  close(): Promise<void>;
}

/** Where clients of one UNIX path connect. */
export interface Way {
  connect(): Promise<RawClient>;
  close(): Promise<void>;
}

export interface Subject {
  readonly name: string;
  readonly kind: 'node' | GatewayOptions['kind'];
  /** The web server speaks HTTP with the client, and each connection here has one request. */
  readonly isRelay: boolean;
  /** The sender is the front door: it asks those that refuse once more. */
  readonly isFrontDoor: boolean;
  /** Makes a server that does not listen yet. */
  create(options: HandoverServerOptions, listener?: RequestListener): Server;
  /** Makes one that does, until the test ends. `configure` sees it before. */
  start(
    t: ExecutionContext,
    listener: RequestListener | undefined,
    options?: HandoverServerOptions,
    configure?: (server: Server) => void,
  ): Promise<Running>;
  /** Opens a way to the UNIX path a server of this kind listens on, or will. */
  reach(t: ExecutionContext, path: string): Promise<Way>;
}

/** Keep-alive as http.createServer has it. What the default is here instead, differences.test.ts says. */
const LIKE_NODE: HandoverServerOptions = { keepAlive: { scope: '/' } };

const node: Subject = {
  name: 'node:http',
  kind: 'node',
  isRelay: false,
  isFrontDoor: false,
  create: ({ keepAlive, ...options }, listener) =>
    createHttpServer(typeof keepAlive === 'boolean' ? { ...options, keepAlive } : options, listener),
  async start(t, listener, options = {}, configure = () => {}) {
    const server = this.create(options, reporting(t, listener));
    configure(server);
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return running(t, server, port, async () => {
      if (server.listening) server.close();
      await Promise.all([...sockets].map((socket) => once(socket.destroy(), 'close')));
    });
  },
  async reach(_t, path) {
    return { connect: () => RawClient.connect(path), close: async () => {} };
  },
};

function handover(name: string, gatewayOptions: GatewayOptions, own: HandoverServerOptions = {}): Subject {
  return {
    name,
    kind: gatewayOptions.kind,
    isRelay: gatewayOptions.kind === 'relay',
    isFrontDoor: gatewayOptions.kind === 'full' && gatewayOptions.variables === undefined,
    create: (options, listener) => createServer({ ...LIKE_NODE, ...own, ...options }, listener),
    async start(t, listener, options = {}, configure = () => {}) {
      const server = this.create(options, reporting(t, listener));
      configure(server);
      server.listen({ path: temporaryPath(t) });
      await once(server, 'listening');
      const gateway = await openGateway(server, gatewayOptions);
      return running(t, server, gateway.port, async () => {
        await gateway.close();
        await stop(server);
      });
    },
    async reach(t, path) {
      const gateway = await openGateway(path, gatewayOptions);
      t.teardown(() => gateway.close());
      return { connect: () => RawClient.connect(gateway.port), close: () => gateway.close() };
    },
  };
}

/** Early bytes come from senders that read past the head; the front door never does, a gateway with variables of its own may. */
export const subjects: readonly Subject[] = [
  node,
  handover('full', { kind: 'full' }),
  handover('full, not lean', { kind: 'full' }, { lean: false }),
  handover('full with early bytes', { kind: 'full', variables: { GATEWAY: 'reads ahead' } }),
  handover('partial', { kind: 'partial' }),
  handover('relay', { kind: 'relay' }),
];

/** For what belongs to a client's own connection: in a relay that ends at the web server. */
export const connectionSubjects = subjects.filter(({ isRelay }) => !isRelay);

/** One of each, for what does not depend on how the first bytes come. */
export const serverSubjects = subjects.filter(({ name }) => name !== 'full with early bytes');

/** A path for a UNIX socket, in a folder that goes with the test. */
export function temporaryPath(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-contract-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'server.sock');
}

/** Stops a server at once, whatever it is, and waits for that. */
export async function stop(server: Server): Promise<void> {
  if (!(server instanceof HandoverServer)) {
    if (server.listening) server.close();
    server.closeAllConnections();
    return;
  }
  const { connections, pending } = server.stats();
  if (!server.listening && connections === 0 && pending === 0) return;
  const closed = once(server, 'close');
  server.destroy();
  await closed;
}

/** A listener that fails lets go of its client, so that the test ends; the other tests of the process go on. */
function reporting(t: ExecutionContext, listener: RequestListener | undefined): RequestListener | undefined {
  if (listener === undefined) return undefined;
  return async (request, response) => {
    try {
      await listener(request, response);
    } catch (error) {
      request.socket.destroy();
      // An assertion has failed the test already; throwing it again would end the process.
      if (!(error instanceof Error && error.name === 'TestFailure')) t.log('the listener failed:', error);
    }
  };
}

function running(
  t: ExecutionContext,
  server: Server,
  port: number,
  closeServer: () => Promise<void>,
): Running {
  const clients: RawClient[] = [];
  let closed: Promise<unknown> | undefined;
  const close = async (): Promise<void> => {
    closed ??= Promise.all([...clients.map((client) => client.close()), closeServer()]);
    await closed;
  };
  t.teardown(close);
  return {
    server,
    port,
    url: `http://127.0.0.1:${port}`,
    async connect() {
      const client = await RawClient.connect(port);
      clients.push(client);
      return client;
    },
    close,
  };
}

/** True for what Node.js calls an address of a TCP client. */
export const isAddress = (address: unknown): boolean => typeof address === 'string' && isIP(address) !== 0;
