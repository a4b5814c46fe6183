// Network namespaces for tests, with links between them. Each is held by a process that ends with its standard input, so with this
// process at the latest: then the kernel takes the namespace away, and with it both ends of its links.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { privilege, program, type Requirement } from './requirements.js';
import { until } from './until.js';

/** What a test with namespaces needs. */
export const NAMESPACES: readonly Requirement[] = [
  privilege('sysAdmin'),
  privilege('netAdmin'),
  program('ip', 'iproute2'),
  program('unshare', 'util-linux'),
  program('nsenter', 'util-linux'),
];

/** One end of a link. */
export interface LinkEnd {
  readonly namespace: NetworkNamespace;
  readonly device: string;
  /** With their prefix lengths: `192.0.2.1/24`. */
  readonly addresses: readonly string[];
}

/** The sanitizers come by LD_PRELOAD, and would complain of these programs. */
const WATCHED_BY_NOBODY = { ...process.env, LD_PRELOAD: '' };

const ofThisProcess = readlinkSync('/proc/self/ns/net');

export class NetworkNamespace {
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  /** Has a loopback interface that is up, nothing else. Gone with the test. */
  static async make(t: ExecutionContext): Promise<NetworkNamespace> {
    const holder = spawn('unshare', ['--net', 'cat'], {
      stdio: ['pipe', 'ignore', 'inherit'],
      env: WATCHED_BY_NOBODY,
    });
    const ended = once(holder, 'exit');
    t.teardown(async () => {
      holder.stdin?.end();
      await ended;
    });
    await until('the namespace is there', () => {
      if (holder.exitCode !== null) throw new Error(`unshare ended with ${holder.exitCode}`);
      return readlinkSync(`/proc/${holder.pid}/ns/net`) !== ofThisProcess;
    });
    const namespace = new NetworkNamespace(holder);
    namespace.ip('link set lo up');
    return namespace;
  }

  get #file(): string {
    return `/proc/${this.#holder.pid}/ns/net`;
  }

  /** A program and its first arguments, which runs what follows them in this namespace. */
  get command(): readonly string[] {
    return ['nsenter', `--net=${this.#file}`];
  }

  /** In front of a shell's `exec "$@"`: the command runs in this namespace. */
  get enter(): string {
    return `set -- nsenter --net=${this.#file} "$@";`;
  }

  /** What the command writes. @throws if it fails */
  run(command: string, ...args: readonly string[]): string {
    return execFileSync('nsenter', [`--net=${this.#file}`, command, ...args], {
      encoding: 'utf8',
      timeout: 10_000,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: WATCHED_BY_NOBODY,
    });
  }

  /** ip(8), its arguments as one line. */
  ip(line: string): string {
    return this.run('ip', ...line.split(' '));
  }

  /** Makes every address of these prefixes one of this namespace's own. */
  ownPrefixes(...prefixes: readonly string[]): void {
    for (const prefix of prefixes) this.ip(`route add local ${prefix} dev lo`);
  }

  ifindex(device: string): number {
    const [link] = JSON.parse(this.ip(`-json link show dev ${device}`)) as { ifindex: number }[];
    return link?.ifindex ?? -1;
  }

  /** A veth pair, in no namespace but these. Resolves when both ends carry packets. */
  static async link(left: LinkEnd, right: LinkEnd): Promise<void> {
    const peer = `peer name ${right.device} netns ${right.namespace.#holder.pid}`;
    left.namespace.ip(`link add name ${left.device} type veth ${peer}`);
    for (const { namespace, device, addresses } of [left, right]) {
      for (const address of addresses) {
        // Without the seconds in which IPv6 looks for others with the same address.
        namespace.ip(`address add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`);
      }
      namespace.ip(`link set ${device} up`);
    }
    for (const { namespace, device } of [left, right]) {
      await until(`${device} is up`, () => namespace.ip(`link show dev ${device}`).includes('state UP'));
    }
  }
}
