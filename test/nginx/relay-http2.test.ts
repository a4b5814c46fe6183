// HTTP/2 clients, with and without TLS: nginx speaks HTTP/2 with them, and each of their requests is relayed by plain scgi_pass to
// the same socket, whole.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { type BehindNginx, type BehindNginxOptions, behindNginx } from '../helpers/behind-nginx.js';
import { type Arrived, answerDigest, bodyOf, digestOf } from '../helpers/body-digest.js';
import { makeServerCertificate } from '../helpers/certificates.js';
import { curl } from '../helpers/curl.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule, ownAddress } from '../helpers/nginx.js';
import { needs, program } from '../helpers/requirements.js';
import { temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);
const http2 = [...nginxWithModule, program('openssl')];
const withHttp2 = needs(test, ...http2);
const withCurl = needs(test, ...http2, program('curl'));
const withH2load = needs(test, ...http2, program('h2load', 'nghttp2-client'));

interface Http2Front extends BehindNginx {
  /** A file of 200 kB, and what is in it. */
  readonly file: string;
  readonly body: Buffer;
}

const WAYS = { 'without TLS': 'http', 'with TLS': 'https' } as const;

/** `url` is for HTTP/2. */
async function start(
  t: ExecutionContext,
  scheme: 'http' | 'https',
  options: BehindNginxOptions = {},
): Promise<Http2Front> {
  const folder = await temporaryFolder(t);
  await makeServerCertificate(folder);
  const address = ownAddress();
  const front = await behindNginx(t, {
    handler: answerDigest,
    locations: (socket) => `
      listen ${address} ${scheme === 'https' ? 'ssl' : ''} http2;
      ssl_certificate ${folder}/certificate.pem; ssl_certificate_key ${folder}/key.pem;
      location / { fd_pass unix:${socket}; fd_pass_fallback @relay; }
      location @relay { include /etc/nginx/scgi_params; scgi_pass unix:${socket}; }`,
    ...options,
  });
  const file = join(folder, 'body');
  const body = bodyOf(200_000);
  writeFileSync(file, body);
  return { ...front, url: `${scheme}://${address}`, file, body };
}

async function session(t: ExecutionContext, { url }: BehindNginx): Promise<ClientHttp2Session> {
  const client = connect(url, { rejectUnauthorized: false });
  t.teardown(async () => {
    if (client.closed) return;
    client.destroy();
    await once(client, 'close');
  });
  await once(client, 'connect');
  return client;
}

async function post(client: ClientHttp2Session, path: string, body: Buffer): Promise<Arrived> {
  const stream = client.request({ ':method': 'POST', ':path': path });
  stream.end(body);
  return JSON.parse((await buffer(stream)).toString());
}

async function ended(client: ClientHttp2Session): Promise<void> {
  client.close();
  if (!client.destroyed) await once(client, 'close');
}

for (const [way, scheme] of Object.entries(WAYS)) {
  withCurl(`curl ${way}: GET, POST, PUT and HEAD`, async (t) => {
    const { url, file, body, accessLog } = await start(t, scheme);
    const option = scheme === 'https' ? '--http2' : '--http2-prior-knowledge';
    const ask = async (...more: string[]): Promise<unknown> => {
      const answer = await curl(`${url}/a?b=%20c`, option, ...more);
      t.is(answer.version, '2');
      t.is(answer.status, 200);
      return more[0] === '-I' ? answer.body : JSON.parse(answer.body);
    };
    const common = { url: '/a?b=%20c', handover: 'relay' };
    t.like(await ask(), { ...common, method: 'GET', bytes: 0 });
    t.like(await ask('--data-binary', `@${file}`), { ...common, method: 'POST', ...digestOf(body) });
    t.like(await ask('-T', file), { ...common, method: 'PUT', ...digestOf(body) });
    t.regex((await ask('-I')) as string, /^HTTP\/2 200/);
    t.deepEqual(
      (await accessLog(4)).map((line) => line.replace(/ \d+ none .*$/, '')),
      ['GET', 'POST', 'PUT', 'HEAD'].map((method) => `${method} /a 200`),
    );
  });

  withHttp2(`streams ${way}: a hundred at once on one connection, each with its own body`, async (t) => {
    const front = await start(t, scheme);
    const client = await session(t, front);
    const bodies = Array.from({ length: 100 }, (_, n) => bodyOf(n * n * 5, n));
    const all = await Promise.all(bodies.map((body, n) => post(client, `/${n}`, body)));
    for (const [n, arrived] of all.entries()) {
      t.like(arrived, { url: `/${n}`, handover: 'relay', ...digestOf(bodies[n] as Buffer) });
    }
    await ended(client);
    t.deepEqual(front.errors, []);
    t.like(front.server.stats(), { full: 0, relay: 100 });
  });

  withHttp2(`streams ${way}: an answer of 5 MB`, async (t) => {
    const content = bodyOf(5_000_000);
    const front = await start(t, scheme, { handler: (_request, response) => response.end(content) });
    const client = await session(t, front);
    const streams = await Promise.all(
      Array.from({ length: 3 }, () => buffer(client.request({ ':path': '/' }))),
    );
    for (const received of streams) t.deepEqual(digestOf(received), digestOf(content));
    await ended(client);
  });

  withHttp2(`streams ${way}: one that is reset leaves the others alone`, async (t) => {
    let begun = 0;
    let brokenOff = 0;
    const front = await start(t, scheme, {
      handler: (request, response) => {
        if (request.url !== '/held') return answerDigest(request, response);
        begun++;
        response.on('close', () => brokenOff++);
        return response.write('begun');
      },
    });
    const client = await session(t, front);
    const held = Array.from({ length: 5 }, () => client.request({ ':path': '/held' }));
    for (const stream of held) stream.on('error', () => {});
    await until('the handler has five of them', () => begun === 5);
    for (const stream of held) stream.close(constants.NGHTTP2_CANCEL);
    t.like(await post(client, '/', front.body), { handover: 'relay', ...digestOf(front.body) });
    await until('the handler has seen all of them end', () => brokenOff === 5);
    await ended(client);
  });

  withH2load(`h2load ${way}: 1000 uploads of ten clients lose nothing`, async (t) => {
    const front = await start(t, scheme);
    const arrived: Arrived[] = [];
    front.server.on('request', (_request, response) => {
      const end = response.end.bind(response);
      response.end = ((text: string) => {
        arrived.push(JSON.parse(text));
        return end(text);
      }) as typeof response.end;
    });
    const body = readFileSync(front.file).subarray(0, 3000);
    writeFileSync(front.file, body);
    const args = ['-n', '1000', '-c', '10', '-m', '5', '-d', front.file, `${front.url}/load`];
    const { stdout } = await promisify(execFile)('h2load', args);
    t.regex(stdout, /1000 succeeded, 0 failed, 0 errored/);
    t.regex(stdout, /status codes: 1000 2xx/);
    t.is(arrived.length, 1000);
    t.deepEqual(new Set(arrived.map(({ sha256 }) => sha256)), new Set([digestOf(body).sha256]));
    t.deepEqual(front.errors, []);
  });
}
