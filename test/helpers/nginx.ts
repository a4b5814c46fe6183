// Debian's nginx with a configuration of the test's own, in a folder of its own, as one foreground process.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.js';

export interface Nginx {
  /** For sockets that nginx is to reach. */
  readonly folder: string;
  errorLog(): string;
  close(): Promise<void>;
}

/** A folder that nginx's workers, which run as another user, can enter. */
export function nginxFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-nginx-'));
  chmodSync(folder, 0o755);
  return folder;
}

/**
 * Starts nginx and waits until it serves.
 * @param http what goes into the http block
 */
export async function startNginx(folder: string, http: string): Promise<Nginx> {
  const file = join(folder, 'nginx.conf');
  const log = join(folder, 'error.log');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  writeFileSync(
    file,
    `daemon off; worker_processes 1; error_log ${log} notice; pid ${folder}/nginx.pid;
events { worker_connections 256; }
http { access_log off; ${temporary.join(' ')} ${http} }
`,
  );
  const child: ChildProcess = spawn('nginx', ['-e', log, '-c', file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const errorLog = (): string => {
    try {
      return readFileSync(log, 'utf8');
    } catch {
      return '';
    }
  };
  await until(
    'nginx has started its worker',
    () => child.exitCode !== null || errorLog().includes('start worker process '),
  );
  if (child.exitCode !== null) throw new Error(`nginx did not start:\n${errorLog()}`);
  return {
    folder,
    errorLog,
    close: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}
