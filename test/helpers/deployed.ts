// A configuration of deploy/nginx in a real nginx, with servers behind its sockets. What is for this machine to choose is replaced,
// and nothing else: folders, addresses, and the network whose word is believed.
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import {
  connectionInfo,
  createServer,
  type HandoverServer,
  type HandoverServerOptions,
} from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { assertWorkersHoldNothing } from './behind-nginx.js';
import { type Descriptors, openDescriptors } from './descriptors.js';
import { root } from './fdpass-command.js';
import { LOAD_MODULE, type Nginx, nginxFolder, ownAddress, startNginx } from './nginx.js';
import { closed, type Handler } from './serve.js';
import { until } from './until.js';

/** A server behind one of the sockets that a configuration names. */
export interface Backend {
  options?: HandoverServerOptions;
  /** @default answers {@link Seen} as JSON */
  handler?: Handler;
  /** Before it listens. */
  configure?: (server: HandoverServer) => void;
}

export interface DeployedOptions {
  /** By the socket's name in /run/fdpass. @default one, `app.sock` */
  backends?: Readonly<Record<string, Backend>>;
  /** Puts files into the folder that stands for all folders of the configuration: certificates. */
  prepare?: (folder: string) => void | Promise<void>;
  /** What an operator should not do: the test says why. */
  edit?: (configuration: string) => string;
}

/** What the handler by default says of a request. */
export interface Seen {
  url: string;
  protocol: string;
  handover: string;
  client: string;
  encrypted: boolean;
  variables: Record<string, string>;
  requestNumber: number;
}

export interface Deployed {
  readonly nginx: Nginx;
  readonly folder: string;
  readonly servers: Readonly<Record<string, HandoverServer>>;
  /** Requests that reached a handler: the socket's name and the target. */
  readonly reached: readonly string[];
  /** Where it listens instead of the port it names. */
  at(port: number): { host: string; port: number };
  /** The same as a URL; 443 is TLS. */
  url(port: number): string;
  /** The lines of a log of the configuration, as soon as there are `count`. */
  log(name: string, count: number): Promise<string[]>;
}

/** All of deploy/nginx begins with this. */
export function configuration(name: string): string {
  return readFileSync(join(root, 'deploy', 'nginx', name), 'utf8');
}

export function seen(request: IncomingMessage): Seen {
  const { handover, client, tls, variables, requestNumber } = connectionInfo(request);
  return {
    url: request.url ?? '',
    protocol: `HTTP/${request.httpVersion}`,
    handover,
    client: client.address,
    encrypted: tls !== undefined,
    variables,
    requestNumber,
  };
}

/** The configuration with this machine's folders and addresses. */
function here(text: string, folder: string, addresses: Map<number, string>): string {
  return text
    .replaceAll(/^( *listen +)(\d+)\b/gm, (_whole, listen: string, port: string) => {
      const address = addresses.get(Number(port)) ?? ownAddress();
      addresses.set(Number(port), address);
      return `${listen}${address}`;
    })
    .replaceAll('unix:/run/fdpass/', `unix:${folder}/`)
    .replaceAll('/etc/ssl/fdpass/', `${folder}/`)
    .replaceAll('/var/log/nginx/', `${folder}/`)
    .replaceAll(/^( *set_real_ip_from +)10\.0\.0\.0\/8;/gm, '$1127.0.0.0/8;');
}

/** Starts both, and ends them with the test: then neither may hold a descriptor of it. */
export async function deployed(
  t: ExecutionContext,
  name: string,
  options: DeployedOptions = {},
): Promise<Deployed> {
  const { backends = { 'app.sock': {} }, prepare, edit = (text) => text } = options;
  const folder = nginxFolder();
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  await prepare?.(folder);
  const reached: string[] = [];
  const servers: Record<string, HandoverServer> = {};
  for (const [socket, { options: given, handler, configure }] of Object.entries(backends)) {
    const logger = { warn() {}, error() {} };
    const server = createServer({ logger, ...given }, (request, response) => {
      reached.push(`${socket} ${request.url}`);
      if (handler !== undefined) return handler(request, response);
      response.setHeader('content-type', 'application/json');
      return response.end(JSON.stringify(seen(request)));
    });
    configure?.(server);
    server.listen({ path: join(folder, socket), mode: 0o666 });
    await once(server, 'listening');
    t.teardown(() => closed(server));
    servers[socket] = server;
  }
  const addresses = new Map<number, string>();
  const nginx = await startNginx(folder, here(edit(configuration(name)), folder, addresses), {
    main: LOAD_MODULE,
  });
  const before = new Map<number, Descriptors>(nginx.workers().map((pid) => [pid, openDescriptors(pid)]));
  t.teardown(async () => {
    await Promise.all(Object.values(servers).map(closed));
    try {
      await assertWorkersHoldNothing(nginx, before);
    } finally {
      await nginx.close();
    }
  });
  return {
    nginx,
    folder,
    servers,
    reached,
    url: (port) => `${port === 443 ? 'https' : 'http'}://${addresses.get(port)}`,
    at: (port) => {
      const [host = '', number] = (addresses.get(port) ?? '').split(':');
      return { host, port: Number(number) };
    },
    log: async (file, count) => {
      const lines = (): string[] => readFileSync(join(folder, file), 'utf8').split('\n').slice(0, -1);
      await until(`${file} has ${count} lines`, () => lines().length >= count);
      return lines();
    },
  };
}
