// A front door in this process, with backends that answer with their names, and clients from any address of 127.0.0.0/8.
import { once } from 'node:events';
import {
  createFrontDoor,
  type FrontDoor,
  type FrontDoorOptions,
  type FrontDoorRoute,
} from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { RawClient } from './raw-client.js';
import { makeServer } from './serve.js';

/** For host '::', chosen by the kernel; `to` is the name of a backend. */
export type SceneRoute = Omit<FrontDoorRoute, 'to'> & { to: string };

/** One port for two backends. */
export const SPLIT: readonly SceneRoute[] = [
  { prefixes: ['127.0.1.0/24'], to: 'a' },
  { prefixes: ['127.0.2.0/24', '127.0.4.0/24'], to: 'b' },
];

export class FrontDoorScene {
  readonly warnings: string[] = [];
  readonly #paths: ReadonlyMap<string, string>;
  readonly frontDoor: FrontDoor;

  private constructor(
    paths: ReadonlyMap<string, string>,
    routes: readonly SceneRoute[],
    options: Partial<FrontDoorOptions>,
  ) {
    this.#paths = paths;
    this.frontDoor = createFrontDoor({
      listeners: this.routes(routes),
      logger: { warn: (_facts, message) => void this.warnings.push(message) },
      ...options,
    });
  }

  /** Closed with the test. */
  static async open(
    t: ExecutionContext,
    routes: readonly SceneRoute[],
    { backends = ['a', 'b', 'c'], ...options }: Partial<FrontDoorOptions> & { backends?: string[] } = {},
  ): Promise<FrontDoorScene> {
    const paths = new Map<string, string>();
    for (const name of backends) {
      const { server, path } = await makeServer(t, {}, (_request, response) => response.end(name));
      await once(server.listen({ path }), 'listening');
      paths.set(name, path);
    }
    const scene = new FrontDoorScene(paths, routes, options);
    t.teardown(() => scene.frontDoor.close());
    await scene.frontDoor.listen();
    return scene;
  }

  routes(routes: readonly SceneRoute[]): FrontDoorRoute[] {
    return routes.map(({ to, ...route }) => ({
      ...(route.fd === undefined ? { host: '::', port: 0 } : {}),
      ...route,
      to: this.#paths.get(to) ?? to,
    }));
  }

  replace(routes: readonly SceneRoute[]): Promise<void> {
    return this.frontDoor.replace(this.routes(routes));
  }

  get port(): number {
    return this.frontDoor.addresses()[0]?.port ?? 0;
  }

  /** The name of the backend a client of this address goes to; 'reset', or '' if it is closed without an answer. */
  async goesTo(address: string, port = this.port): Promise<string> {
    try {
      const client = await RawClient.connect(port, address);
      await client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      const answer = await client.readToEnd();
      if (client.error !== undefined) return isReset(client.error) ? 'reset' : client.error;
      return answer.split('\r\n\r\n')[1] ?? '';
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      return isReset(code) ? 'reset' : code;
    }
  }

  /** As `goesTo`, for many. */
  async allGoTo(addresses: readonly string[], port = this.port): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const address of addresses) found[address] = await this.goesTo(address, port);
    return found;
  }
}

/** What a client sees depends on whether it has written yet. */
const isReset = (code: string): boolean => code === 'ECONNRESET' || code === 'EPIPE';
