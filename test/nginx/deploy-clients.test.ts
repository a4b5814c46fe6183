// The configurations of deploy/nginx about who the client is: TLS with and without certificates, and load balancers. Each is started as
// it is (helpers/deployed.ts says what is replaced).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { exchange } from '../helpers/answer-reader.js';
import { makeClientCertificate, makeServerCertificate } from '../helpers/certificates.js';
import { curl } from '../helpers/curl.js';
import { configuration, deployed, type Seen } from '../helpers/deployed.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs, program } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule, program('curl'), program('openssl'));

/** Debian's kernels have it as a module; a container's often not. */
const kernelHasTls = (): boolean =>
  readFileSync('/proc/sys/net/ipv4/tcp_available_ulp', 'latin1').split(/\s+/).includes('tls');

/** Asserts that a TLS client was served: by relay where the kernel cannot encrypt. */
function assertServedByTls(t: ExecutionContext, { status, body }: { status: number; body: string }): Seen {
  t.is(status, 200);
  const facts: Seen = JSON.parse(body);
  t.true(facts.encrypted);
  if (kernelHasTls()) t.true(['full', 'partial'].includes(facts.handover), facts.handover);
  else t.is(facts.handover, 'relay');
  return facts;
}

/** As tls.conf advises. */
const sayingWhy = (text: string): string =>
  text.replace('listen ', 'error_log /var/log/nginx/why.log info;\n listen ');

for (const version of ['1.2', '1.3']) {
  withNginx(`tls: TLS ${version} is served, with or without kTLS in the kernel`, async (t) => {
    const tls = await deployed(t, 'tls.conf', { prepare: makeServerCertificate, edit: sayingWhy });
    const options = [`--tlsv${version}`, '--tls-max', version, '--http2'];
    const answer = await curl(tls.url(443), ...options);
    assertServedByTls(t, answer);
    t.is(answer.version, '1.1', 'curl would have liked HTTP/2');
    if (!kernelHasTls()) {
      const lines = (await tls.log('why.log', 1)).join('\n');
      t.regex(lines, /falls back to "@relay": the kernel does not encrypt/);
    }
  });
}

withNginx('client-certificate: the handler learns whose it is; without one nobody comes in', async (t) => {
  const subject = '/C=NO/O=Example Org/CN=client 7';
  const mutual = await deployed(t, 'client-certificate.conf', {
    prepare: async (folder) => {
      await makeServerCertificate(folder);
      await makeClientCertificate(folder, subject);
    },
  });
  const url = mutual.url(443).replace(mutual.at(443).host, 'certificate.example.test');
  const resolve = ['--resolve', `certificate.example.test:${mutual.at(443).port}:${mutual.at(443).host}`];
  const at = (name: string): string => join(mutual.folder, name);
  const certificate = ['--cert', at('client.pem'), '--key', at('client-key.pem')];
  // Sending the variable's name as a field gets a client nowhere.
  const claim = ['-H', 'SSL-Client-S-DN: CN=somebody else'];
  const { variables } = assertServedByTls(t, await curl(url, ...resolve, ...certificate, ...claim));
  t.is(variables.SSL_CLIENT_VERIFY, 'SUCCESS');
  t.is(variables.SSL_CLIENT_S_DN, 'CN=client 7,O=Example Org,C=NO');
  t.regex(variables.SSL_CLIENT_FINGERPRINT ?? '', /^[0-9a-f]{40}$/);
  t.is(variables.SSL_SERVER_NAME, 'certificate.example.test');

  t.is((await curl(url, ...resolve)).status, 400);
  const self = ['--cert', at('certificate.pem'), '--key', at('key.pem')];
  t.is((await curl(url, ...resolve, ...self)).status, 400, 'signed by nobody that is known');
  t.is(mutual.reached.length, 1);
});

test('client-certificate: the relay is told what a handover is told', (t) => {
  const text = configuration('client-certificate.conf');
  const named = (directive: string): string[] =>
    [...text.matchAll(new RegExp(`^ *${directive} +(\\w.*);$`, 'gm'))].map(([, rest = '']) =>
      rest.replace(/ +/g, ' '),
    );
  t.is(named('fd_pass_param').length, 4);
  // A handover always has this one.
  t.deepEqual(named('scgi_param'), ['SERVER_ADDR $server_addr', ...named('fd_pass_param')]);
});

const request = (forwarded: string): string =>
  `GET / HTTP/1.1\r\nHost: example.test\r\nX-Forwarded-For: ${forwarded}\r\n\r\n`;
const both = { 'app.sock': { options: { keepAlive: { scope: '/' } } }, 'app-close.sock': {} };

withNginx('load-balancer: the PROXY protocol names the client of all requests of a connection', async (t) => {
  const balanced = await deployed(t, 'load-balancer.conf', { backends: both });
  const { host, port } = balanced.at(8080);
  const client = await RawClient.connect(port, host);
  const line = 'PROXY TCP4 203.0.113.7 192.0.2.1 50000 80\r\n';
  for (const [before, requestNumber] of [
    [line, 1],
    ['', 2],
  ] as const) {
    const facts: Seen = JSON.parse((await exchange(client, before + request('198.51.100.1'))).body);
    t.is(facts.client, '203.0.113.7', 'not what a client says');
    t.is(facts.handover, 'full');
    t.is(facts.requestNumber, requestNumber);
  }
  await client.close();
});

withNginx('load-balancer: behind a proxy that shares connections each answer ends its own', async (t) => {
  const proxied = await deployed(t, 'load-balancer.conf', { backends: both });
  const { host, port } = proxied.at(8081);
  for (const address of ['203.0.113.7', '203.0.113.8']) {
    const client = await RawClient.connect(port, host);
    const answer = await exchange(client, request(`198.51.100.1, ${address}`));
    t.is((JSON.parse(answer.body) as Seen).client, address);
    t.is(answer.headers.connection, 'close');
    await client.readToEnd();
  }
});

withNginx('load-balancer: with a scope there, a later client would be taken for the first one', async (t) => {
  const proxied = await deployed(t, 'load-balancer.conf', {
    backends: { ...both, 'app-close.sock': both['app.sock'] },
  });
  const { host, port } = proxied.at(8081);
  const client = await RawClient.connect(port, host);
  const clients: string[] = [];
  for (const address of ['203.0.113.7', '203.0.113.8']) {
    clients.push((JSON.parse((await exchange(client, request(address))).body) as Seen).client);
  }
  t.deepEqual(clients, ['203.0.113.7', '203.0.113.7']);
  await client.close();
});
