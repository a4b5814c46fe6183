// An nginx that serves TLS with the kernel's help, in a folder of its own, with a certificate made for it.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { nginxFolder } from '../helpers/nginx.js';
import { until } from '../helpers/until.js';
import { webServerCommand } from './nginx-under-test.js';

export interface TlsNginxOptions {
  /** What goes into the server block. */
  server: string;
  /** At the top of the file, e.g. load_module. */
  main?: string;
  /** What goes into the http block. */
  http?: string;
  /** `ssl_conf_command Options KTLS`. @default true */
  isKtls?: boolean;
  /** Further parameters of `listen`, e.g. http2. */
  listen?: string;
  /** worker_shutdown_timeout. @default none */
  shutdownTimeout?: string;
}

export interface TlsNginx {
  readonly port: number;
  readonly folder: string;
  errorLog(): string;
  /** Process ids, the oldest first. */
  workers(): number[];
  /** Resolves when the new worker has started. */
  reload(): Promise<void>;
  /** Ends it gracefully, and resolves when it has ended. */
  quit(): Promise<void>;
  /** Kills it and its workers. */
  kill(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

const PARTS = ['key.pem', 'certificate.pem'] as const;
/** Made once in a process: it takes a guest longer than most of a test. */
let certificate: readonly Buffer[] | undefined;

function putCertificate(folder: string): void {
  if (certificate === undefined) {
    makeCertificate(folder);
    certificate = PARTS.map((name) => readFileSync(join(folder, name)));
    return;
  }
  for (const [at, name] of PARTS.entries()) writeFileSync(join(folder, name), certificate[at] as Buffer);
}

function makeCertificate(folder: string): void {
  const args =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=example.test';
  execFileSync(
    'openssl',
    [
      ...args.split(' '),
      ...['-addext', 'subjectAltName=DNS:example.test,IP:127.0.0.1'],
      ...['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'certificate.pem')],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
}

/** A folder with `certificate.pem` and `key.pem`, that nginx's workers can enter; removed with the test. */
export function tlsFolder(t: ExecutionContext): string {
  const folder = nginxFolder();
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  putCertificate(folder);
  return folder;
}

/** Starts nginx and waits until it serves; it is ended with the test. The log is printed if the test fails. */
export async function startTlsNginx(
  t: ExecutionContext,
  folder: string,
  { server, main = '', http = '', isKtls = true, listen = '', shutdownTimeout }: TlsNginxOptions,
): Promise<TlsNginx> {
  const port = await freePort();
  const shutdown = shutdownTimeout === undefined ? '' : `worker_shutdown_timeout ${shutdownTimeout};`;
  const log = join(folder, 'error.log');
  const file = join(folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  writeFileSync(
    file,
    `${main}
daemon off; worker_processes 1; ${shutdown} pid ${folder}/nginx.pid;
error_log ${log} debug;
events { worker_connections 256; }
http {
  access_log ${folder}/access.log; ${temporary.join(' ')}
  ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers DEFAULT:@SECLEVEL=0;
  ${isKtls ? 'ssl_conf_command Options KTLS;' : ''}
  ${http}
  server {
    listen 127.0.0.1:${port} ssl ${listen}; server_name example.test;
    ssl_certificate ${folder}/certificate.pem; ssl_certificate_key ${folder}/key.pem;
    ${server}
  }
}
`,
  );
  const child = spawn(...webServerCommand('nginx', ['-e', log, '-c', file]), {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = once(child, 'exit');
  const errorLog = (): string => {
    try {
      return readFileSync(log, 'utf8');
    } catch {
      return '';
    }
  };
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const starts = (): number => errorLog().split(`start worker process `).length - 1;
  t.teardown(async () => {
    child.kill('SIGTERM');
    await exited;
    if (!t.passed) t.log(importantLines(errorLog()));
  });
  // Of the worker: then it has opened all it needs.
  await until('nginx has started its worker', () => hasEnded() || errorLog().includes(': worker cycle\n'));
  if (hasEnded()) throw new Error(`nginx did not start:\n${importantLines(errorLog())}`);

  const workers = (): number[] => {
    try {
      const ids = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'latin1');
      return ids.trim().split(' ').filter(Boolean).map(Number);
    } catch {
      // nginx has ended.
      return [];
    }
  };
  return {
    port,
    folder,
    errorLog,
    workers,
    reload: async () => {
      const before = starts();
      child.kill('SIGHUP');
      await until('nginx has reloaded', () => starts() > before);
    },
    kill: async () => {
      const all = workers();
      child.kill('SIGKILL');
      for (const worker of all) process.kill(worker, 'SIGKILL');
      await exited;
    },
    quit: async () => {
      child.kill('SIGQUIT');
      await exited;
    },
  };
}

/** What nginx says besides debugging. */
function importantLines(log: string): string {
  return log
    .split('\n')
    .filter((line) => !line.includes('[debug]'))
    .slice(-60)
    .join('\n');
}
