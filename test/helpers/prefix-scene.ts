// One host in a network namespace that owns addresses by prefix: a web server on its port 80, a router behind it and backends behind
// that, each a process of another user, and clients.
import { chmodSync } from 'node:fs';
import type { HandoverServerOptions } from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { CommandedProcess } from './commanded-process.js';
import { NamedServer, socketOf, type WrittenRoute } from './named-server.js';
import { type LoadOptions, NamespaceLoad } from './namespace-load.js';
import { NetworkNamespace } from './network-namespace.js';
import { LOAD_MODULE, nginxFolder, startNginx } from './nginx.js';
import { temporaryFolder } from './serve.js';

/** Whom they run as; none but Debian's nobody needs a name. */
export const USERS = { front: 65_534, router: 65_533, blue: 65_532, green: 65_531 } as const;

export type BackendName = 'blue' | 'green';

/** What is in front of the router: a method of {@link PrefixScene}. */
export type Front = 'frontDoor' | 'nginx';

/** Of clients: addresses of the host that are in nobody's prefix. */
export const CLIENT = { v4: '100.64.0.1', v6: '2001:db8:ffff::1' } as const;

export class PrefixScene {
  readonly namespace: NetworkNamespace;
  readonly #t: ExecutionContext;
  readonly #paths: Readonly<Record<BackendName | 'router', string>>;

  private constructor(t: ExecutionContext, namespace: NetworkNamespace, folder: string) {
    this.namespace = namespace;
    this.#t = t;
    this.#paths = {
      router: socketOf(folder, 'router', USERS.router),
      blue: socketOf(folder, 'blue', USERS.blue),
      green: socketOf(folder, 'green', USERS.green),
    };
  }

  /** @param prefixes the host's own */
  static async make(t: ExecutionContext, ...prefixes: readonly string[]): Promise<PrefixScene> {
    const namespace = await NetworkNamespace.make(t);
    namespace.ip(`address add ${CLIENT.v4}/32 dev lo`);
    namespace.ip(`address add ${CLIENT.v6}/128 dev lo nodad`);
    namespace.ownPrefixes(...prefixes);
    // A service manager would leave the front door CAP_NET_BIND_SERVICE; and more ports than a load uses up in its time.
    namespace.run('sh', '-c', 'echo 80 > /proc/sys/net/ipv4/ip_unprivileged_port_start');
    namespace.run('sh', '-c', 'echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range');
    const folder = await temporaryFolder(t);
    chmodSync(folder, 0o755);
    return new PrefixScene(t, namespace, folder);
  }

  /** Where it listens. */
  path(name: BackendName | 'router'): string {
    return this.#paths[name];
  }

  /** Only the router may connect to it. It listens. */
  async backend(name: BackendName, more: MoreSetup = {}): Promise<NamedServer> {
    const server = await this.#server(name, USERS.router, more);
    await server.listen();
    return server;
  }

  /** Takes the place of a backend that listens. */
  async successor(name: BackendName): Promise<NamedServer> {
    const server = await this.#server(name, USERS.router, {});
    await server.listen('takeover');
    return server;
  }

  /** Only the web server may connect to it. It listens. */
  async router(routes: readonly WrittenRoute[], more: MoreSetup = {}): Promise<NamedServer> {
    const server = await this.#server('router', USERS.front, { ...more, routes });
    await server.listen();
    return server;
  }

  #server(
    name: BackendName | 'router',
    admits: number,
    { options, ...more }: MoreSetup & { routes?: readonly WrittenRoute[] },
  ): Promise<NamedServer> {
    const trust = { allowedPeers: { uids: [admits] }, trustedRouters: { uids: [USERS.router] } };
    const where = { name, path: this.path(name), uid: USERS[name], admits };
    return NamedServer.start(this.#t, this.namespace, {
      ...where,
      ...more,
      options: { ...trust, ...options },
    });
  }

  /** The front door, on port 80 of every address. Resolves with its process id. */
  async frontDoor(): Promise<number> {
    const args = [this.path('router'), '10000', '::', '80', String(USERS.front)];
    const before = this.namespace.enter;
    return (await CommandedProcess.start(this.#t, 'front-door-process.js', args, { before })).pid;
  }

  /** The same by nginx, and clear-text HTTP/2 on port 81. Resolves with its worker's process id. */
  async nginx(): Promise<number> {
    const app = this.path('router');
    const nginx = await startNginx(
      nginxFolder(),
      `server { listen 80; listen [::]:80; listen 81 http2; listen [::]:81 http2;
        location / { fd_pass unix:${app}; fd_pass_fallback @relay; }
        location @relay { include /etc/nginx/scgi_params; scgi_param SERVER_ADDR $server_addr; scgi_pass unix:${app}; } }`,
      { main: `${LOAD_MODULE} user nobody nogroup;`, under: this.namespace.command },
    );
    this.#t.teardown(() => nginx.close());
    return nginx.workers()[0] ?? 0;
  }

  /** Commands as ingress-client.ts takes them. */
  client(): Promise<CommandedProcess> {
    return CommandedProcess.start(this.#t, 'ingress-client.js', [], { before: this.namespace.enter });
  }

  /** Clients of the port 80 of an address, until the load is stopped. */
  load(address: string, options: LoadOptions): NamespaceLoad {
    return new NamespaceLoad(this.#t, this.namespace, `http://${urlHost(address)}/`, options);
  }
}

export interface MoreSetup {
  options?: HandoverServerOptions;
  requestsPerConnection?: number;
}

export const urlHost = (address: string): string => (address.includes(':') ? `[${address}]` : address);
