// What a client of a real nginx sees when admission() denies it: by our module its own socket ends, in a relay nginx answers.
import { admission } from '@fdpass/backend-runtime';
import test from 'ava';
import { behindNginx } from '../helpers/behind-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

for (const [action, handedOver] of [
  ['close', /^$/],
  ['reset', /^ECONNRESET$/],
] as const) {
  withNginx(`${action}: the end of a client's socket, and 502 in a relay`, async (t) => {
    const { server, host, port, errors } = await behindNginx(t, {
      locations: (socket) => `
        location / { fd_pass unix:${socket}; }
        location /relay { include /etc/nginx/scgi_params; scgi_param SERVER_ADDR $server_addr; scgi_pass unix:${socket}; }`,
    });
    const admitting = admission({ block: [host], action });
    server.use(admitting);
    const ask = async (path: string): Promise<string> => {
      const client = await RawClient.connect(port, host);
      await client.send(`GET ${path} HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n`);
      const received = await client.readToEnd();
      return client.error ?? received;
    };
    t.regex(await ask('/'), handedOver);
    t.regex(await ask('/relay'), /^HTTP\/1\.1 502 /);
    t.is(admitting.stats().block[0]?.connections, 2);
    admitting.replace({ block: [host], action, dryRun: true });
    t.regex(await ask('/'), /^HTTP\/1\.1 200 .*served$/s);
    t.regex(await ask('/relay'), /^HTTP\/1\.1 200 .*served$/s);
    t.deepEqual(errors, []);
  });
}
