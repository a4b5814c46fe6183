// WebSocket /chat: every text goes to everyone connected, its sender included. Owns the keepalive and the bounds.
import websocket from '@fastify/websocket';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { RawData, WebSocket } from 'ws';

const MAX_MESSAGE_BYTES = 4 * 1024;
/** A member with so much unsent is not reading: it is dropped, so that one slow client costs the others no memory. */
const MAX_UNSENT_BYTES = 256 * 1024;
/** How long clients may take for their close frame when the server closes. */
const CLOSE_GRACE_MS = 1_000;

/** Close codes of RFC 6455, section 7.4.1. */
const GOING_AWAY = 1001;
const UNSUPPORTED_DATA = 1003;

/** What the chat can be told. */
export interface ChatOptions {
  /** Milliseconds between pings; a client that answered none since the last one is disconnected. @default 30000 */
  pingIntervalMs?: number;
}

function closed(socket: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.readyState === socket.CLOSED) resolve();
    else socket.once('close', () => resolve());
  });
}

async function chatPlugin(app: FastifyInstance, options: ChatOptions): Promise<void> {
  await app.register(websocket, {
    options: { maxPayload: MAX_MESSAGE_BYTES },
    errorHandler: (error, socket, request) => {
      request.log.info({ err: error }, 'chat member dropped');
      // After a frame past a bound ws says why (1009) and closes; that answer would be lost with the socket.
      if (socket.readyState === socket.OPEN) socket.terminate();
    },
    preClose: async () => {
      const { clients } = app.websocketServer;
      app.websocketServer.close(); // from here on an upgrade gets 503
      for (const socket of clients) socket.close(GOING_AWAY, 'server closes');
      const late = setTimeout(() => {
        for (const socket of clients) socket.terminate();
      }, CLOSE_GRACE_MS);
      await Promise.all(Array.from(clients, closed));
      clearTimeout(late);
    },
  });

  /** Members, and whether each has shown a sign of life since the last ping. */
  const members = new Map<WebSocket, boolean>();

  const pinging = setInterval(() => {
    for (const [socket, alive] of members) {
      if (!alive) {
        socket.terminate();
        continue;
      }
      members.set(socket, false);
      socket.ping();
    }
  }, options.pingIntervalMs ?? 30_000).unref();
  app.addHook('onClose', async () => clearInterval(pinging));

  function broadcast(text: RawData): void {
    for (const socket of members.keys()) {
      if (socket.readyState !== socket.OPEN) continue;
      if (socket.bufferedAmount > MAX_UNSENT_BYTES) socket.terminate();
      else socket.send(text, { binary: false });
    }
  }

  app.get('/chat', { websocket: true }, (socket) => {
    members.set(socket, true);
    socket.on('pong', () => members.set(socket, true));
    socket.on('message', (data, isBinary) => {
      if (isBinary) {
        socket.close(UNSUPPORTED_DATA, 'text only');
        return;
      }
      members.set(socket, true);
      broadcast(data);
    });
    socket.on('close', () => members.delete(socket));
  });
}

/** Not encapsulated: the hooks of `@fastify/websocket` must see upgrades of paths that do not exist, or nobody closes them. */
export const chat = fp(chatPlugin, { name: 'demo-chat' });
