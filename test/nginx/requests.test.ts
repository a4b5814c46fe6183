// Requests of every shape through a real nginx and our module: what the client sent arrives whole, and the answer as well.
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import test from 'ava';
import { behindNginx } from '../helpers/behind-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

withNginx('a body that comes in one segment with the head arrives whole', async (t) => {
  const { host, port, accessLog } = await behindNginx(t, {
    handler: async (request, response) => {
      const body = await buffer(request);
      response.end(`${body.length} ${createHash('sha256').update(body).digest('hex')}`);
    },
  });
  const client = await RawClient.connect(port, host);
  await client.send('POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 10\r\n\r\nname=value');
  t.true(
    (await client.readToEnd()).endsWith(`10 ${createHash('sha256').update('name=value').digest('hex')}`),
  );
  t.regex((await accessLog(1)).join('\n'), /^POST \/ 000 0 full "unix:.*app\.sock" 0\.0\d\d$/);
});
