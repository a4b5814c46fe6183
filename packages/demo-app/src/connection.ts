// GET /connection: what the runtime knows about the connection this request came on.
import type { ConnectionInfo } from '@fdpass/backend-runtime';
import type { FastifyInstance, FastifyRequest } from 'fastify';

/** The answer where no handover took place: what any server can say. */
interface OrdinaryConnection {
  handover: 'none';
  message: string;
  client: { address: string | undefined; port: number | undefined };
  local: { address: string | undefined; port: number | undefined };
}

function ordinary({ socket }: FastifyRequest): OrdinaryConnection {
  return {
    handover: 'none',
    message:
      'No connection information: this server accepted the connection itself, it was not handed over to it.',
    client: { address: socket.remoteAddress, port: socket.remotePort },
    local: { address: socket.localAddress, port: socket.localPort },
  };
}

/**
 * The variables without the request's own headers. They are those of the *first* request on the connection, and behind a
 * proxy that shares connections between people that may be someone else's cookie.
 */
function publicVariables(variables: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !name.startsWith('HTTP_')));
}

export async function connection(app: FastifyInstance): Promise<void> {
  app.get('/connection', (request, reply) => {
    reply.header('cache-control', 'no-store');
    const info: ConnectionInfo | undefined = request.connectionInfo;
    return info === undefined
      ? { ...ordinary(request), server: { pid: process.pid } }
      : { ...info, variables: publicVariables(info.variables), server: { pid: process.pid } };
  });
}
