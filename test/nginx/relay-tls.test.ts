// HTTPS clients of an nginx whose kernel does not encrypt for it: relayed by plain scgi_pass to the same socket. What OpenSSL had
// decrypted with the head is neither lost nor sent twice. Kernel TLS, and its handovers, are in test/ktls.
import { once } from 'node:events';
import { connect, type SecureVersion } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { exchange, readAnswer, readAnswers } from '../helpers/answer-reader.js';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { answerDigest, bodyOf, chunked, digestOf } from '../helpers/body-digest.js';
import { makeServerCertificate } from '../helpers/certificates.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule, ownAddress } from '../helpers/nginx.js';
import { arrivedIn } from '../helpers/nginx-client.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs, program } from '../helpers/requirements.js';
import { temporaryFolder } from '../helpers/serve.js';

guardDescriptors(test);
const withTls = needs(test, ...nginxWithModule, program('openssl'));

const VERSIONS: readonly SecureVersion[] = ['TLSv1.2', 'TLSv1.3'];

interface TlsFront extends BehindNginx {
  /** A client that has finished its handshake. Each of its writes is one TLS record, up to 16 KiB. */
  client(version: SecureVersion): Promise<RawClient>;
}

async function start(t: ExecutionContext, fallback = 'fd_pass_fallback @relay;'): Promise<TlsFront> {
  const folder = await temporaryFolder(t);
  await makeServerCertificate(folder);
  const address = ownAddress();
  const [host = '', port] = address.split(':');
  const front = await behindNginx(t, {
    handler: answerDigest,
    server: { keepAlive: { scope: '/' } },
    locations: (socket) => `
      listen ${address} ssl; ssl_protocols TLSv1.2 TLSv1.3;
      ssl_certificate ${folder}/certificate.pem; ssl_certificate_key ${folder}/key.pem;
      location / { fd_pass unix:${socket}; ${fallback} }
      location = /own { return 200 "by nginx"; }
      location @relay { include /etc/nginx/scgi_params; scgi_pass unix:${socket}; }`,
  });
  const client = async (version: SecureVersion): Promise<RawClient> => {
    const socket = connect({
      host,
      port: Number(port),
      rejectUnauthorized: false,
      minVersion: version,
      maxVersion: version,
    });
    const raw = RawClient.of(socket);
    t.teardown(() => raw.close());
    await once(socket, 'secureConnect');
    return raw;
  };
  return { ...front, client };
}

const headOf = (framing: string, target = '/upload', method = 'POST'): Buffer =>
  Buffer.from(`${method} ${target} HTTP/1.1\r\nHost: example.test\r\n${framing}\r\n\r\n`);

const post = (body: Buffer, target?: string): Buffer =>
  Buffer.concat([headOf(`Content-Length: ${body.length}`, target), body]);

for (const version of VERSIONS) {
  withTls(
    `${version}: bodies in one record with the head, and over several, on one connection`,
    async (t) => {
      const front = await start(t);
      const client = await front.client(version);
      for (const size of [0, 1, 10, 900, 1024, 5000, 16_000, 17_000, 40_000, 300_000, 5_000_000]) {
        const body = bodyOf(size, size);
        await client.send(post(body, `/${size}`));
        const answer = await readAnswer(client);
        t.is(answer.headers.connection, 'keep-alive', 'nginx keeps the connection');
        t.like(arrivedIn(answer), { url: `/${size}`, handover: 'relay', ...digestOf(body) });
      }
      await client.close();
      t.deepEqual(front.errors, []);
    },
  );

  withTls(`${version}: a request in two records, cut at every place`, async (t) => {
    const front = await start(t);
    const client = await front.client(version);
    const body = bodyOf(40, 1);
    const bytes = post(body);
    for (let at = 1; at < bytes.length; at++) {
      await client.send(bytes.subarray(0, at));
      await client.send(bytes.subarray(at));
      t.like(arrivedIn(await readAnswer(client)), { handover: 'relay', ...digestOf(body) }, `split at ${at}`);
    }
    await client.close();
  });

  withTls(`${version}: pipelined requests in one record, some for nginx`, async (t) => {
    const front = await start(t);
    const client = await front.client(version);
    const bodies = [bodyOf(3000, 1), bodyOf(5000, 2), bodyOf(700, 3)];
    const own = headOf('Accept: */*', '/own', 'GET');
    const requests = bodies.flatMap((body, n) => [own, post(body, `/${n}`)]);
    await client.send(Buffer.concat(requests));
    for (const [n, body] of bodies.entries()) {
      const [byNginx, relayed] = await readAnswers(client, 2);
      t.is(byNginx?.body, 'by nginx');
      if (relayed === undefined) throw new Error('two answers are read');
      t.like(arrivedIn(relayed), { url: `/${n}`, handover: 'relay', ...digestOf(body) });
    }
    await client.close();
  });

  withTls(`${version}: chunked bodies`, async (t) => {
    const front = await start(t);
    const client = await front.client(version);
    for (const size of [0, 10, 5000, 200_000]) {
      const body = bodyOf(size, size);
      await client.send(Buffer.concat([headOf('Transfer-Encoding: chunked'), chunked(body, 999)]));
      t.like(arrivedIn(await readAnswer(client)), { handover: 'relay', ...digestOf(body) });
    }
    await client.close();
  });

  withTls(`${version}: a client that expects 100 gets it`, async (t) => {
    const front = await start(t);
    const client = await front.client(version);
    await client.send(headOf('Expect: 100-continue\r\nContent-Length: 5'));
    t.is((await readAnswer(client)).status, 100);
    t.like(arrivedIn(await exchange(client, 'hello')), { handover: 'relay', ...digestOf('hello') });
    await client.close();
  });
}

withTls(
  'without a fallback it is a 500 of nginx, whatever was read, and the backend saw nothing',
  async (t) => {
    const front = await start(t, '');
    for (const size of [10, 5000, 50_000]) {
      const client = await front.client('TLSv1.3');
      await client.send(post(bodyOf(size)));
      t.is((await readAnswer(client)).status, 500);
      t.is(await client.readToEnd(), '');
    }
    t.like(front.server.stats(), { full: 0, partial: 0, relay: 0, refused: 0 });
    t.regex(front.nginx.errorLog(), /fd_pass answers 500: the kernel does not encrypt for this client/);
  },
);

withTls('a WebSocket upgrade gets 426: the relay cannot carry it', async (t) => {
  const client = await (await start(t)).client('TLSv1.3');
  const version = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13';
  const upgrade = headOf(`${version}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==`, '/', 'GET');
  t.is((await exchange(client, upgrade.toString())).status, 426);
  await client.close();
});
