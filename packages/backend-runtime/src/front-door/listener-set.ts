// All listening sockets of a front door, by port: opened all together or not at all, and replaced while clients come. It owns what all
// listeners share, too: the ways to the backends, and the interfaces they name.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { Backends } from '../backends.js';
import { InterfaceTable } from '../ingress/interface-table.js';
import type { LogThrottle } from '../log-throttle.js';
import type { SocketAddress } from '../native.js';
import type { TcpListener } from './listener.js';
import { ListenerGroup, type ListenerGroupHost } from './listener-group.js';
import { groupsOf, type Route, type RouteGroup } from './routes.js';
import { plainAddress } from './scgi-variables.js';
import type { FrontDoorPartition } from './stats.js';

/** Listeners whose names are looked up. */
export interface ResolvedRoutes {
  readonly routes: readonly Route[];
  /** IP literals, by name. */
  readonly addresses: ReadonlyMap<string, string>;
}

/** @throws system errors of getaddrinfo(3) */
export async function resolveRoutes(routes: readonly Route[]): Promise<ResolvedRoutes> {
  const hosts = [...new Set(routes.map(({ host }) => host))];
  const addresses = await Promise.all(
    hosts.map(async (host) => (isIP(host) === 0 ? (await lookup(host)).address : host)),
  );
  return { routes, addresses: new Map(hosts.map((host, nth) => [host, addresses[nth] as string])) };
}

export type ListenerSetUser = Pick<
  ListenerGroupHost,
  'onClient' | 'onUnrouted' | 'onRerouted' | 'onAcceptError'
>;

/** In case that the kernel does not tell of a change. */
const INTERFACE_RESCAN_MS = 60_000;

export class ListenerSet {
  readonly #host: ListenerGroupHost;
  readonly #interfaces: InterfaceTable;
  readonly #backends: Backends;
  #groups: readonly ListenerGroup[] = [];
  /** In the order of the listeners as they are written. */
  #groupsInOrder: readonly ListenerGroup[] = [];

  constructor(user: ListenerSetUser, sendTimeoutMs: number, log: LogThrottle) {
    this.#backends = new Backends(sendTimeoutMs);
    const warn = (facts: object, message: string): void => log.warn(message, facts, message);
    this.#interfaces = new InterfaceTable([], {
      rescanIntervalMs: INTERFACE_RESCAN_MS,
      logger: { warn, error: warn },
      onChange: () => this.#onInterfaces(),
    });
    this.#host = {
      ...user,
      interfaces: this.#interfaces,
      backend: (path) => this.#backends.at(path),
      onUnrouted: (server) => {
        user.onUnrouted(server);
        const { port } = server;
        const facts = { address: plainAddress(server.address), port };
        log.warn(
          `unrouted ${port}`,
          facts,
          `A client of port ${port} was reset: no listener is for its address`,
        );
      },
      onNoProgram: ({ address, port }, why) => {
        const sentence = `The kernel takes no program for the listeners of port ${port}, which share their accept queues now: ${why}`;
        log.warn(`no program ${address} ${port}`, { address, port }, sentence);
      },
    };
  }

  /** Of all ports. */
  get sockets(): TcpListener[] {
    return this.#groups.flatMap(({ sockets }) => [...sockets]);
  }

  /** Where each listener listens. */
  get addresses(): SocketAddress[] {
    return this.#groupsInOrder.map(({ address }) => ({ ...address }));
  }

  get partitions(): FrontDoorPartition[] {
    return this.#groups.flatMap((group) => group.stats() ?? []);
  }

  /**
   * Opens what is new, then gives every port its listeners; ports that are in use already stay open.
   * @returns closes the ports that no listener has any more
   * @throws system errors, with `address` and `port`, BKR_ERR_PREFIX_TABLE: then all is as before
   */
  use({ routes, addresses }: ResolvedRoutes): (drain: (listener: TcpListener) => void) => void {
    const wanted = groupsOf(routes);
    const groups = new Map<RouteGroup, ListenerGroup>();
    const grown: [group: ListenerGroup, before: number][] = [];
    const others = new Set(this.#groups);
    try {
      // One that leaves the port to the kernel has no claim to a port that another one names.
      for (const group of wanted.sort((a, b) => Number(a.port === 0) - Number(b.port === 0))) {
        const own = [...others].find((each) => each.isFor(group)) ?? new ListenerGroup(group, this.#host);
        others.delete(own);
        groups.set(group, own);
        grown.push([own, own.sockets.length]);
        own.grow(group, addresses.get(group.host) as string);
      }
      for (const own of groups.values()) own.listen();
    } catch (error) {
      for (const [group, before] of grown.reverse()) group.shrink(before);
      throw error;
    }
    this.#groups = [...groups.values()];
    const groupOf = new Map(
      Array.from(groups, ([{ routes }, own]) => routes.map((route) => [route, own] as const)).flat(),
    );
    this.#groupsInOrder = routes.map((route) => groupOf.get(route) as ListenerGroup);
    this.#prepare(routes);
    for (const [group, own] of groups) own.use(group);
    return (drain) => {
      for (const { sockets } of others) for (const listener of sockets) drain(listener);
    };
  }

  /** The sockets are their user's to close. */
  stopFollowing(): void {
    this.#interfaces.stop();
  }

  #onInterfaces(): void {
    for (const group of this.#groups) if (group.asksIngress) group.partition();
  }

  /** Before the groups are used: they ask for interfaces at once. */
  #prepare(routes: readonly Route[]): void {
    if (routes.some(({ rules }) => rules.some(({ ingress }) => ingress !== undefined)))
      this.#interfaces.start();
    else this.#interfaces.stop();
    this.#backends.keep(new Set(routes.flatMap(({ backends }) => backends)));
  }
}
