// fd_pass_param: where it is inherited, what its values may be made of, and that what the operator sets the client cannot.
import { connectionInfo, handoverRequestId } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import { behindNginx } from '../helpers/behind-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import {
  type Recorded,
  type RecordingNginx,
  type RecordingNginxOptions,
  recordingNginx,
  valuesOf,
} from '../helpers/recording-nginx.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const PASS = 'fd_pass unix:@FOLDER@/app.sock;';

/** Without CRLF at their ends. */
async function get({ host, port }: RecordingNginx, target: string, ...fields: string[]): Promise<string> {
  const client = await RawClient.connect(port, host);
  const lines = [`GET ${target} HTTP/1.1`, 'Host: example.test', ...fields, '', ''];
  await client.send(lines.join('\r\n'));
  return await client.readToEnd();
}

/** The one message of a request for `/`. */
async function messageOf(
  t: ExecutionContext,
  options: RecordingNginxOptions,
  ...fields: string[]
): Promise<Recorded> {
  const front = await recordingNginx(t, options);
  await get(front, '/', ...fields);
  return front.recorder.messages[0] as Recorded;
}

withNginx(
  'parameters stand between what nginx tells and the fields of the client, in the order of the file',
  async (t) => {
    const { headers } = await messageOf(
      t,
      {
        server: `location / { ${PASS} fd_pass_param Z_LAST "a, b"; fd_pass_param A_FIRST $request_method-$arg_none;
        fd_pass_param EMPTY ""; }`,
      },
      'X-Own: 1',
    );
    const at = headers.findIndex(([name]) => name === 'FD_PASS_LOCATION');
    t.deepEqual(headers.slice(at + 1), [
      ['Z_LAST', 'a, b'],
      ['A_FIRST', 'GET-'],
      ['EMPTY', ''],
      ['HTTP_HOST', 'example.test'],
      ['HTTP_X_OWN', '1'],
    ]);
  },
);

withNginx('a level with parameters of its own inherits none, one without inherits all', async (t) => {
  const front = await recordingNginx(t, {
    http: 'fd_pass_param OF_HTTP 1; fd_pass_param SHARED http;',
    server: `location /inherits/ { ${PASS}
        location /inherits/nested/ { ${PASS} fd_pass_param OF_NESTED 1; }
        location /inherits/also/ { ${PASS} }
        if ($arg_if) { ${PASS} } }
      location /own/ { ${PASS} fd_pass_param SHARED own; location /own/nested/ { ${PASS} } }
      location /named/ { fd_pass_param OF_NAMED 0; try_files /nothing @named; }
      location @named { ${PASS} }`,
  });
  const expected: Readonly<Record<string, string[]>> = {
    '/inherits/': ['OF_HTTP=1', 'SHARED=http'],
    '/inherits/nested/': ['OF_NESTED=1'],
    '/inherits/also/': ['OF_HTTP=1', 'SHARED=http'],
    '/inherits/?if=1': ['OF_HTTP=1', 'SHARED=http'],
    '/own/': ['SHARED=own'],
    '/own/nested/': ['SHARED=own'],
    '/named/': ['OF_HTTP=1', 'SHARED=http'],
  };
  for (const target of Object.keys(expected)) await get(front, target);
  t.deepEqual(
    Object.fromEntries(
      front.recorder.messages.map((message) => [
        valuesOf(message, 'REQUEST_URI').join(),
        message.headers.filter(([name]) => /^(OF_|SHARED)/.test(name)).map((header) => header.join('=')),
      ]),
    ),
    expected,
  );
});

withNginx('if_not_empty leaves a header out when its value is empty, and only then', async (t) => {
  const front = await recordingNginx(t, {
    http: 'map $arg_a $mapped { default ""; 1 one; }',
    server: `location / { ${PASS} fd_pass_param MAPPED $mapped if_not_empty; fd_pass_param TLS $ssl_protocol if_not_empty;
      fd_pass_param PLAIN $ssl_protocol; fd_pass_param SPACE " " if_not_empty; fd_pass_param ZERO 0 if_not_empty; }`,
  });
  await get(front, '/');
  await get(front, '/?a=1');
  const found = front.recorder.messages.map((message) =>
    message.headers.filter(([name]) => ['MAPPED', 'TLS', 'PLAIN', 'SPACE', 'ZERO'].includes(name)),
  );
  t.deepEqual(found, [
    [
      ['PLAIN', ''],
      ['SPACE', ' '],
      ['ZERO', '0'],
    ],
    [
      ['MAPPED', 'one'],
      ['PLAIN', ''],
      ['SPACE', ' '],
      ['ZERO', '0'],
    ],
  ]);
});

const overridable = [
  'REMOTE_ADDR',
  'REMOTE_PORT',
  'REQUEST_METHOD',
  'REQUEST_URI',
  'SERVER_ADDR',
  'SERVER_PORT',
  'QUERY_STRING',
  'REQUEST_SCHEME',
  'SERVER_NAME',
  'FD_PASS_LOCATION',
];

withNginx('a parameter takes the place of a header of the same name, which goes once', async (t) => {
  const params = overridable.map((name) => `fd_pass_param ${name} own-${name};`).join(' ');
  const message = await messageOf(t, { server: `location / { ${PASS} ${params} }` });
  for (const name of overridable) t.deepEqual(valuesOf(message, name), [`own-${name}`]);
  t.deepEqual(
    message.headers.slice(0, 4).map(([name]) => name),
    ['CONTENT_LENGTH', 'SCGI', 'FD_PASS_VERSION', 'SERVER_PROTOCOL'],
  );
});

withNginx("with if_not_empty and an empty value the header of the same name is nginx's own", async (t) => {
  const message = await messageOf(t, {
    server: `location / { ${PASS} fd_pass_param REMOTE_ADDR $arg_none if_not_empty;
      fd_pass_param SERVER_NAME ""; }`,
  });
  t.regex(valuesOf(message, 'REMOTE_ADDR').join(), /^127\./);
  t.deepEqual(valuesOf(message, 'SERVER_NAME'), ['']);
});

for (const [what, value, expected] of [
  ['its value', '$remote_addr', ['127.0.0.9']],
  ['its empty value', '""', ['']],
  ['the absence of one, if it is empty,', '"" if_not_empty', []],
] as const) {
  withNginx(`a client cannot put its X-Real-IP in the place of the operator's: ${what} counts`, async (t) => {
    const message = await messageOf(
      t,
      {
        server: `set_real_ip_from 127.0.0.0/8; real_ip_header X-Client; underscores_in_headers on;
          location / { ${PASS} fd_pass_param HTTP_X_REAL_IP ${value}; }`,
      },
      'X-Real-IP: 192.0.2.66',
      'X-Client: 127.0.0.9',
      'x-real-ip: 192.0.2.67',
      'X_Real_IP: 192.0.2.68',
      'X-Real-IP-Not: 192.0.2.69',
    );
    t.deepEqual(valuesOf(message, 'HTTP_X_REAL_IP'), expected);
    t.deepEqual(valuesOf(message, 'HTTP_X_REAL_IP_NOT'), ['192.0.2.69']);
  });
}

withNginx('a value with a zero byte is sent to nobody: 500, and the log names the parameter', async (t) => {
  const front = await recordingNginx(t, {
    http: 'map $arg_a $mapped { default fine; 1 "one\0SCGI\x001"; }',
    server: `fd_pass_fallback @relay; location @relay { return 204; }
      location /mapped { ${PASS} fd_pass_param MAPPED $mapped; }
      location /literal { ${PASS} fd_pass_param LITERAL "a\0b" if_not_empty; }`,
  });
  t.is(await get(front, '/mapped'), '');
  t.regex(await get(front, '/mapped?a=1', 'Connection: close'), /^HTTP\/1\.1 500 /);
  t.regex(await get(front, '/literal', 'Connection: close'), /^HTTP\/1\.1 500 /);
  t.is(front.recorder.messages.length, 1);
  const log = front.nginx.errorLog();
  t.regex(log, /\[error\].* the value of "fd_pass_param" "MAPPED" has a zero byte/);
  t.regex(log, /\[error\].* the value of "fd_pass_param" "LITERAL" has a zero byte/);
});

withNginx(
  'parameters reach the application: the request id as its id, the others as variables',
  async (t) => {
    const { host, port } = await behindNginx(t, {
      http: () => 'map $arg_from $region { default elsewhere; de Europe; }',
      locations: (socket) => `location / { fd_pass unix:${socket}; fd_pass_param REQUEST_ID $request_id;
      fd_pass_param HTTP_X_REQUEST_ID $request_id; fd_pass_param REGION $region; }`,
      handler: (request, response) => {
        const { variables } = connectionInfo(request);
        const { 'x-request-id': sent } = request.headers;
        response.end(JSON.stringify({ id: handoverRequestId(request), sent, region: variables.REGION }));
      },
    });
    const client = await RawClient.connect(port, host);
    await client.send('GET /?from=de HTTP/1.1\r\nHost: example.test\r\nX-Request-Id: forged\r\n\r\n');
    const answer = await client.readToEnd();
    const { id, sent, region } = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
    t.regex(id, /^[0-9a-f]{32}$/);
    t.is(sent, id);
    t.is(region, 'Europe');
  },
);
