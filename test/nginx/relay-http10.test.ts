// HTTP/1.0 clients, which cannot be handed over: relayed by plain scgi_pass to the same socket, whole, and on a connection that
// nginx keeps until a request comes that can be handed over.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { answerDigest, bodyOf, digestOf } from '../helpers/body-digest.js';
import { curl } from '../helpers/curl.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { openClient, untilRead } from '../helpers/nginx-client.js';
import type { RawClient } from '../helpers/raw-client.js';
import { needs, program } from '../helpers/requirements.js';
import { temporaryFolder } from '../helpers/serve.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);
const withCurl = needs(test, ...nginxWithModule, program('curl'));

const start = (t: ExecutionContext): Promise<BehindNginx> => behindNginx(t, { handler: answerDigest });

const body = bodyOf(300_000);
const post = (fields = ''): Buffer =>
  Buffer.concat([Buffer.from(`POST /old HTTP/1.0\r\nContent-Length: ${body.length}\r\n${fields}\r\n`), body]);

/** Takes one answer with a Content-Length off what came; nginx answers HTTP/1.0 with HTTP/1.1. */
async function answerOf(client: RawClient): Promise<{ fields: string; json: Record<string, unknown> }> {
  const whole = /^HTTP\/1\.1 200 OK\r\n(.*?)\r\n\r\n(\{.*?\})/s;
  await client.readUntil('}');
  const [all = '', fields = '', json = '{}'] = whole.exec(client.received) ?? [];
  client.received = client.received.slice(all.length);
  return { fields, json: JSON.parse(json) };
}

const relayed = { handover: 'relay', method: 'POST', ...digestOf(body) };

withNginx('a body of 300 kB, written at once with the head', async (t) => {
  const client = await openClient(t, await start(t));
  await client.send(post());
  const { fields, json } = await answerOf(client);
  t.like(json, relayed);
  t.regex(fields, /^Connection: close$/m);
  t.is(await client.readToEnd(), '');
});

withNginx('a body of 300 kB in pieces, the first split off within the head', async (t) => {
  const client = await openClient(t, await start(t));
  const bytes = post();
  for (const [from, to] of [
    [0, 7],
    [7, 40],
    [40, 60],
    [60, 20_000],
    [20_000, 200_001],
    [200_001, bytes.length],
  ]) {
    await client.send(bytes.subarray(from, to));
    await untilRead(client);
  }
  t.like((await answerOf(client)).json, relayed);
  t.is(await client.readToEnd(), '');
});

withNginx(
  'nginx keeps the connection of relayed requests, and a later HTTP/1.1 request is handed over',
  async (t) => {
    const front = await start(t);
    const client = await openClient(t, front);
    for (let n = 0; n < 5; n++) {
      await client.send(post('Connection: keep-alive\r\n'));
      const { fields, json } = await answerOf(client);
      t.like(json, relayed);
      t.regex(fields, /^Connection: keep-alive$/m);
    }
    const framing = `Host: example.test\r\nContent-Length: ${body.length}`;
    await client.send(Buffer.concat([Buffer.from(`POST /new HTTP/1.1\r\n${framing}\r\n\r\n`), body]));
    t.like((await answerOf(client)).json, {
      handover: 'full',
      requestNumber: 1,
      url: '/new',
      ...digestOf(body),
    });
    t.is(await client.readToEnd(), '');
    t.like(front.server.stats(), { full: 1, relay: 5 });
  },
);

withNginx('pipelined HTTP/1.0 requests with keep-alive are relayed one after the other', async (t) => {
  const front = await start(t);
  const client = await openClient(t, front);
  await client.send(
    Buffer.concat([post('Connection: keep-alive\r\n'), post('Connection: keep-alive\r\n'), post()]),
  );
  for (let n = 0; n < 3; n++) t.like((await answerOf(client)).json, relayed);
  t.is(await client.readToEnd(), '');
  t.is(front.server.stats().relay, 3);
});

withNginx('forty clients at once', async (t) => {
  const front = await start(t);
  const clients = await Promise.all(Array.from({ length: 40 }, () => openClient(t, front)));
  await Promise.all(clients.map((client) => client.send(post())));
  for (const client of clients) t.like((await answerOf(client)).json, relayed);
  await Promise.all(clients.map((client) => client.readToEnd()));
  t.deepEqual(front.errors, []);
});

withNginx('a request without a Host, a HEAD, and an answer without a length', async (t) => {
  const front = await behindNginx(t, {
    handler: (request, response) => {
      response.write(`${request.method}, `);
      response.end('in two pieces');
    },
  });
  const ask = async (head: string): Promise<string> => {
    const client = await openClient(t, front);
    await client.send(`${head}\r\n\r\n`);
    return client.readToEnd();
  };
  t.regex(await ask('GET / HTTP/1.0'), /^HTTP\/1\.1 200 OK\r\n(?!.*chunked).*\r\n\r\nGET, in two pieces$/s);
  t.regex(await ask('HEAD / HTTP/1.0'), /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\n$/s);
});

withCurl('curl -0, with a body and without', async (t) => {
  const { url } = await start(t);
  const file = join(await temporaryFolder(t), 'body');
  writeFileSync(file, body);
  const ask = async (target: string, ...options: string[]): Promise<unknown> =>
    JSON.parse((await curl(url + target, '-0', ...options)).body);
  t.like(await ask('/a?b'), { handover: 'relay', method: 'GET', url: '/a?b' });
  t.like(await ask('/old', '--data-binary', `@${file}`), relayed);
  t.like(await ask('/old', '-T', file), { ...relayed, method: 'PUT' });
});
