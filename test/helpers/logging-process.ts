// A Fastify application whose log goes by the pino transport: logs the number of lines it is told, and ends.
import Fastify from 'fastify';

const [to = '', count = '0'] = process.argv.slice(2);

const app = Fastify({
  logger: { transport: { target: '@fdpass/backend-runtime/pino-transport', options: { to } } },
});
for (let nth = 0; nth < Number(count); nth++) app.log.info({ nth }, 'zürich →\nnext');
