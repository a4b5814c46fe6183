// `fdpass serve`: one application on one UNIX socket, until a signal ends it.

import { RuntimeError } from '../errors.js';
import { connectionInfoPlugin, handoverRequestId, handoverServer } from '../fastify.js';
import { loadApp } from './load-app.js';
import { logger } from './logger.js';
import { onShutdown } from './shutdown.js';

export interface ServeOptions {
  socket?: string;
  mode: number;
  owner?: string | number;
  group?: string | number;
  takeover: boolean;
  keepAliveScope?: string;
  pretty: boolean;
  logLevel: string;
}

/** The first descriptor of the socket activation protocol, sd_listen_fds(3). */
const SD_LISTEN_FDS_START = 3;

/** Resolves when the application listens. A parent with an IPC channel is told `'listening'`. */
export async function serve(app: string, options: ServeOptions): Promise<void> {
  const address = listenAddress(options);
  const log = logger(options.logLevel, options.pretty);
  const { plugin, fastify } = await loadApp(app);
  const keepAlive =
    options.keepAliveScope === undefined ? {} : { keepAlive: { scope: options.keepAliveScope } };
  const server = fastify({
    loggerInstance: log,
    genReqId: handoverRequestId,
    serverFactory: handoverServer(keepAlive, (handoverServer) => {
      handoverServer.on('handoverError', (error, sender) =>
        log.warn({ code: error.code, sender }, error.message),
      );
    }),
  });
  await server.register(connectionInfoPlugin);
  await server.register(plugin);
  await server.listen(address as { path: string });
  onShutdown(() => server.close());
  process.send?.('listening');
}

function listenAddress(options: ServeOptions): object {
  const { socket, mode, owner, group, takeover } = options;
  if (socket !== undefined) {
    return {
      path: socket,
      mode,
      takeover,
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
