// nginx for the comparison: its configuration with one server for each way, and its process. Debian's nginx.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { canConnect, end, start, untilReady } from '../processes.js';

/** How nginx gets to the application. */
export type Route = 'fd_pass' | 'fd_pass by channels' | 'proxy_pass' | 'scgi_pass' | 'static';

/** One way through nginx. */
export interface NginxServer {
  readonly route: Route;
  /** TCP port on loopback. */
  readonly port: number;
  /** What it leads to: a UNIX socket, or the folder with the file to download. */
  readonly target: string;
}

export interface NginxOptions {
  /** For its configuration, log and temporary files. */
  readonly folder: string;
  readonly servers: readonly NginxServer[];
  /** The module's file, loaded if a way needs it. */
  readonly module: string;
  /** Clients at a time; proxying takes two of nginx's connections for each. */
  readonly maxClients: number;
  /** The kernel spreads the clients over them. */
  readonly workers: number;
  /** For a head, and for what of a body comes with it. @default nginx's own, 1 KiB */
  readonly headBufferBytes?: number;
}

export interface RunningNginx {
  /** The master does nothing while they serve. */
  readonly workerPids: readonly number[];
  close(): Promise<void>;
}

/** Kept connections to a backend, of each worker. */
const CHANNELS = 8;
/** Descriptors for listening sockets, channels and the like. */
const SPARE_DESCRIPTORS = 100;
/**
 * When fewer connections than a sixteenth are free, nginx closes idle ones to have more (ngx_drain_connections); and workers do not
 * get exactly as many clients each.
 */
const ROOM = 9 / 8;

/** Starts nginx and waits until its worker serves. @throws with nginx's log when it does not start */
export async function startNginx(options: NginxOptions): Promise<RunningNginx> {
  const file = join(options.folder, 'nginx.conf');
  const log = join(options.folder, 'nginx.log');
  writeFileSync(file, configuration(options, log));
  writeFileSync(log, '');
  // The master would outlive us if we were killed, and its worker it.
  const master = start('setpriv', '--pdeathsig', 'TERM', 'nginx', '-e', log, '-c', file);
  const started = (): number[] =>
    [...readFileSync(log, 'utf8').matchAll(/start worker process (\d+)/g)].map(([, pid]) => Number(pid));
  try {
    await untilReady(master, () => started().length === options.workers);
    const ports = options.servers.map(({ port }) => canConnect(port));
    if ((await Promise.all(ports)).includes(false)) throw new Error('nginx does not listen');
  } catch (error) {
    await end(master);
    throw new Error(`${(error as Error).message}\n${readFileSync(log, 'utf8')}`);
  }
  return { workerPids: started(), close: () => end(master) };
}

/**
 * Kept-alive connections and upstream connections are kept for the whole run, whatever the number of requests. What goes to disk
 * by default stays there (the answers of proxy_pass when the client is slow, the uploads of scgi_pass); access logs are off.
 */
function configuration(options: NginxOptions, log: string): string {
  const { folder, servers, module, maxClients, workers, headBufferBytes } = options;
  const descriptors = Math.ceil((2 * maxClients * ROOM) / workers) + SPARE_DESCRIPTORS;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  const needsModule = servers.some(({ route }) => route.startsWith('fd_pass'));
  // Started by root, workers would be somebody else, who may not reach what is in a private temporary folder.
  const isRoot = process.getuid?.() === 0;
  return `${needsModule ? `load_module ${module};` : ''}
${isRoot ? 'user root;' : ''}
daemon off;
worker_processes ${workers};
worker_rlimit_nofile ${descriptors};
error_log ${log} notice;
pid ${folder}/nginx.pid;
events { worker_connections ${descriptors}; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  ${headBufferBytes === undefined ? '' : `client_header_buffer_size ${headBufferBytes};`}
  ${temporary.join(' ')}
${servers.map(serverBlock).join('')}}
`;
}

const serverBlock = (server: NginxServer): string => SERVER[server.route](server);

const SERVER: Readonly<Record<Route, (server: NginxServer) => string>> = {
  fd_pass: ({ port, target }) => `
  server {
    listen 127.0.0.1:${port} backlog=4096 reuseport;
    location / { fd_pass unix:${target}; }
  }
`,
  'fd_pass by channels': ({ port, target }) => `
  server {
    listen 127.0.0.1:${port} backlog=4096 reuseport;
    location / {
      fd_pass unix:${target};
      fd_pass_keepalive ${CHANNELS};
    }
  }
`,
  // Uploads unbuffered: the backend hashes while the client sends, as it does when the connection is its own.
  proxy_pass: ({ port, target }) => `
  upstream application {
    server unix:${target};
    keepalive 64;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096 reuseport;
    proxy_http_version 1.1;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
    location / {
      proxy_set_header Connection "";
      proxy_pass http://application;
    }
    location = /upload {
      proxy_set_header Connection "";
      proxy_request_buffering off;
      proxy_pass http://application;
    }
    location = /socket {
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_pass http://application;
    }
  }
`,
  scgi_pass: ({ port, target }) => `
  server {
    listen 127.0.0.1:${port} backlog=4096 reuseport;
    location / {
      include /etc/nginx/scgi_params;
      scgi_pass unix:${target};
    }
  }
`,
  static: ({ port, target }) => `
  server {
    listen 127.0.0.1:${port} backlog=4096 reuseport;
    location / { root ${target}; }
  }
`,
};
