// The ways from a client to the application, each with a backend process of its own behind one nginx, so that CPU time and memory
// can be told apart. Owns the processes, not what they are put through.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { end, freePort, pidsOf, startModule } from '../processes.js';
import type { BackendKind, BackendMessage } from './backend.js';
import { type NginxOptions, type NginxServer, type Route, type RunningNginx, startNginx } from './nginx.js';

/** In the order they are told. */
export const WAYS = [
  'fd_pass',
  'fd_pass, a connection each',
  'fd_pass, not lean',
  'proxy_pass',
  'scgi_pass',
  'straight to Node.js',
  'nginx static',
] as const;
export type WayName = (typeof WAYS)[number];

export interface Way {
  readonly name: WayName;
  /** TCP port on loopback. */
  readonly port: number;
  /** The workers, unless the way does without nginx. */
  readonly nginxPids: readonly number[];
  /** Empty where nginx answers by itself. */
  readonly nodePids: readonly number[];
  /** So that memory is what is in use, not what was. */
  collectGarbage(): Promise<void>;
}

export interface Scene {
  /** Where the ways have their folders. */
  readonly folder: string;
  /** The file that is downloaded. */
  readonly download: string;
  /** The module's file. */
  readonly module: string;
}

export interface RunningWays {
  /** @throws if it was not started */
  get(name: WayName): Way;
  close(): Promise<void>;
}

const BACKEND = new URL('./backend.js', import.meta.url);
/** What each way leads through, and to. `fd_pass` is as it is recommended. */
const PARTS: Readonly<Record<WayName, { readonly route?: Route; readonly kind?: BackendKind }>> = {
  fd_pass: { route: 'fd_pass by channels', kind: 'handover' },
  'fd_pass, a connection each': { route: 'fd_pass', kind: 'handover' },
  'fd_pass, not lean': { route: 'fd_pass by channels', kind: 'handover, not lean' },
  proxy_pass: { route: 'proxy_pass', kind: 'unix' },
  scgi_pass: { route: 'scgi_pass', kind: 'handover' },
  'straight to Node.js': { kind: 'tcp' },
  'nginx static': { route: 'static' },
};

/** How many clients nginx is to have room for at a time, on one way, and with how many workers. */
export type NginxSize = Pick<NginxOptions, 'maxClients' | 'workers' | 'headBufferBytes'>;

/** Starts the backends of the ways, and one nginx in front of those that have one. */
export async function startWays(
  { folder, download, module }: Scene,
  names: readonly WayName[],
  size: NginxSize,
): Promise<RunningWays> {
  const own = mkdtempSync(join(folder, 'ways-'));
  const backends = new Map<WayName, ChildProcess>();
  let nginx: RunningNginx | undefined;
  const close = async (): Promise<void> => {
    await nginx?.close();
    await Promise.all([...backends.values()].map(end));
  };
  try {
    const ports = new Map<WayName, number>();
    const servers: NginxServer[] = [];
    for (const [index, name] of names.entries()) {
      const port = await freePort();
      const socket = join(own, `${index}.sock`);
      const { route, kind } = PARTS[name];
      ports.set(name, port);
      if (kind !== undefined) {
        backends.set(name, await startBackend(kind, kind === 'tcp' ? String(port) : socket, download));
      }
      if (route !== undefined) {
        servers.push({ route, port, target: kind === undefined ? dirname(download) : socket });
      }
    }
    if (servers.length > 0) nginx = await startNginx({ folder: own, servers, module, ...size });
    const ways = names.map((name) => way(name, ports.get(name) ?? 0, backends.get(name), nginx));
    return { get: (wanted) => found(ways, wanted), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startBackend(kind: BackendKind, address: string, download: string): Promise<ChildProcess> {
  const backend = startModule(BACKEND, [kind, address, download], ['--expose-gc']);
  await answer(backend, 'ready');
  return backend;
}

/** Resolves when the backend says it. @throws when it ends first */
async function answer(backend: ChildProcess, expected: BackendMessage): Promise<void> {
  const ended = new AbortController();
  const exit = (): void => ended.abort(new Error('a backend of the benchmark ended: its reason is above'));
  backend.once('exit', exit);
  try {
    const [message] = (await once(backend, 'message', { signal: ended.signal })) as [BackendMessage];
    if (message !== expected) throw new Error(`a backend said ${message} instead of ${expected}`);
  } catch (error) {
    throw ended.signal.aborted ? ended.signal.reason : error;
  } finally {
    backend.off('exit', exit);
  }
}

function way(name: WayName, port: number, backend?: ChildProcess, nginx?: RunningNginx): Way {
  return {
    name,
    port,
    nginxPids: nginx === undefined || PARTS[name].route === undefined ? [] : nginx.workerPids,
    nodePids: backend === undefined ? [] : pidsOf(backend),
    collectGarbage: async () => {
      if (backend === undefined) return;
      const collected = answer(backend, 'collected');
      backend.send('collect garbage' satisfies BackendMessage);
      await collected;
    },
  };
}

function found(ways: readonly Way[], wanted: WayName): Way {
  const it = ways.find(({ name }) => name === wanted);
  if (it === undefined) throw new Error(`${wanted} is not running`);
  return it;
}
