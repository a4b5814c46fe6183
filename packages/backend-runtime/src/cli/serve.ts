// `fdpass serve`: one application on one UNIX socket, until a signal ends it.
import { RuntimeError } from '../errors.js';
import { connectionInfoPlugin, handoverRequestId, handoverServer } from '../fastify.js';
import { loadApp } from './load-app.js';
import { logger } from './logger.js';
import { onShutdown } from './shutdown.js';

export interface ServeOptions {
  socket?: string;
  mode?: number;
  owner?: string | number;
  group?: string | number;
  takeover: boolean;
  keepAliveScope?: string;
  pretty: boolean;
  logLevel: string;
}

/** The first descriptor of the socket activation protocol, sd_listen_fds(3). */
const SD_LISTEN_FDS_START = 3;

/** Resolves when the application listens. @throws `BKR_ERR_APP`, `BKR_ERR_LISTEN`, `BKR_ERR_NO_SOCKET` */
export async function serve(app: string, options: ServeOptions): Promise<void> {
  const address = listenAddress(options);
  const log = logger(options.logLevel, options.pretty);
  const { plugin, fastify } = await loadApp(app);
  const { keepAliveScope } = options;
  const server = fastify({
    loggerInstance: log,
    genReqId: handoverRequestId,
    // Clients that were taken before the end are served: their answers say `Connection: close`.
    return503OnClosing: false,
    serverFactory: handoverServer(
      keepAliveScope === undefined ? {} : { keepAlive: { scope: keepAliveScope } },
      (handoverServer) => {
        handoverServer.on('handoverError', (error, sender) => {
          // The runtime logs by itself those of its errors that somebody must act on.
          const level = error instanceof RuntimeError ? 'debug' : 'warn';
          log[level]({ code: error.code, sender }, error.message);
        });
      },
    ),
  });
  onShutdown(() => server.close());
  try {
    await server.register(connectionInfoPlugin);
    await server.register(plugin);
    await server.ready();
  } catch (cause) {
    throw new RuntimeError('BKR_ERR_APP', app, 'does not start', { cause });
  }
  try {
    await server.listen(address as { path: string });
  } catch (cause) {
    throw new RuntimeError('BKR_ERR_LISTEN', options.socket ?? 'the descriptor passed', { cause });
  }
}

function listenAddress(options: ServeOptions): object {
  const { socket, mode, owner, group, takeover } = options;
  if (socket !== undefined) {
    return {
      path: socket,
      takeover,
      ...(mode === undefined ? {} : { mode }),
      ...(owner === undefined ? {} : { owner }),
      ...(group === undefined ? {} : { group }),
    };
  }
  const { LISTEN_FDS, LISTEN_PID } = process.env;
  if (LISTEN_FDS === '1' && LISTEN_PID === String(process.pid)) {
    // With a host of '' Fastify does not look for a TCP address beside the descriptor.
    return { fd: SD_LISTEN_FDS_START, host: '' };
  }
  throw new RuntimeError('BKR_ERR_NO_SOCKET');
}
