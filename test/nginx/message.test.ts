// What a backend is told of a request, byte by byte: names, values and their order, for clients of each kind of address. What the
// operator adds is in parameters.test.ts.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { type Recorded, recordingNginx, valuesOf } from '../helpers/recording-nginx.js';
import { condition, needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const hasIpv6 = (): boolean => {
  try {
    return readFileSync('/proc/net/if_inet6', 'latin1').includes(' lo\n');
  } catch {
    return false;
  }
};
const withIpv6 = needs(test, ...nginxWithModule, condition(hasIpv6(), 'IPv6 on the loopback interface'));

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';

/** Sends one request and waits for its end: the recorder takes every client. */
async function request(target: number | string, host: string, bytes: string): Promise<RawClient> {
  const client = await RawClient.connect(target, host);
  await client.send(bytes);
  await client.readToEnd();
  return client;
}

withNginx('the headers of a plain request are these, in this order', async (t) => {
  const { host, port, recorder } = await recordingNginx(t);
  const client = await RawClient.connect(port, host);
  const { localAddress, localPort } = client.socket;
  await client.send(
    'POST /a%2Fb//c/../d?x=1&y=%20 HTTP/1.1\r\nHost: example.test:8080\r\nX-Odd-Name: 1\r\ncontent-length: 4\r\n\r\nbody',
  );
  t.is(await client.readToEnd(), '');
  t.deepEqual(recorder.messages, [
    {
      headers: [
        ['CONTENT_LENGTH', '4'],
        ['SCGI', '1+fd_pass'],
        ['FD_PASS_VERSION', '1'],
        ['REMOTE_ADDR', localAddress as string],
        ['REMOTE_PORT', `${localPort}`],
        ['REQUEST_METHOD', 'POST'],
        ['REQUEST_URI', '/a%2Fb//c/../d?x=1&y=%20'],
        ['SERVER_ADDR', host],
        ['SERVER_PORT', `${port}`],
        ['QUERY_STRING', 'x=1&y=%20'],
        ['SERVER_PROTOCOL', 'HTTP/1.1'],
        ['REQUEST_SCHEME', 'http'],
        ['SERVER_NAME', 'example.test'],
        ['FD_PASS_LOCATION', '/'],
        ['HTTP_HOST', 'example.test:8080'],
        ['HTTP_X_ODD_NAME', '1'],
        ['HTTP_CONTENT_LENGTH', '4'],
      ],
      earlyBytes: 'body',
    },
  ]);
});

withIpv6('an IPv6 client has its address without brackets', async (t) => {
  const free = createServer().listen(0, '::1');
  await once(free, 'listening');
  const { port } = free.address() as AddressInfo;
  free.close();
  await once(free, 'close');
  const { recorder } = await recordingNginx(t, {
    server: `listen [::1]:${port}; location / { fd_pass unix:@FOLDER@/app.sock; }`,
  });
  const client = await RawClient.connect(port, '::1');
  const { localPort } = client.socket;
  await client.send(GET);
  await client.readToEnd();
  t.deepEqual(recorder.messages[0]?.headers.slice(3, 9), [
    ['REMOTE_ADDR', '::1'],
    ['REMOTE_PORT', `${localPort}`],
    ['REQUEST_METHOD', 'GET'],
    ['REQUEST_URI', '/'],
    ['SERVER_ADDR', '::1'],
    ['SERVER_PORT', `${port}`],
  ]);
});

withNginx('a client of a UNIX socket has no address and no port', async (t) => {
  const { folder, recorder } = await recordingNginx(t, {
    server: 'listen unix:@FOLDER@/clients.sock; location / { fd_pass unix:@FOLDER@/app.sock; }',
  });
  await request(`${folder}/clients.sock`, '', GET);
  t.deepEqual(recorder.messages[0]?.headers.slice(3, 9), [
    ['REMOTE_ADDR', 'unix:'],
    ['REMOTE_PORT', ''],
    ['REQUEST_METHOD', 'GET'],
    ['REQUEST_URI', '/'],
    ['SERVER_ADDR', `unix:${folder}/clients.sock`],
    ['SERVER_PORT', ''],
  ]);
});

withNginx('realip decides who the client is, and X-Forwarded-For goes on as it came', async (t) => {
  const { host, port, recorder } = await recordingNginx(t, {
    server: `set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;
      location / { fd_pass unix:@FOLDER@/app.sock; }`,
  });
  const head = 'GET / HTTP/1.1\r\nHost: example.test\r\nX-Forwarded-For: 192.0.2.1, 2001:db8::7\r\n\r\n';
  const client = await request(port, host, head);
  t.is(client.error, undefined);
  const [message] = recorder.messages as [Recorded];
  t.deepEqual(valuesOf(message, 'REMOTE_ADDR'), ['2001:db8::7']);
  t.deepEqual(valuesOf(message, 'REMOTE_PORT'), ['']);
  t.deepEqual(valuesOf(message, 'SERVER_ADDR'), [host]);
  t.deepEqual(valuesOf(message, 'HTTP_X_FORWARDED_FOR'), ['192.0.2.1, 2001:db8::7']);
});

withNginx('a forged X-Forwarded-For changes nothing without realip', async (t) => {
  const { host, port, recorder } = await recordingNginx(t);
  await request(port, host, 'GET / HTTP/1.1\r\nHost: example.test\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n');
  t.regex(valuesOf(recorder.messages[0] as Recorded, 'REMOTE_ADDR').join(), /^127\./);
});

for (const [what, preface] of [
  ['text', 'PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n'],
  ['binary', '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x12\x67\0\x50'],
] as const) {
  withNginx(
    `the PROXY protocol (${what}) says who the client is, and is no part of the message`,
    async (t) => {
      const { host, port, recorder } = await recordingNginx(t, {
        listen: ' proxy_protocol',
        server: `set_real_ip_from 127.0.0.0/8; real_ip_header proxy_protocol;
        location / { fd_pass unix:@FOLDER@/app.sock; }`,
      });
      await request(
        port,
        host,
        `${preface}POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 4\r\n\r\nbody`,
      );
      const [message] = recorder.messages as [Recorded];
      t.deepEqual(valuesOf(message, 'REMOTE_ADDR'), ['192.0.2.1']);
      t.deepEqual(valuesOf(message, 'REMOTE_PORT'), ['4711']);
      t.is(message.earlyBytes, 'body');
    },
  );
}

withNginx('the location is told where it is a prefix of the target that the client asked for', async (t) => {
  const { host, port, recorder } = await recordingNginx(t, {
    server: `set $to unix:@FOLDER@/app.sock;
      location / { fd_pass $to; }
      location /prefix/ { fd_pass $to; location /prefix/inner/ { fd_pass $to; } }
      location ^~ /first/ { fd_pass $to; }
      location = /exact { fd_pass $to; }
      location ~ ^/regex { fd_pass $to; }
      location /if/ { fd_pass $to; if ($arg_a) { fd_pass unix:@FOLDER@/app.sock; } }
      location /rewritten/ { rewrite ^/rewritten/(.*) /prefix/$1 last; }
      location /broken/ { rewrite ^/broken/(.*) /other/$1 break; fd_pass $to; }
      location /named/ { try_files /nothing @named; }
      location @named { fd_pass $to; }
      location /index/ { error_page 418 = /prefix/; return 418; }`,
  });
  const expected: Readonly<Record<string, string[]>> = {
    '/': ['/'],
    '/other': ['/'],
    '/prefix/a': ['/prefix/'],
    '/prefix/inner/a': ['/prefix/inner/'],
    '/first/a': ['/first/'],
    '/%70refix/a': ['/prefix/'],
    '/exact': [],
    '/regex': [],
    '/if/': ['/if/'],
    '/if/?a=1': [],
    '/rewritten/a': [],
    '/broken/a': [],
    '/named/a': [],
    '/index/a': [],
  };
  for (const target of Object.keys(expected)) {
    await request(port, host, `GET ${target} HTTP/1.1\r\nHost: example.test\r\n\r\n`);
  }
  t.deepEqual(
    Object.fromEntries(
      recorder.messages.map((message) => [
        valuesOf(message, 'REQUEST_URI').join(),
        valuesOf(message, 'FD_PASS_LOCATION'),
      ]),
    ),
    expected,
  );
});

withNginx(
  'the target is the raw one, and the query string what follows its first question mark',
  async (t) => {
    const { host, port, recorder } = await recordingNginx(t);
    const targets: readonly (readonly [target: string, uri: string, query: string])[] = [
      ['/', '/', ''],
      ['/?', '/?', ''],
      ['/?a?b', '/?a?b', 'a?b'],
      ['//a///b', '//a///b', ''],
      ['/a/%2F%2e%2E/?%2F', '/a/%2F%2e%2E/?%2F', '%2F'],
      ['/./a', '/./a', ''],
      ['/\xe4\xff', '/\xe4\xff', ''],
      ['/a#b', '/a#b', ''],
      ['http://example.test/a?b', '/a?b', 'b'],
      ['http://example.test', '/', ''],
    ];
    for (const [target] of targets) {
      await request(port, host, `GET ${target} HTTP/1.1\r\nHost: example.test\r\n\r\n`);
    }
    t.deepEqual(
      recorder.messages.map((message) => [
        ...valuesOf(message, 'REQUEST_URI'),
        ...valuesOf(message, 'QUERY_STRING'),
      ]),
      targets.map(([, uri, query]) => [uri, query]),
    );
  },
);

withNginx('each method goes by its own name', async (t) => {
  const { host, port, recorder } = await recordingNginx(t);
  const methods = ['HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND', 'PURGE', 'X-OWN_ONE'];
  for (const method of methods) await request(port, host, GET.replace('GET', method));
  t.deepEqual(
    recorder.messages.flatMap((message) => valuesOf(message, 'REQUEST_METHOD')),
    methods,
  );
});
