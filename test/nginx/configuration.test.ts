// What `nginx -t` refuses, with which words and at which line. What it takes is in configuration-valid.test.ts.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { nginxVerdict } from '../helpers/nginx-verdict.js';
import { needs } from '../helpers/requirements.js';
import { temporaryFolder } from '../helpers/serve.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

/** The line in nginx.conf of the one in `http` that ends with `# here`. */
const markedLine = (http: string): number =>
  http.split('\n').findIndex((line) => line.endsWith('# here')) + 5;

/** Line by line into the only location of the only server. */
const inLocation = (...lines: string[]): string => `server { location / {\n${lines.join('\n')}\n} }`;
const inServer = (...lines: string[]): string => `server {\n${lines.join('\n')}\n}`;
const RELAY = 'location @relay { scgi_pass unix:/run/app.sock; }';
const longPath = `unix:/${'p'.repeat(107)}`;

interface Wrong {
  readonly what: string;
  readonly http: string;
  readonly complaint: string;
}

const NO_TARGET = 'is neither "unix:" with an absolute path nor the name of an upstream';

const TIMES: readonly string[] = [
  'fd_pass_send_timeout',
  'fd_pass_next_timeout',
  'fd_pass_idle_timeout',
  'fd_pass_keepalive_timeout',
];
const NUMBERS: readonly string[] = ['fd_pass_next_tries', 'fd_pass_keepalive', 'fd_pass_keepalive_handovers'];

const wrong: readonly Wrong[] = [
  {
    what: 'fd_pass without an argument',
    http: inLocation('fd_pass; # here'),
    complaint: 'invalid number of arguments in "fd_pass" directive',
  },
  {
    what: 'fd_pass with two arguments',
    http: inLocation('fd_pass unix:/a unix:/b; # here'),
    complaint: 'invalid number of arguments in "fd_pass" directive',
  },
  ...[
    '127.0.0.1:80',
    'backend:80',
    '[::1]:80',
    'http://backend',
    'http://unix:/run/app.sock',
    'unix:run/app.sock',
    'unix:',
    'unix:/',
    '/run/app.sock',
    '""',
  ].map((target) => ({
    what: `fd_pass ${target}`,
    http: inLocation(`fd_pass ${target}; # here`),
    complaint: `"${target.replaceAll('"', '')}" ${NO_TARGET}`,
  })),
  {
    what: 'fd_pass with a path that no socket can have',
    http: inLocation(`fd_pass ${longPath}; # here`),
    complaint: `too long path in the unix domain socket in upstream "${longPath}"`,
  },
  {
    what: 'fd_pass with an upstream that is declared nowhere',
    http: inLocation('fd_pass nowhere; # here'),
    complaint: 'no port in upstream "nowhere"',
  },
  {
    what: 'an upstream with a TCP server',
    http: `upstream app { server 127.0.0.1:80; }\n${inLocation('fd_pass app; # here')}`,
    complaint: '"fd_pass" needs UNIX sockets, and upstream "app" has "127.0.0.1:80"',
  },
  {
    what: 'an upstream with a TCP server beside UNIX sockets',
    http: `upstream app { server unix:/a; server 127.0.0.1:80 backup; }\n${inLocation('fd_pass app; # here')}`,
    complaint: '"fd_pass" needs UNIX sockets, and upstream "app" has "127.0.0.1:80"',
  },
  {
    what: 'an upstream with a TCP server, declared after its use',
    http: `${inLocation('fd_pass app; # here')}\nupstream app { server unix:/a; server 127.0.0.1:80; }`,
    complaint: '"fd_pass" needs UNIX sockets, and upstream "app" has "127.0.0.1:80"',
  },
  {
    what: 'fd_pass twice',
    http: inLocation('fd_pass unix:/a;', 'fd_pass unix:/b; # here'),
    complaint: '"fd_pass" directive is duplicate',
  },
  {
    what: 'fd_pass twice, with variables',
    http: inLocation('fd_pass $host;', 'fd_pass $uri; # here'),
    complaint: '"fd_pass" directive is duplicate',
  },
  {
    what: 'fd_pass in a server',
    http: inServer('fd_pass unix:/a; # here'),
    complaint: '"fd_pass" directive is not allowed here',
  },
  {
    what: 'fd_pass in http',
    http: 'fd_pass unix:/a; # here',
    complaint: '"fd_pass" directive is not allowed here',
  },
  {
    what: 'fd_pass in an if of a server',
    http: inServer('if ($host) {', 'fd_pass unix:/a; # here', '}'),
    complaint: '"fd_pass" directive is not allowed here',
  },

  {
    what: 'fd_pass_fallback without @',
    http: inServer('fd_pass_fallback relay; # here', RELAY),
    complaint: '"relay" is not a named location, such as "@relay"',
  },
  {
    what: 'fd_pass_fallback with only @',
    http: inServer('fd_pass_fallback @; # here', RELAY),
    complaint: '"@" is not a named location, such as "@relay"',
  },
  {
    what: 'fd_pass_fallback with a path',
    http: inServer('fd_pass_fallback /relay; # here', RELAY),
    complaint: '"/relay" is not a named location, such as "@relay"',
  },
  {
    what: 'fd_pass_fallback without an argument',
    http: inServer('fd_pass_fallback; # here'),
    complaint: 'invalid number of arguments in "fd_pass_fallback" directive',
  },
  {
    what: 'fd_pass_fallback to a location that is not there',
    http: inServer('location / {', 'fd_pass_fallback @missing; # here', '}', RELAY),
    complaint: '"fd_pass_fallback" names "@missing", and the server has no such named location',
  },
  {
    what: 'fd_pass_fallback to a location that is not there, for a server without any',
    http: inServer('fd_pass_fallback @missing; # here'),
    complaint: '"fd_pass_fallback" names "@missing", and the server has no such named location',
  },
  {
    what: 'fd_pass_fallback to the beginning of a name',
    http: inServer('fd_pass_fallback @rel; # here', RELAY),
    complaint: '"fd_pass_fallback" names "@rel", and the server has no such named location',
  },
  {
    what: 'fd_pass_fallback to a location of another server',
    http: `${inServer('fd_pass_fallback @relay; # here')}\nserver { server_name other; ${RELAY} }`,
    complaint: '"fd_pass_fallback" names "@relay", and the server has no such named location',
  },
  {
    what: 'fd_pass_fallback to a missing location, in an if',
    http: inServer(
      'location / {',
      'fd_pass unix:/a;',
      'if ($host) {',
      'fd_pass_fallback @missing; # here',
      '}',
      '}',
      RELAY,
    ),
    complaint: '"fd_pass_fallback" names "@missing", and the server has no such named location',
  },
  {
    what: 'fd_pass_fallback twice',
    http: inServer('fd_pass_fallback @relay;', 'fd_pass_fallback @relay; # here', RELAY),
    complaint: '"fd_pass_fallback" directive is duplicate',
  },

  ...['name', 'X-NAME', 'X NAME', 'X.NAME', '$NAME', ''].map((name) => ({
    what: `fd_pass_param "${name}"`,
    http: inServer(`fd_pass_param "${name}" value; # here`),
    complaint: `"${name}" is not a name of capital letters, digits and "_"`,
  })),
  ...[
    'CONTENT_LENGTH',
    'SCGI',
    'FD_PASS_VERSION',
    'FD_PASS_VIA',
    'FD_PASS_VIA_PID',
    'FD_PASS_VIA_UID',
    'FD_PASS_VIA_GID',
    'FD_PASS_VIA_VERSION',
    'FD_PASS_RELAY',
    'HTTPS',
    'KTLS_RX',
    'SERVER_PROTOCOL',
    'HTTP_CONTENT_LENGTH',
    'HTTP_TRANSFER_ENCODING',
  ].map((name) => ({
    what: `fd_pass_param ${name}`,
    http: inServer(`fd_pass_param ${name} value; # here`),
    complaint: `"${name}" is sent by "fd_pass" itself and cannot be set`,
  })),
  {
    what: 'fd_pass_param with a reserved name and if_not_empty',
    http: inServer('fd_pass_param HTTPS $https if_not_empty; # here'),
    complaint: '"HTTPS" is sent by "fd_pass" itself and cannot be set',
  },
  {
    what: 'fd_pass_param without a value',
    http: inServer('fd_pass_param NAME; # here'),
    complaint: 'invalid number of arguments in "fd_pass_param" directive',
  },
  {
    what: 'fd_pass_param with four arguments',
    http: inServer('fd_pass_param NAME value if_not_empty more; # here'),
    complaint: 'invalid number of arguments in "fd_pass_param" directive',
  },
  {
    what: 'fd_pass_param with an unknown third argument',
    http: inServer('fd_pass_param NAME value if_empty; # here'),
    complaint: 'invalid parameter "if_empty", it may be "if_not_empty"',
  },
  {
    what: 'fd_pass_param twice with one name',
    http: inServer(
      'fd_pass_param NAME a;',
      'fd_pass_param OTHER b;',
      'fd_pass_param NAME c if_not_empty; # here',
    ),
    complaint: '"fd_pass_param" directive is duplicate',
  },
  {
    what: 'fd_pass_param in an if',
    http: inServer('location / {', 'if ($host) {', 'fd_pass_param NAME a; # here', '}', '}'),
    complaint: '"fd_pass_param" directive is not allowed here',
  },

  {
    what: 'fd_pass_keepalive 1025',
    http: inServer('fd_pass_keepalive 1025; # here'),
    complaint: 'value must be between 0 and 1024',
  },
  {
    what: 'fd_pass_keepalive_handovers 0',
    http: inServer('fd_pass_keepalive_handovers 0; # here'),
    complaint: 'value must be equal to or greater than 1',
  },

  ...[...TIMES, ...NUMBERS].flatMap((name) => [
    ...['soon', '-1', '1.5', '99999999999999999999'].map((value) => ({
      what: `${name} ${value}`,
      http: inServer(`${name} ${value}; # here`),
      complaint: `"${name}" directive invalid ${NUMBERS.includes(name) ? 'number' : 'value'}`,
    })),
    {
      what: `${name} twice`,
      http: inServer(`${name} 1;`, `${name} 1; # here`),
      complaint: `"${name}" directive is duplicate`,
    },
    {
      what: `${name} without an argument`,
      http: inServer(`${name}; # here`),
      complaint: `invalid number of arguments in "${name}" directive`,
    },
    {
      what: `${name} in an if`,
      http: inServer('location / {', 'if ($host) {', `${name} 1; # here`, '}', '}'),
      complaint: `"${name}" directive is not allowed here`,
    },
  ]),
];

for (const { what, http, complaint } of wrong) {
  withNginx(`refused: ${what}`, async (t) => {
    const verdict = await nginxVerdict(http);
    t.false(verdict.isValid);
    t.deepEqual(verdict.complaints, [`${complaint} in nginx.conf:${markedLine(http)}`]);
  });
}

for (const directive of [
  'location / { fd_pass unix:/run/$nothing.sock; }',
  'fd_pass_param NAME "a $nothing";',
]) {
  withNginx(`refused, by nginx itself and without a line: ${directive}`, async (t) => {
    const { isValid, complaints } = await nginxVerdict(`server { ${directive} }`);
    t.false(isValid);
    t.deepEqual(complaints, ['unknown "nothing" variable']);
  });
}

withNginx('a complaint about an included file names that file', async (t) => {
  const folder = await temporaryFolder(t);
  const included = join(folder, 'app.conf');
  writeFileSync(included, '\n\nfd_pass app;\nfd_pass_fallback @relay;\n');
  const located = `location / { include ${included}; }`;
  const tcp = await nginxVerdict(`upstream app { server 127.0.0.1:80; } server { ${located} ${RELAY} }`);
  t.deepEqual(tcp.complaints, [
    `"fd_pass" needs UNIX sockets, and upstream "app" has "127.0.0.1:80" in ${included}:3`,
  ]);
  const missing = await nginxVerdict(`upstream app { server unix:/a; } server { ${located} }`);
  t.deepEqual(missing.complaints, [
    `"fd_pass_fallback" names "@relay", and the server has no such named location in ${included}:4`,
  ]);
});
