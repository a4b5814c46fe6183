// The front door before a real handover server: to an ordinary HTTP client both together are one HTTP server.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createFrontDoor } from '#runtime/front-door/index.js';
import { createServer } from '#runtime/server.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { RawClient } from '../helpers/raw-client.js';

guardDescriptors(test);

async function start(t: ExecutionContext): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'fdpass-front-door-'));
  const path = join(directory, 'app.sock');
  const server = createServer({}, async (req, res) => {
    let bytes = 0;
    for await (const chunk of req) bytes += (chunk as Buffer).length;
    const { method, url, httpVersion } = req;
    res.setHeader('Content-Type', 'application/json');
    res.end(
      JSON.stringify({
        method,
        url,
        httpVersion,
        bytes,
        client: req.socket.remoteAddress,
        x: req.headers['x-a'],
      }),
    );
  });
  server.listen({ path });
  await once(server, 'listening');
  const frontDoor = createFrontDoor({ listeners: [{ port: 0, to: path }] });
  await frontDoor.listen();
  t.teardown(async () => {
    await frontDoor.destroy();
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
    rmSync(directory, { recursive: true, force: true });
  });
  return frontDoor.addresses()[0]?.port ?? 0;
}

interface Answer {
  status: number | undefined;
  headers: IncomingHttpHeaders;
  body: unknown;
}

async function ask(options: RequestOptions, body?: Buffer): Promise<Answer> {
  const sent = request({ host: '127.0.0.1', agent: false, ...options });
  if (options.headers !== undefined && 'Expect' in options.headers) {
    sent.flushHeaders();
    await once(sent, 'continue');
  }
  sent.end(body);
  const [response] = await once(sent, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, headers: response.headers, body: JSON.parse(text) };
}

test('GET with fields', async (t) => {
  const port = await start(t);
  const { status, body } = await ask({ port, path: '/p?q=1', headers: { 'X-A': 'b' } });
  t.is(status, 200);
  t.deepEqual(body, {
    method: 'GET',
    url: '/p?q=1',
    httpVersion: '1.1',
    bytes: 0,
    client: '127.0.0.1',
    x: 'b',
  });
});

const BODIES: [name: string, bytes: number, headers: Record<string, string>][] = [
  ['a body of 10 bytes, in one segment with the head', 10, {}],
  ['a body of 1 MiB', 1024 * 1024, {}],
  ['a chunked body', 300_000, { 'Transfer-Encoding': 'chunked' }],
  ['a body after 100 Continue', 100_000, { Expect: '100-continue', 'Content-Length': '100000' }],
];
for (const [name, bytes, headers] of BODIES) {
  test(`POST with ${name} arrives whole`, async (t) => {
    const port = await start(t);
    for (let round = 0; round < 5; round++) {
      const { status, body } = await ask({ port, method: 'POST', headers }, Buffer.alloc(bytes, 'x'));
      t.is(status, 200);
      t.like(body, { method: 'POST', bytes });
    }
  });
}

test('HTTP/1.0, absolute-form and OPTIONS * reach the handler as they were sent', async (t) => {
  const port = await start(t);
  const requests: [head: string, seen: string][] = [
    ['GET /x HTTP/1.0\r\n\r\n', '"url":"/x","httpVersion":"1.0"'],
    [
      `GET http://127.0.0.1:${port}/x HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`,
      `"url":"http://127.0.0.1:${port}/x"`,
    ],
    ['OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n', '"method":"OPTIONS","url":"*"'],
  ];
  for (const [head, seen] of requests) {
    const client = await RawClient.connect(port);
    await client.send(head);
    const answer = await client.readToEnd();
    t.regex(answer, /^HTTP\/1\.1 200 /, head);
    t.true(answer.includes(seen), answer);
  }
});
