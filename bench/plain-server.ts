// The demo application on Fastify's own http server: what a user would run behind proxy_pass, or alone.
import demo from '@fdpass/demo-app';
import Fastify from 'fastify';

const app = Fastify();
await app.register(demo);
await app.listen({ host: '127.0.0.1', port: Number(process.argv[2]) });
process.on('SIGTERM', () => void app.close());
