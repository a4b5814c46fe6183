// Network namespaces of a server and of its clients, with two links between them, and the server of ingress-process.ts in one.
import { once } from 'node:events';
import type { ExecutionContext } from 'ava';
import type { InterfaceRule } from '#runtime/ingress/interface-rules.js';
import { CommandedProcess } from './commanded-process.js';
import { NetworkNamespace } from './network-namespace.js';

/** The two ends of link `a` and of link `b`. */
const ADDRESSES = {
  a: [
    ['192.0.2.1/24', '2001:db8:a::1/64'],
    ['192.0.2.2/24', '2001:db8:a::2/64'],
  ],
  b: [
    ['198.51.100.1/24', '2001:db8:b::1/64'],
    ['198.51.100.2/24', '2001:db8:b::2/64'],
  ],
} as const;

/** Of the server, about one client. */
export interface IngressAnswer {
  readonly ifindex: number;
  readonly name: string;
  readonly tag?: string;
  /** The server's. */
  readonly address: string;
}

export class IngressNetwork {
  readonly server: NetworkNamespace;
  readonly clients: NetworkNamespace;
  readonly #t: ExecutionContext;

  private constructor(t: ExecutionContext, server: NetworkNamespace, clients: NetworkNamespace) {
    this.#t = t;
    this.server = server;
    this.clients = clients;
  }

  static async make(t: ExecutionContext): Promise<IngressNetwork> {
    return new IngressNetwork(t, await NetworkNamespace.make(t), await NetworkNamespace.make(t));
  }

  /** The server's end of a link is `a0` or `b0`, the clients' `a1` or `b1`. Resolves with the ifindex of the server's. */
  async link(name: 'a' | 'b', device = `${name}0`): Promise<number> {
    const [addresses, others] = ADDRESSES[name];
    await NetworkNamespace.link(
      { namespace: this.server, device, addresses },
      { namespace: this.clients, device: `${name}1`, addresses: others },
    );
    return this.server.ifindex(device);
  }

  /**
   * Both links, and further addresses that clients reach by one while the answers go out by the other: 203.0.113.1 and 2001:db8:c::1 by
   * `a`, 203.0.113.65 and 2001:db8:d::1 by `b`. Resolves with the ifindex of `a0`.
   */
  async linkOneWay(): Promise<number> {
    const a = await this.link('a');
    await this.link('b');
    for (const [length, here, there, via, back] of [
      [32, '203.0.113.1', '203.0.113.2', '192.0.2.1', '198.51.100.2'],
      [128, '2001:db8:c::1', '2001:db8:c::2', '2001:db8:a::1', '2001:db8:b::2'],
      [32, '203.0.113.65', '203.0.113.66', '198.51.100.1', '192.0.2.2'],
      [128, '2001:db8:d::1', '2001:db8:d::2', '2001:db8:b::1', '2001:db8:a::2'],
    ] as const) {
      // Not even the loopback interface has an IPv6 address at once: until the kernel has got round to it, it is nobody's source.
      const atOnce = here.includes(':') ? ' nodad' : '';
      this.server.ip(`address add ${here}/${length} dev lo${atOnce}`);
      this.clients.ip(`address add ${there}/${length} dev lo${atOnce}`);
      this.clients.ip(`route add ${here}/${length} via ${via} src ${there}`);
      this.server.ip(`route add ${there}/${length} via ${back}`);
    }
    for (const namespace of [this.server, this.clients]) {
      // The strictest of `all` and the interface's own counts.
      namespace.run('sh', '-c', 'for each in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $each; done');
    }
    return a;
  }

  async serve(
    rules: readonly InterfaceRule[],
    { uid = '', rescanIntervalMs = 0 } = {},
  ): Promise<IngressServer> {
    const process = await CommandedProcess.start(
      this.#t,
      'ingress-process.js',
      [JSON.stringify(rules), String(rescanIntervalMs), uid],
      { before: this.server.enter },
    );
    return new IngressServer(process, await process.ask<[number, number]>('ports'));
  }

  async client(): Promise<CommandedProcess> {
    return CommandedProcess.start(this.#t, 'ingress-client.js', [], { before: this.clients.enter });
  }
}

export class IngressServer {
  readonly process: CommandedProcess;
  /** Of 0.0.0.0. */
  readonly v4Port: number;
  /** Of `::`, which takes both. */
  readonly port: number;

  constructor(process: CommandedProcess, [v4Port, port]: [number, number]) {
    this.process = process;
    this.v4Port = v4Port;
    this.port = port;
  }

  /** It follows its interfaces still, and ends all the same. Resolves with what it has logged. */
  async close(): Promise<unknown> {
    const exited = once(this.process.child, 'exit');
    const warnings = await this.process.ask('close');
    const [code] = await exited;
    return code === 0 ? warnings : code;
  }
}
