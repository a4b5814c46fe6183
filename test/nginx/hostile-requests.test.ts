// Requests and configurations that once cost somebody else something: the other clients of an upstream, the worker, the next
// request on the same connection.
import { once } from 'node:events';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import test from 'ava';
import { behindNginx } from '../helpers/behind-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule, ownAddress } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

async function ask(port: number, host: string, request: string): Promise<string> {
  const client = await RawClient.connect(port, host);
  await client.send(request);
  return client.readToEnd();
}

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n';

withNginx('a request past the limits of every backend takes none of them out for the others', async (t) => {
  const { port, host, errors } = await behindNginx(t, {
    http: (socket) => `upstream app { server unix:${socket}; server unix:${socket}; }`,
    locations: () => 'location / { fd_pass app; }',
  });
  const fields = Array.from({ length: 600 }, (_, n) => `X-${n}: 1\r\n`).join('');
  t.regex(await ask(port, host, `${GET}${fields}\r\n`), /^HTTP\/1\.1 502 /);
  t.deepEqual(new Set(errors), new Set(['SCGI_ERR_TOO_MANY_HEADERS']));
  t.regex(await ask(port, host, `${GET}\r\n`), /^HTTP\/1\.1 200 /);
});

withNginx('log variables of upstreams find nothing in a handover, and do no harm', async (t) => {
  const { port, host, nginx } = await behindNginx(t, {
    http: () => `log_format upstream '$upstream_cache_last_modified $upstream_cache_etag $upstream_cache_status
      $upstream_addr $upstream_status $upstream_http_server $upstream_response_time $upstream_bytes_sent';`,
    locations: (socket) =>
      `access_log ${join(socket, '../upstream.log')} upstream; location / { fd_pass unix:${socket}; }`,
  });
  const workers = nginx.workers();
  t.regex(await ask(port, host, `${GET}\r\n`), /^HTTP\/1\.1 200 /);
  t.regex(await ask(port, host, `${GET}\r\n`), /^HTTP\/1\.1 200 /);
  t.deepEqual(nginx.workers(), workers);
});

withNginx('a body that another module has thrown away is not announced to the backend', async (t) => {
  const memcached = createTcpServer((socket) => socket.on('data', () => socket.write('END\r\n'))).listen(
    0,
    '127.0.0.1',
  );
  t.teardown(() => void memcached.close());
  await once(memcached, 'listening');
  const { port, host } = await behindNginx(t, {
    locations: (socket) => `location / {
        set $memcached_key key; memcached_pass 127.0.0.1:${(memcached.address() as AddressInfo).port}; error_page 404 = @app; }
      location @app { fd_pass unix:${socket}; fd_pass_fallback @relay; }
      location @relay { include /etc/nginx/scgi_params; scgi_pass unix:${socket}; }`,
    handler: async (request, response) => {
      response.end(`${request.headers['content-length']} ${(await buffer(request)).length}`);
    },
  });
  const announced = 'GET / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 10\r\n';
  const answer = await ask(port, host, `${announced}\r\nname=value${GET}\r\n`);
  t.is(answer.match(/HTTP\/1\.1 200/g)?.length, 2, answer);
  t.false(answer.includes('10 0'), answer);
});

withNginx('a listener with "deferred" hands over without an alert', async (t) => {
  const address = ownAddress();
  const { nginx } = await behindNginx(t, {
    locations: (socket) => `listen ${address} deferred; location / { fd_pass unix:${socket}; }`,
  });
  const [host = '', port] = address.split(':');
  t.regex(await ask(Number(port), host, `${GET}\r\n`), /^HTTP\/1\.1 200 /);
  t.notRegex(nginx.errorLog(), /\[(alert|emerg|crit)\]/);
});
