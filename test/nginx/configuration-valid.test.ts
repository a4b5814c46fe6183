// What `nginx -t` takes without a word. What such configurations then do is in the other files.
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { nginxVerdict } from '../helpers/nginx-verdict.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const inServer = (...lines: string[]): string => `server {\n${lines.join('\n')}\n}`;
const inLocation = (...lines: string[]): string => inServer('location / {', ...lines, '}');
const RELAY = 'location @relay { scgi_pass unix:/run/app.sock; }';

const valid: Readonly<Record<string, string>> = {
  'a path': inLocation('fd_pass unix:/run/app.sock;'),
  'the longest path a socket can have': inLocation(`fd_pass unix:/${'p'.repeat(106)};`),
  'a path with a colon': inLocation('fd_pass unix:/run/app:1.sock;'),
  'an upstream declared before': `upstream app { server unix:/a; }\n${inLocation('fd_pass app;')}`,
  'an upstream declared after': `${inLocation('fd_pass app;')}\nupstream app { server unix:/a; }`,
  'an upstream with a balancing method, declared after, draws no warning': `${inLocation('fd_pass app;')}
    upstream app { least_conn; server unix:/a max_fails=2 weight=3; server unix:/b backup; }`,
  'one target in many locations': inServer(
    'location /a/ { fd_pass unix:/a; }',
    'location /b/ { fd_pass unix:/a; }',
  ),
  variables: inLocation('fd_pass unix:/run/$host.sock;'),
  'an if': inLocation('fd_pass unix:/a;', 'if ($arg_b) { fd_pass unix:/b; }'),
  'an if in a location of another kind': inLocation(
    'if ($arg_b) { fd_pass unix:/b; }',
    'proxy_pass http://127.0.0.1;',
  ),
  'nested locations, each with its own': inLocation('fd_pass unix:/a;', 'location /b/ { fd_pass unix:/b; }'),
  'exact, regex and named locations': inServer(
    'location = /a { fd_pass unix:/a; }',
    'location ~ ^/b { fd_pass unix:/a; }',
    'location @c { fd_pass unix:/a; }',
  ),
  'limit_except beside it': inLocation('fd_pass unix:/a;', 'limit_except GET { deny all; }'),
  'every directive in http': `fd_pass_fallback @relay; fd_pass_param NAME value; fd_pass_send_timeout 1s;
    fd_pass_next_tries 2; fd_pass_next_timeout 3s; fd_pass_idle_timeout 1d;
    fd_pass_keepalive 1024; fd_pass_keepalive_timeout 1h; fd_pass_keepalive_handovers 1;
    ${inServer('location / { fd_pass unix:/a; }', RELAY)}`,
  'every directive in a server': inServer(
    'fd_pass_fallback @relay; fd_pass_param NAME value; fd_pass_send_timeout 100ms;',
    'fd_pass_next_tries 0; fd_pass_next_timeout 0; fd_pass_idle_timeout 0; fd_pass_keepalive 0;',
    'location / { fd_pass unix:/a; }',
    RELAY,
  ),
  'a fallback that http names and only one of the servers has': `fd_pass_fallback @relay;
    ${inServer('location / { fd_pass unix:/a; }', RELAY)} server { server_name other; }`,
  'a fallback declared before and after its location': inServer(
    'location /a/ { fd_pass unix:/a; fd_pass_fallback @relay; }',
    RELAY,
    'location /b/ { fd_pass unix:/a; fd_pass_fallback @relay; }',
  ),
  "parameters that are nobody's yet": inServer(
    'fd_pass_param X_1 "";',
    'fd_pass_param _ $host if_not_empty;',
  ),
  'a parameter of the same name on each level': `fd_pass_param NAME a;
    server { fd_pass_param NAME b; location / { fd_pass unix:/a; fd_pass_param NAME c; } }`,
};

for (const [what, http] of Object.entries(valid)) {
  withNginx(`taken: ${what}`, async (t) => {
    t.deepEqual(await nginxVerdict(http), { isValid: true, complaints: [] });
  });
}
