// Debian's nginx with a configuration of the test's own, in a folder of its own, as one foreground process and its workers.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openDescriptors } from './descriptors.js';
import { condition, program, type Requirement } from './requirements.js';
import { until } from './until.js';

const MODULE = fileURLToPath(
  new URL('../../../native/nginx/build/ngx_http_fd_pass_module.so', import.meta.url),
);

/** What a test of our module needs: nginx, and the module, which `npm test` builds where nginx's headers are. */
export const nginxWithModule: readonly Requirement[] = [
  program('nginx', 'nginx-light'),
  condition(existsSync(MODULE), 'the nginx module: apt-get install nginx-dev, then native/nginx/build.sh'),
];

/** What follows in `main` and `events`, beside the test's http block. */
export interface NginxOptions {
  /** Directives outside of all blocks. @default '' */
  main?: string;
  /** 0: the one process serves, and cannot reload. @default 1 */
  workers?: number;
  /** Of each worker, both sides counted. @default 256 */
  connections?: number;
  /** A program, with its arguments, that runs nginx: a checker. @default none */
  under?: readonly string[];
}

/** Loads our module: for {@link NginxOptions.main}. */
export const LOAD_MODULE = `load_module ${MODULE};`;

export interface Nginx {
  /** For sockets that nginx is to reach. */
  readonly folder: string;
  readonly pid: number;
  /** Of the workers that run now; after a reload also of those that leave. */
  workers(): number[];
  errorLog(): string;
  /** A reload with the file as it is now: resolves when a new worker runs. */
  reload(): Promise<void>;
  /** Asks for a graceful end and resolves when it has come. */
  quit(): Promise<void>;
  /** Ends it at once, and removes the folder. */
  close(): Promise<void>;
}

/** A folder that nginx's workers, which run as another user, can enter. */
export function nginxFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-nginx-'));
  chmodSync(folder, 0o755);
  return folder;
}

let portsTaken = 0;

/**
 * An address that no other test uses, for clients that cannot speak to a UNIX socket. nginx takes no port 0, but there is a
 * loopback address for each process.
 */
export function ownAddress(): string {
  const { pid } = process;
  return `127.${64 + (pid >> 16)}.${(pid >> 8) & 255}.${pid & 255}:${8001 + portsTaken++}`;
}

/** Writes `folder`/nginx.conf. @param http what goes into the http block */
export function writeNginxConfig(folder: string, http: string, options: NginxOptions = {}): string {
  const { main = '', workers = 1, connections = 256 } = options;
  const file = join(folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  writeFileSync(
    file,
    `${main}
daemon off; ${workers === 0 ? 'master_process off' : `worker_processes ${workers}`}; error_log ${folder}/error.log notice; pid ${folder}/nginx.pid;
events { worker_connections ${connections}; }
http { access_log off; ${temporary.join(' ')} ${http} }
`,
  );
  return file;
}

/** A worker gives itself its title when it has everything it needs to serve. */
function isReady(worker: number): boolean {
  try {
    return readFileSync(`/proc/${worker}/cmdline`, 'latin1').startsWith('nginx: worker process');
  } catch {
    return false;
  }
}

/**
 * Starts nginx and waits until it serves.
 * @param http what goes into the http block
 */
export async function startNginx(folder: string, http: string, options: NginxOptions = {}): Promise<Nginx> {
  const { workers = 1, under = [] } = options;
  const file = writeNginxConfig(folder, http, options);
  const log = join(folder, 'error.log');
  // It ends with the test process, however that ends.
  const args = ['--pdeathsig', 'TERM', ...under, 'nginx', '-e', log, '-c', file];
  const child: ChildProcess = spawn('setpriv', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const exited = once(child, 'exit');
  const pid = child.pid ?? 0;
  const errorLog = (): string => {
    try {
      return readFileSync(log, 'utf8');
    } catch {
      return '';
    }
  };
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const children = (): number[] =>
    hasEnded()
      ? []
      : readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
  const started = async (known: readonly number[] = []): Promise<void> => {
    // One process has no title of its own: it says this when it listens, and clients that come now wait a little.
    const areReady = (): boolean =>
      workers === 0
        ? errorLog().includes('getrlimit(RLIMIT_NOFILE)')
        : children().filter((each) => !known.includes(each) && isReady(each)).length >= workers;
    await until('nginx has started its workers', () => hasEnded() || areReady(), 30_000);
    if (hasEnded()) throw new Error(`nginx did not start:\n${errorLog()}`);
  };
  await started();
  // nginx tells each worker of those that were started behind it, by a descriptor: after that they have the same number.
  await until('the workers know each other', () => {
    const counts = children()
      .filter(isReady)
      .map((worker) => openDescriptors(worker).size);
    return hasEnded() || new Set(counts).size <= 1;
  });
  return {
    folder,
    pid,
    workers: children,
    errorLog,
    reload: async () => {
      const known = children();
      child.kill('SIGHUP');
      await started(known);
    },
    quit: async () => {
      child.kill('SIGQUIT');
      // Without a master it may come between two of nginx's waits, and is noticed with the next event: another one is one.
      const again = workers === 0 ? setInterval(() => child.kill('SIGQUIT'), 500) : undefined;
      await exited;
      clearInterval(again);
    },
    close: async () => {
      child.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}
