// GET /connection: what the runtime knows about the connection this request came on.
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

export async function connection(app: FastifyInstance): Promise<void> {
  app.get('/connection', (request, reply) => {
    reply.header('cache-control', 'no-store');
    return { ...(request.connectionInfo ?? ordinary(request)), server: { pid: process.pid } };
  });
}
