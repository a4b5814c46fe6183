// A real nginx in front: what its own scgi_pass relays to a handover server, on the same socket that handovers come by.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { connectionInfo } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { createServer } from '#runtime/server.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxFolder, startNginx } from '../helpers/nginx.js';
import { needs, program } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, program('nginx', 'nginx-light'));

/** nginx listens on a UNIX socket here: no port to choose. */
async function start(t: ExecutionContext): Promise<{ front: string; errors: string[] }> {
  const folder = nginxFolder();
  const app = join(folder, 'app.sock');
  const front = join(folder, 'front.sock');
  const errors: string[] = [];
  const logger = { warn() {}, error() {} };
  const server = createServer({ logger }, async (req, res) => {
    const body = await buffer(req).catch(() => undefined);
    if (body === undefined) return;
    const { client, handover, variables, earlyBytes } = connectionInfo(req);
    const facts = {
      method: req.method,
      url: req.url,
      headers: req.headers,
      client,
      handover,
      variables,
      earlyBytes,
    };
    const sha256 = createHash('sha256').update(body).digest('hex');
    res.setHeader('X-Handler', 'reached');
    res.end(JSON.stringify({ ...facts, bytes: body.length, sha256 }));
  });
  server.on('handoverError', (error) => errors.push(error.code));
  server.listen({ path: app, mode: 0o666 });
  await once(server, 'listening');
  const nginx = await startNginx(
    folder,
    `server { listen unix:${front}; client_max_body_size 100m;
      location / { include /etc/nginx/scgi_params; scgi_param REQUEST_ID $request_id; scgi_pass unix:${app}; }
      location /unbuffered/ { include /etc/nginx/scgi_params; scgi_request_buffering off; scgi_buffering off; scgi_pass unix:${app}; } }`,
  );
  t.teardown(async () => {
    const closed = once(server, 'close');
    server.destroy();
    await closed;
    await nginx.close();
  });
  return { front, errors };
}

interface Answer {
  status: number | undefined;
  headers: NodeJS.Dict<string | string[]>;
  json: Record<string, unknown> & { headers: Record<string, string>; variables: Record<string, string> };
}

async function ask(
  socketPath: string,
  method: string,
  path: string,
  headers = {},
  body?: Buffer,
): Promise<Answer> {
  const sent = request({ socketPath, method, path, headers: { Host: 'example.test', ...headers } });
  sent.end(body);
  const [response] = await once(sent, 'response');
  const bytes = await buffer(response);
  return {
    status: response.statusCode,
    headers: response.headers,
    json: bytes.length > 0 && bytes[0] === 0x7b ? JSON.parse(bytes.toString()) : {},
  };
}

withNginx('a request reaches the handler as the client sent it, and the answer is whole', async (t) => {
  const { front } = await start(t);
  const { status, headers, json } = await ask(front, 'GET', '/a%20b?x=1', {
    'X-Some-Header': 'y',
    Proxy: 'http://evil',
  });
  t.is(status, 200);
  t.is(headers['x-handler'], 'reached');
  t.truthy(headers['content-length'], 'nginx need not chunk an answer whose length is known');
  t.is(json.url, '/a%20b?x=1');
  t.is(json.handover, 'relay');
  t.is(json.headers['x-some-header'], 'y');
  t.is(json.headers.proxy, undefined);
  t.regex(json.variables.REQUEST_ID ?? '', /^[0-9a-f]{32}$/);
});

withNginx('a body of 5 MB arrives whole', async (t) => {
  const { front } = await start(t);
  const body = randomBytes(5_000_000);
  const { status, json } = await ask(front, 'POST', '/', { 'Content-Type': 'application/x-test' }, body);
  t.is(status, 200);
  t.is(json.bytes, body.length);
  t.is(json.sha256, createHash('sha256').update(body).digest('hex'));
  t.is(json.headers['content-type'], 'application/x-test');
});

withNginx(
  'a body that an unbuffered nginx announces too short is refused loudly, not cut silently',
  async (t) => {
    const { front, errors } = await start(t);
    const client = connect(front).on('error', () => {});
    client.write('POST /unbuffered/ HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5000000\r\n\r\n');
    client.write(randomBytes(5_000_000));
    const [firstBytes] = (await once(client, 'data')) as [Buffer];
    t.regex(firstBytes.toString('latin1'), /^HTTP\/1\.1 50[02] /);
    client.destroy();
    t.deepEqual(errors, ['BKR_ERR_RELAYED_BODY']);
  },
);

withNginx('a chunked body, which nginx de-chunks', async (t) => {
  const { front } = await start(t);
  const { status, json } = await ask(
    front,
    'PUT',
    '/',
    { 'Transfer-Encoding': 'chunked' },
    Buffer.from('name=value'),
  );
  t.is(status, 200);
  t.is(json.bytes, 10);
  t.is(json.headers['transfer-encoding'], undefined);
  t.is(json.headers['content-length'], '10');
});

withNginx('HEAD has the headers and no body', async (t) => {
  const { status, headers } = await ask((await start(t)).front, 'HEAD', '/');
  t.is(status, 200);
  t.is(headers['x-handler'], 'reached');
});

withNginx('a WebSocket upgrade gets 426: plain SCGI cannot carry it', async (t) => {
  const { front } = await start(t);
  const { status } = await ask(front, 'GET', '/', { Connection: 'x-nothing', Upgrade: 'websocket' });
  t.is(status, 426);
});
