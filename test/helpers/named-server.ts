// The server of named-server-process.ts, as a test sees it.
import { once } from 'node:events';
import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { HandoverServerOptions, PrefixRoute, PrefixRouterStats } from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { CommandedProcess } from './commanded-process.js';
import type { NetworkNamespace } from './network-namespace.js';

/** A route that can be written down: its targets are UNIX sockets, or `here`. */
export type WrittenRoute = Omit<PrefixRoute, 'to'> & { to: string | readonly string[] };

export interface NamedServerSetup {
  name: string;
  path: string;
  /** Its group has the same number. */
  uid: number;
  /** The group whose processes may connect to it. */
  admits: number;
  /** Makes it a router. @default it is none */
  routes?: readonly WrittenRoute[];
  /** What JSON has. @default {} */
  options?: HandoverServerOptions;
  /** @default any number */
  requestsPerConnection?: number;
}

/** What it answers at `/facts`. */
export interface NamedFacts {
  readonly name: string;
  readonly uid: number;
  readonly handover: string;
  /** The client's address. */
  readonly client: string;
  /** The server's. */
  readonly local: string;
  readonly hops: number;
  /** The process that is believed to have sent it. */
  readonly sender: number;
  readonly body: string;
}

export class NamedServer {
  readonly setup: NamedServerSetup;
  readonly process: CommandedProcess;
  readonly #exited: Promise<unknown[]>;

  private constructor(setup: NamedServerSetup, process: CommandedProcess) {
    this.setup = setup;
    this.process = process;
    this.#exited = once(process.child, 'exit');
  }

  /** Does not listen yet. */
  static async start(
    t: ExecutionContext,
    namespace: NetworkNamespace,
    setup: NamedServerSetup,
  ): Promise<NamedServer> {
    const before = namespace.enter;
    return new NamedServer(
      setup,
      await CommandedProcess.start(t, 'named-server-process.js', [JSON.stringify(setup)], { before }),
    );
  }

  get pid(): number {
    return this.process.pid;
  }

  listen(how: 'listen' | 'takeover' = 'listen'): Promise<unknown> {
    return this.process.ask(how);
  }

  /** Requests so far. */
  asked(): Promise<number> {
    return this.process.ask('asked');
  }

  router(): Promise<PrefixRouterStats> {
    return this.process.ask('router');
  }

  replace(routes: readonly WrittenRoute[]): Promise<unknown> {
    return this.process.ask(`replace ${JSON.stringify(routes)}`);
  }

  /** Puts one after the other in force, every 20 ms. */
  churn(tables: readonly (readonly WrittenRoute[])[]): Promise<unknown> {
    return this.process.ask(`churn ${JSON.stringify(tables)}`);
  }

  /** How often, so far. */
  replaced(): Promise<number> {
    return this.process.ask('replaced');
  }

  /** Resolves when it has ended, with its exit code or the signal's name. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string> {
    this.process.child.kill(signal);
    const [code, by] = await this.#exited;
    return (code ?? by) as number | string;
  }
}

/** Where a server of that user can listen: a folder that everybody can enter and only it can write to. */
export function socketOf(folder: string, name: string, uid: number): string {
  const own = join(folder, name);
  mkdirSync(own, { mode: 0o755 });
  chownSync(own, uid, uid);
  return join(own, 'app.sock');
}
