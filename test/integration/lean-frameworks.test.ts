// Express and Fastify on connections without a socket: what their users see is what they see with one.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { sendFile } from '@fdpass/backend-runtime';
import test from 'ava';
import express, { type Express, type RequestHandler } from 'express';
import Fastify, { type FastifyInstance } from 'fastify';
import { guardDescriptors } from '../helpers/descriptors.js';
import { bothWays, LAST, request, type Scene, withoutDate } from '../helpers/lean-scene.js';

guardDescriptors(test);

const folder = mkdtempSync(join(tmpdir(), 'fdpass-lean-'));
writeFileSync(join(folder, 'small.txt'), 'small');
writeFileSync(join(folder, 'large.txt'), 'large '.repeat(200_000));
test.after.always('the folder goes', () => rmSync(folder, { recursive: true }));

/** As compression middleware does it: write() and end() go through a coder, and the head is written when the first bytes come. */
const compressing: RequestHandler = (_request, response, next) => {
  const { write, end, on } = response;
  let coder: ReturnType<typeof createGzip> | undefined;
  const begin = (): ReturnType<typeof createGzip> => {
    if (coder !== undefined) return coder;
    response.removeHeader('Content-Length');
    response.setHeader('Content-Encoding', 'gzip');
    coder = createGzip();
    coder.on('data', (chunk: Buffer) => {
      if (!Reflect.apply(write, response, [chunk])) coder?.pause();
    });
    coder.on('drain', () => response.emit('drain'));
    coder.on('end', () => Reflect.apply(end, response, []));
    Reflect.apply(on, response, ['drain', () => coder?.resume()]);
    return coder;
  };
  response.write = ((chunk: string | Buffer) => begin().write(chunk)) as typeof write;
  response.end = ((chunk?: string | Buffer) => {
    begin().end(chunk);
    return response;
  }) as typeof end;
  next();
};

const routes: Record<string, RequestHandler> = {
  send: (_request, response) => void response.send('text'),
  json: (_request, response) => void response.json({ a: [1, 'é'] }),
  bytes: (_request, response) => void response.send(Buffer.from([0, 255])),
  status: (_request, response) => void response.sendStatus(418),
  redirect: (_request, response) => response.redirect('/elsewhere'),
  small: (_request, response) => response.sendFile(join(folder, 'small.txt')),
  large: (_request, response) => response.sendFile(join(folder, 'large.txt')),
  missing: (_request, response, next) => response.sendFile(join(folder, 'missing.txt'), next),
  kernel: (_request, response) => sendFile(response as unknown as ServerResponse, join(folder, 'large.txt')),
  cookies: (_request, response) => void response.cookie('a', 'b').cookie('c', 'd').send('x'),
  stream: (_request, response) => pipeline(Readable.from(['one', 'two']), response),
  failing: () => {
    throw Object.assign(new Error(), { status: 503, stack: 'Error: in the handler' });
  },
  'failing later': async () => {
    await null;
    throw Object.assign(new Error(), { status: 503, stack: 'Error: in the handler' });
  },
  nobody: (_request, _response, next) => next(),
  facts: ({ ip, protocol, hostname, method, path, fresh }, response) =>
    void response.json({ ip, protocol, hostname, method, path, fresh }),
};

function application(scene: Scene, use: (app: Express) => void = () => {}): void {
  const app = express();
  app.disable('x-powered-by');
  app.set('env', 'test');
  app.use((request, response, next) => {
    response.on('finish', () => scene.seen.push(`finish ${request.url} ${response.statusCode}`));
    response.on('close', () => scene.seen.push(`close ${request.url} ${response.writableFinished}`));
    next();
  });
  use(app);
  for (const [name, handler] of Object.entries(routes)) app.get(`/${name.replace(' ', '-')}`, handler);
  app.get('/last', (_request, response) => void response.send('last'));
  scene.handler = (request, response) => app(request, response);
}

for (const name of Object.keys(routes)) {
  const target = `/${name.replace(' ', '-')}`;
  for (const [how, use] of Object.entries<(app: Express) => void>({
    'as it is': () => {},
    'with a compressor': (app) => app.use(compressing),
  })) {
    // It writes past the response.
    if (name === 'kernel' && how !== 'as it is') continue;
    bothWays(test, `Express ${how}: ${name}`, async (scene) => {
      application(scene, use);
      const client = await scene.hand(target);
      await scene.saw('close');
      await client.send(request(target));
      await scene.saw('close', 2);
      await client.send(request(target, '', 'HEAD'));
      await scene.saw('close', 3);
      await client.send(LAST);
      return withoutDate(await client.readToEnd()).replaceAll(
        /Last-Modified: [^\r]+/g,
        'Last-Modified: then',
      );
    });
  }
}

bothWays(test, 'Express: what a client has already is 304', async (scene) => {
  application(scene);
  const client = await scene.hand('/send');
  await scene.saw('close');
  const etag = /ETag: ([^\r]+)/.exec(client.received)?.[1];
  await client.send(request('/send', `If-None-Match: ${etag}\r\nConnection: close\r\n`));
  return withoutDate(await client.readToEnd());
});

async function fastify(scene: Scene): Promise<FastifyInstance> {
  const app = Fastify({
    serverFactory: (handler) => {
      scene.handler = (request, response) => handler(request, response);
      return scene.server;
    },
  });
  const saw = (what: string): void => void scene.seen.push(what);
  app.addHook('onRequest', async ({ ip, url }) => saw(`onRequest ${ip} ${url}`));
  app.addHook('preHandler', async () => saw('preHandler'));
  app.addHook('onSend', async (_request, _reply, payload: unknown) => {
    saw('onSend');
    return payload;
  });
  app.addHook('onResponse', async (_request, reply) => saw(`onResponse ${reply.statusCode}`));
  app.addHook('onRequestAbort', async (_request) => saw('onRequestAbort'));
  app.addHook('onError', async (_request, _reply, error) => saw(`onError ${error.message}`));
  app.get('/returned', async () => ({ a: 1 }));
  app.get('/sent', (_request, reply) => void reply.header('X-A', 'b').code(201).send('sent'));
  app.get('/later', (_request, reply) => void setImmediate(() => reply.send('later')));
  app.get('/bytes', async () => Buffer.from('bytes'));
  app.get('/empty', async (_request, reply) => reply.code(204).send());
  app.get('/stream', (_request, reply) => reply.send(Readable.from(['one', 'two'])));
  app.get('/late-stream', (_request, reply) => {
    const stream = new PassThrough();
    setImmediate(() => stream.end('late'));
    return reply.send(stream);
  });
  app.get('/trailer', (_request, reply) => reply.trailer('X-Sum', async () => '1').send('with a trailer'));
  app.get('/redirect', (_request, reply) => reply.redirect('/elsewhere'));
  app.get('/failing', async () => {
    throw new Error('in the handler');
  });
  app.get('/hijacked', (_request, reply) => {
    reply.hijack();
    reply.raw.end('hijacked');
    saw('onResponse by hand');
  });
  app.get('/never', () => {});
  app.get('/last', async () => 'last');
  await app.ready();
  return app;
}

for (const target of [
  'returned',
  'sent',
  'later',
  'bytes',
  'empty',
  'stream',
  'late-stream',
  'trailer',
  'redirect',
  'failing',
  'hijacked',
  'missing',
]) {
  bothWays(test, `Fastify: /${target}`, async (scene) => {
    const app = await fastify(scene);
    const client = await scene.hand(`/${target}`);
    await scene.saw('onResponse');
    await client.send(request(`/${target}`));
    await scene.saw('onResponse', 2);
    await client.send(LAST);
    const received = withoutDate(await client.readToEnd());
    await scene.saw('onResponse', 3);
    await app.close();
    return received;
  });
}

bothWays(test, 'Fastify: a client that leaves', async (scene) => {
  const app = await fastify(scene);
  const client = await scene.hand('/never');
  await scene.saw('preHandler');
  await scene.settled(client);
  await client.close();
  await scene.saw('onRequestAbort');
  await app.close();
});
