// The demo application on real sockets: its requests and answers, on plain Fastify and behind a front door that hands clients
// over. The clock and the chat are in demo-app-live.test.ts.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import type { DemoOptions } from '@fdpass/demo-app';
import test, { type ExecutionContext } from 'ava';
import { Agent, Client, request } from 'undici';
import { encodeMessage } from '#scgi/message.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { RawClient } from '../helpers/raw-client.js';
import { type ServedDemo, waysToServe } from '../helpers/served-demo.js';

guardDescriptors(test);

const publicFolder = new URL('../../../packages/demo-app/public/', import.meta.url);
const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

/** An agent of the test's own, so that its idle connections end with the test. */
function agentOf(t: ExecutionContext): Agent {
  const agent = new Agent();
  t.teardown(() => agent.destroy());
  return agent;
}

const bodies: readonly {
  name: string;
  body: () => string | Buffer | Readable | null;
  type?: string;
  sha256: string;
  bytes: number;
}[] = [
  { name: 'no body and no type', body: () => null, bytes: 0, sha256: sha256('') },
  {
    name: 'a form',
    body: () => 'a=b',
    type: 'application/x-www-form-urlencoded',
    bytes: 3,
    sha256: sha256('a=b'),
  },
  {
    name: 'JSON that is none',
    body: () => '{"a":',
    type: 'application/json',
    bytes: 5,
    sha256: sha256('{"a":'),
  },
  { name: 'a type nobody can read', body: () => 'x', type: '/;;', bytes: 1, sha256: sha256('x') },
  {
    name: 'bytes without a type',
    body: () => Buffer.of(0, 255),
    bytes: 2,
    sha256: sha256(Buffer.of(0, 255)),
  },
  {
    name: 'a chunked body far over the default bodyLimit',
    body: () => Readable.from(Array.from({ length: 300 }, () => Buffer.alloc(65_536, 7))),
    bytes: 300 * 65_536,
    sha256: sha256(Buffer.alloc(300 * 65_536, 7)),
  },
];

for (const [way, serve] of Object.entries(waysToServe)) {
  const start = async (t: ExecutionContext, options?: DemoOptions): Promise<ServedDemo> => {
    const demo = await serve(options);
    t.teardown(() => demo.close());
    return demo;
  };

  test(`${way}: /hello says hello`, async (t) => {
    const demo = await start(t);
    const { headers, body } = await request(`${demo.origin}/hello`, { dispatcher: agentOf(t) });
    t.deepEqual(await body.json(), { hello: 'world' });
    t.regex(String(headers['content-type']), /^application\/json/);
  });

  for (const method of ['POST', 'PUT'] as const) {
    for (const { name, body, type, bytes, sha256: expected } of bodies) {
      test(`${way}: ${method} /echo counts and hashes ${name}`, async (t) => {
        const demo = await start(t);
        const answer = await request(`${demo.origin}/echo`, {
          dispatcher: agentOf(t),
          method,
          body: body(),
          headers: type === undefined ? {} : { 'content-type': type },
        });
        t.is(answer.statusCode, 200);
        t.deepEqual(await answer.body.json(), { bytes, sha256: expected });
      });
    }
  }

  test(`${way}: /echo outlives a client that leaves in the middle of its body`, async (t) => {
    const demo = await start(t);
    const client = await RawClient.connect(demo.port);
    await client.send('POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf');
    await client.close();
    const { statusCode, body } = await request(`${demo.origin}/hello`, { dispatcher: agentOf(t) });
    await body.dump();
    t.is(statusCode, 200);
  });

  for (const bytes of [0, 1, 262_144, 262_145, 3_000_000]) {
    test(`${way}: /download of ${bytes} bytes has the SHA-256 it says`, async (t) => {
      const demo = await start(t);
      const answer = await request(`${demo.origin}/download?bytes=${bytes}`, { dispatcher: agentOf(t) });
      const content = Buffer.from(await answer.body.arrayBuffer());
      t.is(content.length, bytes);
      t.is(answer.headers['content-length'], String(bytes));
      t.is(answer.headers['x-sha256'], sha256(content));
      t.is(answer.headers['content-type'], 'application/octet-stream');
    });
  }

  test(`${way}: /download is 100,000,000 bytes unless asked otherwise, and HEAD says so without them`, async (t) => {
    const demo = await start(t);
    const dispatcher = agentOf(t);
    const head = await request(`${demo.origin}/download`, { method: 'HEAD', dispatcher });
    t.is(head.headers['content-length'], '100000000');
    const answer = await request(`${demo.origin}/download`, { dispatcher });
    const hash = createHash('sha256');
    for await (const chunk of answer.body) hash.update(chunk);
    t.is(hash.digest('hex'), String(head.headers['x-sha256']));
  });

  test(`${way}: /download goes on where it was broken off`, async (t) => {
    const demo = await start(t);
    const dispatcher = agentOf(t);
    const url = `${demo.origin}/download?bytes=1000`;
    const whole = await request(url, { dispatcher });
    const content = Buffer.from(await whole.body.arrayBuffer());
    const rest = await request(url, {
      dispatcher,
      headers: { range: 'bytes=400-', 'if-range': String(whole.headers.etag) },
    });
    t.is(rest.statusCode, 206);
    t.deepEqual(Buffer.from(await rest.body.arrayBuffer()), content.subarray(400));
  });

  for (const bytes of ['-1', '10000000001', '1.5', 'all', '']) {
    test(`${way}: /download refuses ?bytes=${bytes}`, async (t) => {
      const demo = await start(t);
      const answer = await request(`${demo.origin}/download?bytes=${bytes}`, { dispatcher: agentOf(t) });
      t.is(answer.statusCode, 400);
      t.like(await answer.body.json(), { statusCode: 400, code: 'FST_ERR_VALIDATION' });
    });
  }

  test(`${way}: /download answers 503 when the disk it may use is taken`, async (t) => {
    const demo = await start(t, { download: { maxBytes: 1_000 } });
    const answer = await request(`${demo.origin}/download?bytes=1001`, { dispatcher: agentOf(t) });
    t.is(answer.statusCode, 503);
    t.like(await answer.body.json(), { statusCode: 503, error: 'Service Unavailable' });
  });

  test(`${way}: the page and its files come whole, with their types and no foreign content allowed`, async (t) => {
    const demo = await start(t);
    const dispatcher = agentOf(t);
    const types: Record<string, string> = {
      html: 'text/html',
      css: 'text/css',
      js: 'text/javascript',
      svg: 'image/svg+xml',
    };
    for (const name of readdirSync(publicFolder)) {
      const answer = await request(`${demo.origin}/${name === 'index.html' ? '' : name}`, { dispatcher });
      const content = Buffer.from(await answer.body.arrayBuffer());
      t.deepEqual(content, await readFile(new URL(name, publicFolder)), name);
      t.is(String(answer.headers['content-type']).split(';')[0], types[name.split('.').at(-1) ?? ''], name);
      t.regex(String(answer.headers['content-security-policy']), /default-src 'none'/);
    }
  });

  test(`${way}: an unchanged page is answered 304`, async (t) => {
    const demo = await start(t);
    const dispatcher = agentOf(t);
    const { headers, body } = await request(`${demo.origin}/`, { dispatcher });
    await body.dump();
    const again = await request(`${demo.origin}/`, {
      dispatcher,
      headers: { 'if-none-match': String(headers.etag) },
    });
    await again.body.dump();
    t.is(again.statusCode, 304);
  });

  for (const path of [
    '/nowhere',
    '/package.json',
    '/../package.json',
    '/%2e%2e/package.json',
    '/index.html',
  ]) {
    test(`${way}: ${path} is Fastify's 404`, async (t) => {
      const demo = await start(t);
      const client = await RawClient.connect(demo.port);
      await client.send(`GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
      const answer = await client.readToEnd();
      t.regex(answer, /^HTTP\/1\.1 404 /);
      t.like(JSON.parse(answer.slice(answer.indexOf('{'))), { statusCode: 404, error: 'Not Found' });
    });
  }
}

test('a handover: /connection says how the client came, and counts its requests', async (t) => {
  const demo = await waysToServe['a handover']();
  t.teardown(() => demo.close());
  const client = new Client(demo.origin);
  t.teardown(() => client.destroy());
  for (const requestNumber of [1, 2, 3]) {
    const { body } = await client.request({ method: 'GET', path: '/connection' });
    t.like(await body.json(), {
      handover: 'full',
      local: { address: '127.0.0.1', port: demo.port, family: 'IPv4' },
      client: { address: '127.0.0.1' },
      ingress: { name: 'lo' },
      sender: { pid: process.pid },
      server: { pid: process.pid },
      requestNumber,
    });
  }
});

test('plain Fastify: /connection says that there was no handover', async (t) => {
  const demo = await waysToServe['plain Fastify']();
  t.teardown(() => demo.close());
  const { statusCode, body } = await request(`${demo.origin}/connection`, { dispatcher: agentOf(t) });
  t.is(statusCode, 200);
  const answer = (await body.json()) as { message: string };
  t.like(answer, { handover: 'none', local: { port: demo.port } });
  t.regex(answer.message, /^No connection information: /);
});

/** One plain SCGI request, as `scgi_pass` sends it, and the CGI answer. */
async function relay(socketPath: string, method: string, uri: string, body = ''): Promise<string> {
  const socket = connect(socketPath);
  const headers: [string, string][] = [
    ['REQUEST_METHOD', method],
    ['REQUEST_URI', uri],
    ['SERVER_PROTOCOL', 'HTTP/1.0'],
    ['REMOTE_ADDR', '192.0.2.7'],
    ['REMOTE_PORT', '4711'],
    ['SERVER_ADDR', '192.0.2.1'],
    ['SERVER_PORT', '80'],
    ['HTTP_HOST', 'h'],
  ];
  const message = encodeMessage({ headers, dialect: 'plain' });
  // encodeMessage announces no body in this dialect; the request with one is written out.
  socket.write(body === '' ? message : withBody(headers, body));
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('latin1');
}

function withBody(headers: readonly [string, string][], body: string): string {
  const all = [['CONTENT_LENGTH', String(body.length)], ['SCGI', '1'], ...headers];
  const payload = all.map(([name, value]) => `${name}\0${value}\0`).join('');
  return `${payload.length}:${payload},${body}`;
}

test('a relay reaches the same handlers', async (t) => {
  const demo = await waysToServe['a handover']();
  t.teardown(() => demo.close());
  const path = demo.socketPath ?? '';
  const connection = await relay(path, 'GET', '/connection');
  t.regex(connection, /^Status: 200/);
  t.like(JSON.parse(connection.slice(connection.indexOf('{'))), {
    handover: 'relay',
    client: { address: '192.0.2.7', port: 4711 },
    local: { address: '192.0.2.1', port: 80 },
  });
  const echo = await relay(path, 'POST', '/echo', 'name=value');
  t.deepEqual(JSON.parse(echo.slice(echo.indexOf('{'))), { bytes: 10, sha256: sha256('name=value') });
  const download = await relay(path, 'GET', '/download?bytes=5000');
  const content = Buffer.from(download.slice(download.indexOf('\r\n\r\n') + 4), 'latin1');
  t.is(content.length, 5000);
  t.true(download.includes(`x-sha256: ${sha256(content)}`));
});

test('the page asks nobody else for anything and has no script or style of its own in it', (t) => {
  for (const name of readdirSync(publicFolder)) {
    const text = readFileSync(new URL(name, publicFolder), 'utf8').replaceAll(
      'http://www.w3.org/2000/svg',
      '',
    );
    t.notRegex(text, /https?:\/\/|["'(]\/\//, name);
  }
  const html = readFileSync(new URL('index.html', publicFolder), 'utf8');
  t.notRegex(html, /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=/);
});
