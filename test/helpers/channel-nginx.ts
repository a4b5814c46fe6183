// nginx with channels to a backend that is played by hand, and clients that ask through it.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { HandoverServerOptions } from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { type BehindNginx, behindNginx } from './behind-nginx.js';
import { ChannelBackend, type ChannelMessage, keeping } from './channel-backend.js';
import { openDescriptors } from './descriptors.js';
import type { NginxOptions } from './nginx.js';
import { RawClient } from './raw-client.js';
import { until } from './until.js';

export interface ChannelNginx extends BehindNginx {
  readonly backend: ChannelBackend;
  /** The backend's socket. */
  readonly path: string;
  /** A client with a connection of its own. @returns its status and body; '' if it saw nothing but the end */
  ask(target?: string, fields?: string): Promise<string>;
  /** Descriptors of nginx's first worker beyond those it had at the start. */
  descriptors(): number;
}

export interface ChannelNginxOptions {
  /** @default takes each client, keeps the connection, and serves `kept <target>` */
  behave?: (message: ChannelMessage) => void;
  /** For all locations. @default 'fd_pass_keepalive 1;' */
  directives?: string;
  /** @default everything to the backend */
  locations?: (path: string, socket: string) => string;
  http?: (path: string, socket: string) => string;
  nginx?: NginxOptions;
  server?: HandoverServerOptions;
}

/** The status and the body of an answer. */
export function outcome(answer: string): string {
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  const status = /^HTTP\/1\.1 (\d+)/.exec(head)?.[1];
  return status === undefined ? answer : `${status} ${body}`.trimEnd();
}

/** The server of {@link BehindNginx}, on `socket`, answers `next <target>`. */
export async function channelNginx(
  t: ExecutionContext,
  {
    behave = keeping(),
    directives = 'fd_pass_keepalive 1;',
    locations = (path) => `location / { fd_pass unix:${path}; }`,
    http,
    nginx,
    server = {},
  }: ChannelNginxOptions = {},
): Promise<ChannelNginx> {
  const pathBeside = (socket: string): string => join(dirname(socket), 'kept.sock');
  const behind = await behindNginx(t, {
    server,
    handler: (request, response) => response.end(`next ${request.url}`),
    locations: (socket) => `${directives}\n${locations(pathBeside(socket), socket)}`,
    ...(http && { http: (socket: string) => http(pathBeside(socket), socket) }),
    ...(nginx && { nginx }),
  });
  const path = pathBeside(behind.socket);
  const backend = new ChannelBackend(path, behave);
  t.teardown(() => backend.close());
  const [worker = 0] = behind.nginx.workers();
  const atFirst = openDescriptors(worker).size;
  return {
    ...behind,
    backend,
    path,
    descriptors: () => openDescriptors(worker).size - atFirst,
    ask: async (target = '/', fields = '') => {
      const client = await RawClient.connect(behind.port, behind.host);
      await client.send(`GET ${target} HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n${fields}\r\n`);
      return outcome(await client.readToEnd());
    },
  };
}

/** Stops a process, and resolves when it stands still. @returns what lets it go on */
export async function halted(pid: number): Promise<() => void> {
  process.kill(pid, 'SIGSTOP');
  await until('the process stands still', () =>
    /^State:\tT/m.test(readFileSync(`/proc/${pid}/status`, 'latin1')),
  );
  return () => process.kill(pid, 'SIGCONT');
}

/** One after the other. */
export async function inTurn<T>(count: number, one: (n: number) => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  for (let n = 0; n < count; n++) all.push(await one(n));
  return all;
}
