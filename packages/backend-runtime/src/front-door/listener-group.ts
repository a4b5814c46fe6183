// The listeners of one port: their sockets, and the table by which each client is given to one of them. The table in user space decides;
// the kernel's program, where there is one, only gives each listener an accept queue of its own.

import type { Backend } from '../handing-over.js';
import type { InterfaceTable } from '../ingress/interface-table.js';
import { native, type SocketAddress } from '../native.js';
import { ConnectionTable } from '../routing/connection-table.js';
import { INSTRUCTION_BYTES, MAX_INSTRUCTIONS } from './classic-bpf.js';
import { type ListenerUser, TcpListener } from './listener.js';
import { prefixProgram, spreadingProgram } from './prefix-program.js';
import type { Route, RouteGroup, RouteRule } from './routes.js';
import type { ServerAddress } from './scgi-variables.js';
import { assignSlots, REST_SLOT } from './slots.js';
import type { FrontDoorPartition } from './stats.js';

/** What the listeners of all ports have in common. */
export interface ListenerGroupHost {
  /** Followed while a listener asks for the interface. */
  readonly interfaces: InterfaceTable;
  backend(path: string): Backend;
  /**
   * Takes ownership of `fd`.
   * @param server where the client came in; undefined: its socket knows
   */
  onClient(fd: number, backends: readonly Backend[], server: ServerAddress | undefined): void;
  /** Nobody's: it is reset already. */
  onUnrouted(server: ServerAddress): void;
  onRerouted(): void;
  onAcceptError(error: NodeJS.ErrnoException): void;
  /** The kernel does not take the table's program: clients come in by any socket of the port. */
  onNoProgram(address: SocketAddress, why: string): void;
}

/** One listener's clients. */
interface Target {
  readonly backends: readonly Backend[];
  /** Of the socket they come in by, if the kernel does as the table says. */
  slot: number;
}

/** Who gets which clients; whole, and replaced as a whole. */
interface Routing {
  readonly targets: ReadonlyMap<Route, Target>;
  /** Undefined: all go to the only listener. */
  readonly table: ConnectionTable<Target> | undefined;
}

export class ListenerGroup {
  readonly #host: ListenerGroupHost;
  readonly #user: ListenerUser;
  /** By slot: the order in which they began to listen. */
  readonly #sockets: TcpListener[] = [];
  #group: RouteGroup;
  /** No client comes before there is one. */
  #routing: Routing = { targets: new Map(), table: undefined };
  /** Made before anything changes, as a table may be refused for its size. */
  #nextRouting = this.#routing;
  #slots: ReadonlyMap<string, number> = new Map();
  #instructions = 0;
  #hasWarned = false;

  /** Opens nothing. */
  constructor(group: RouteGroup, host: ListenerGroupHost) {
    this.#host = host;
    this.#group = group;
    this.#user = {
      onClient: (fd, listener) => this.#onClient(fd, listener),
      onAcceptError: (error) => host.onAcceptError(error),
    };
  }

  get sockets(): readonly TcpListener[] {
    return this.#sockets;
  }

  get address(): SocketAddress {
    return (this.#sockets[0] as TcpListener).address;
  }

  /** Some listener asks for the interface a client came in by. */
  get asksIngress(): boolean {
    return this.#routing.table?.asksIngress ?? false;
  }

  /** Whether it is for the same place, chosen by the kernel or not. */
  isFor({ key, host }: RouteGroup): boolean {
    return key === this.#group.key || (host === this.#group.host && key === `${host} ${this.address.port}`);
  }

  /**
   * Opens the sockets that are missing for `group`. Those that join others get no clients before `listen()`.
   * @param address IP literal of its host
   * @throws system errors, with `address` and `port`; BKR_ERR_PREFIX_TABLE; `shrink()` closes what was opened
   */
  grow(group: RouteGroup, address: string): void {
    this.#nextRouting = routingOf(group, this.#host);
    const sockets = this.#sockets;
    for (const { fd } of group.routes) {
      if (fd !== undefined && !sockets.some((each) => each.fd === fd))
        sockets.push(TcpListener.inherit(fd, this.#user));
    }
    if (sockets.length === 0) sockets.push(TcpListener.claim(address, group.port, this.#user));
    // Only the user who opened these may open more: listeners share those that are there.
    if (sockets.some(({ isInherited }) => isInherited)) return;
    const wanted = group.routes.length + (group.routes.some(isForTheRest) ? 0 : 1);
    if (wanted > sockets.length) (sockets[0] as TcpListener).share();
    while (sockets.length < wanted) sockets.push(TcpListener.join(this.address, this.#user));
  }

  /**
   * From now on all sockets get clients, of the table in force. A client in the middle of its handshake would be reset by `shrink()`, so
   * this comes when nothing else can fail.
   * @throws system errors, with `address` and `port`
   */
  listen(): void {
    for (const listener of this.#sockets) listener.listen();
  }

  /** Closes sockets until `count` are left, those opened last first: the others keep their places. */
  shrink(count: number): void {
    while (this.#sockets.length > count) {
      const listener = this.#sockets.pop() as TcpListener;
      if (listener.isInherited) listener.release();
      else if (count === 0) listener.close();
      else listener.drainAndClose(() => true);
    }
  }

  /** From now on clients go where `group` says, also those that wait already. It is the one that it has grown for. */
  use(group: RouteGroup): void {
    this.#group = group;
    this.#routing = this.#nextRouting;
    this.#hasWarned = false;
    this.#assignSlots();
    this.partition();
  }

  /** Tells the kernel which sockets clients come in by. Again when interfaces have changed. */
  partition(): void {
    this.#instructions = 0;
    if (this.#sockets.length === 1) return;
    const rules = this.#partitionRules();
    const prefixes = new Set(rules.map(({ prefix }) => prefix?.key)).size;
    // Each takes an instruction at the least: then there is no need to write it.
    if (prefixes > MAX_INSTRUCTIONS)
      return this.#spread(`${prefixes} prefixes need more than ${MAX_INSTRUCTIONS} instructions`);
    const program = prefixProgram(rules, REST_SLOT);
    const instructions = program.length / INSTRUCTION_BYTES;
    if (instructions > MAX_INSTRUCTIONS)
      return this.#spread(`it would have ${instructions} instructions, more than ${MAX_INSTRUCTIONS}`);
    try {
      native().attachReuseportFilter(this.#anySocket, program);
      this.#instructions = instructions;
    } catch (error) {
      // Less than that, too, is too much where net.core.optmem_max is small.
      this.#spread((error as Error).message);
    }
  }

  /** Undefined if one listener has all clients of the port. */
  stats(): FrontDoorPartition | undefined {
    const { table } = this.#routing;
    if (table === undefined) return undefined;
    const { address, port } = this.address;
    const instructions = this.#instructions;
    return {
      address,
      port,
      by: instructions > 0 ? 'kernel' : 'user',
      rules: table.size,
      sockets: this.#sockets.length,
      instructions,
    };
  }

  get #anySocket(): number {
    return (this.#sockets[0] as TcpListener).fd;
  }

  #spread(why: string): void {
    if (!this.#hasWarned) this.#host.onNoProgram(this.address, why);
    this.#hasWarned = true;
    try {
      native().attachReuseportFilter(this.#anySocket, spreadingProgram());
    } catch {
      // The program before stays: it only says by which socket a client comes in.
    }
  }

  #assignSlots(): void {
    const names = new Map<Route, string>();
    const counts = new Map<string, number>();
    for (const route of this.#group.routes) {
      if (isForTheRest(route)) continue;
      // Two listeners may have the same backends.
      const backends = route.backends.join();
      const count = counts.get(backends) ?? 0;
      counts.set(backends, count + 1);
      names.set(route, `${backends} ${count}`);
    }
    this.#slots = assignSlots([...names.values()], this.#slots, this.#sockets.length);
    for (const [route, target] of this.#routing.targets) {
      target.slot = this.#slots.get(names.get(route) ?? '') ?? REST_SLOT;
    }
  }

  #partitionRules(): Parameters<typeof prefixProgram>[0] {
    const { interfaces } = this.#host;
    return this.#group.routes.flatMap((route) => {
      const { slot } = this.#routing.targets.get(route) as Target;
      return route.rules.flatMap(({ prefix, ingress }) => {
        const ifindex = ingress === undefined ? undefined : interfaces.indexOf(ingress);
        // Nobody comes in by an interface that is not there.
        return ingress !== undefined && ifindex === undefined ? [] : [{ prefix, ifindex, slot }];
      });
    });
  }

  #onClient(fd: number, listener: TcpListener): void {
    const { table, targets } = this.#routing;
    if (table === undefined) {
      const [{ backends }] = targets.values() as unknown as [Target];
      this.#host.onClient(fd, backends, listener.wildcard ? undefined : listener.address);
      return;
    }
    const local = native().localAddress(fd);
    const target = table.match({
      local,
      source: undefined,
      ingress: table.asksIngress ? this.#host.interfaces.nameOf(native().ingressIfindex(fd)) : undefined,
    });
    if (target === undefined) {
      native().resetTcp(fd);
      this.#host.onUnrouted(local);
      return;
    }
    if (this.#instructions > 0 && this.#sockets[target.slot] !== listener) this.#host.onRerouted();
    this.#host.onClient(fd, target.backends, local);
  }
}

const isEverything = ({ prefix, ingress }: RouteRule): boolean =>
  prefix === undefined && ingress === undefined;

/** Whether it has those clients that no other listener of its port has. */
const isForTheRest = ({ rules }: Route): boolean => rules.some(isEverything);

function routingOf({ routes }: RouteGroup, host: ListenerGroupHost): Routing {
  const targets = new Map<Route, Target>(
    routes.map((route) => [
      route,
      { backends: route.backends.map((path) => host.backend(path)), slot: REST_SLOT },
    ]),
  );
  const isShared = routes.length > 1 || !isForTheRest(routes[0]);
  const rules = Array.from(targets, ([route, value]) =>
    route.rules.map(({ prefix, ingress }) => ({ prefix: prefix?.text, ingress, value })),
  ).flat();
  return { targets, table: isShared ? new ConnectionTable(rules, { place: 'listeners' }) : undefined };
}
