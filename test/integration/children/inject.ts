// An application on a handover server that is only ever injected into, and then tries to listen. Prints what came of it as JSON.

import websocket from '@fastify/websocket';
import { connectionInfoPlugin, handoverRequestId, handoverServer } from '@fdpass/backend-runtime';
import Fastify from 'fastify';

const app = Fastify({
  serverFactory: handoverServer({ keepAlive: { scope: '/' } }),
  genReqId: handoverRequestId,
});
await app.register(connectionInfoPlugin);
await app.register(websocket);
app.post('/', async ({ body, ip, id, connectionInfo }) => ({
  body,
  ip,
  id,
  hasInfo: connectionInfo !== undefined,
}));
app.get('/chat', { websocket: true }, (socket) => {
  socket.on('message', (data) => socket.send(`heard ${data}`));
});

const injected = await app.inject({ method: 'POST', url: '/', payload: { hello: 'world' } });
const socket = await app.injectWS('/chat');
const heard = new Promise((resolve) => socket.on('message', (data) => resolve(String(data))));
socket.send('me');
const message = await heard;
socket.terminate();
const listening = await app.listen({ path: process.argv[2] as string }).then(
  () => 'listens',
  (error: NodeJS.ErrnoException) => error.code,
);
await app.close();
process.stdout.write(JSON.stringify({ status: injected.statusCode, ...injected.json(), message, listening }));
