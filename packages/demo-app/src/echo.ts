// POST|PUT /echo: counts and hashes the body that arrived, of any size and type, without keeping it.
import { createHash } from 'node:crypto';
import type { FastifyInstance } from 'fastify';

export async function echo(app: FastifyInstance): Promise<void> {
  // Fastify answers 415 to a media type it cannot read, before any parser is asked. The type does not matter here.
  app.addHook('onRequest', async (request) => {
    request.raw.headers['content-type'] = 'application/octet-stream';
  });
  // A parser that parses nothing: the handler reads the stream itself, so no bodyLimit applies.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, body, done) => done(null, body));

  app.route({
    method: ['POST', 'PUT'],
    url: '/echo',
    handler: async (request) => {
      const hash = createHash('sha256');
      let bytes = 0;
      // Pulling chunk by chunk is the back-pressure: what is not hashed yet waits in the client's socket.
      for await (const chunk of request.raw as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        hash.update(chunk);
      }
      return { bytes, sha256: hash.digest('hex') };
    },
  });
}
