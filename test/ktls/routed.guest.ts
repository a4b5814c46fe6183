// Connections over TLS that a router passes on to another backend: in full with the kernel's keys, in part with the connection by which
// nginx goes on decrypting. nginx hands over to the server of passing-front.ts, which is the router here.
import { createHash } from 'node:crypto';
import { connectionInfo, prefixRouter } from '@fdpass/backend-runtime';
import { exchange } from '../helpers/answer-reader.js';
import { serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import { downloadChunk, sha256, startFront, VERSIONS, withFront } from './passing-front.js';
import { openClient } from './tls-clients.js';

const LARGE = 1_000_000;
const post = (path: string, body: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: example.test\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

for (const { version, kind } of VERSIONS) {
  withFront(`${version}, ${kind}: a router passes it on to another backend`, async (t) => {
    const { port, server, workers } = await startFront(t, {
      kernel: { tx: 1, rx: kind === 'full' ? 1 : 0 },
    });
    const backend = await serve(
      t,
      { keepAlive: { scope: '/' }, trustedRouters: { uids: [process.getuid?.() ?? 0] } },
      async (request, response) => {
        const hash = createHash('sha256');
        for await (const chunk of request) hash.update(chunk);
        if (request.url === '/large') return response.end(Buffer.alloc(LARGE, downloadChunk));
        const { handover, tls, local, hops, sender, requestNumber } = connectionInfo(request);
        const facts = { handover, tls, local: local?.address, hops, sender: sender.pid, requestNumber };
        return response.end(JSON.stringify({ ...facts, sha256: hash.digest('hex') }));
      },
    );
    backend.server.keepAliveTimeout = 100_000;
    const router = prefixRouter({ routes: [{ prefix: '127.0.0.0/8', to: backend.path }] });
    server.use(router);
    const client = await openClient(t, port, version);
    // The first body came with its head: nginx had decrypted it before it knew whose it is.
    for (const [nth, body] of ['name=value', 'x'.repeat(LARGE)].entries()) {
      const answer = await exchange(client, post('/', body));
      const facts = JSON.parse(answer.body);
      t.like(facts, { handover: kind, local: '127.0.0.1', hops: 1, sender: workers()[0] });
      t.like(facts, { requestNumber: nth + 1, sha256: sha256(body) });
      t.like(facts.tls, { version, kernelTx: true, kernelRx: kind === 'full' });
    }
    const { body } = await exchange(client, post('/large', ''));
    t.is(sha256(Buffer.from(body, 'latin1')), sha256(Buffer.alloc(LARGE, downloadChunk)));
    t.deepEqual(router.stats(), { routes: [1], misses: 0, passedOn: 1, refused: {} });
    t.is(server.stats().connections, 0);
    await client.close();
    await until('the backend knows of the end', () => backend.server.stats().connections === 0);
    t.deepEqual(backend.errors, []);
  });
}
