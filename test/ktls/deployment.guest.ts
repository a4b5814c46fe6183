// What people deploy it for: event streams, clients with certificates, and many clients one after the other.
import type { RequestOptions, ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { exchange } from '../helpers/answer-reader.js';
import { makeClientCertificate } from '../helpers/certificates.js';
import { openDescriptors } from '../helpers/descriptors.js';
import { nginxFolder } from '../helpers/nginx.js';
import { until } from '../helpers/until.js';
import { type Facts, startFront, VERSIONS, withFront } from './passing-front.js';
import { clientOptions, curl, openClient } from './tls-clients.js';

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const CLIENTS = 1000;
const AT_A_TIME = 25;

for (const { version, kind } of VERSIONS) {
  const as = (title: string): string => `${version}, ${kind}: ${title}`;
  const rx = kind === 'full' ? 1 : 0;

  withFront(as('an event stream: each event arrives before the next is sent'), async (t) => {
    const streams: ServerResponse[] = [];
    const { port } = await startFront(t, {
      kernel: { tx: 1, rx },
      answers: {
        '/events': (_request, response) => {
          response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
          streams.push(response);
        },
      },
    });
    const client = await openClient(t, port, version);
    await client.send(GET.replace('/', '/events'));
    await client.readUntil('\r\n\r\n');
    for (const event of ['1', '2', 'x'.repeat(100_000), '4']) {
      client.received = '';
      streams[0]?.write(`data: ${event}\n\n`);
      await client.readUntil(`data: ${event}\n\n\r\n`);
    }
    t.is(client.received, '9\r\ndata: 4\n\n\r\n');
    streams[0]?.end();
    await client.readUntil('\r\n0\r\n\r\n');
  });

  withFront(
    as('a page and what it needs, by a client with six connections to keep, as browsers have'),
    async (t) => {
      const kernel = { tx: 0, rx: 0 };
      const front = await startFront(t, { kernel });
      const agent = new Agent({ ...clientOptions(version), keepAlive: true, maxSockets: 6 });
      t.teardown(() => agent.destroy());
      const ask = async (path: string, body = ''): Promise<Facts> => {
        const method = body === '' ? 'GET' : 'POST';
        const options: RequestOptions = { port: front.port, host: '127.0.0.1', path, method, agent };
        const facts = await new Promise<string>((resolve, reject) => {
          request(options, (response) => text(response).then(resolve, reject))
            .on('error', reject)
            .end(body);
        });
        return JSON.parse(facts);
      };
      const visit = async (page: string): Promise<void> => {
        t.like(await ask(page), { handover: kind, url: page });
        const parts = Array.from({ length: 24 }, (_, nth) => `${page}/${nth}`);
        const answers = await Promise.all(parts.map((part) => ask(part)));
        t.deepEqual(
          answers.map(({ url, handover }) => [url, handover]),
          parts.map((part) => [part, kind]),
        );
        t.like(await ask(page, 'name=value'), { handover: kind, method: 'POST', bytes: 10 });
      };
      await visit('/first');
      const connections = front.sockets.length;
      t.true(connections <= 6);
      await visit('/second');
      t.is(front.sockets.length, connections);
      t.deepEqual(front.errors, []);
      kernel.tx = connections;
      kernel.rx = rx * connections;
      agent.destroy();
      await until('the application has no connection', () => front.server.stats().connections === 0);
    },
  );

  withFront(as("a client's certificate reaches the application by fd_pass_param"), async (t) => {
    const folder = nginxFolder();
    const at = (name: string): string => join(folder, name);
    await makeClientCertificate(folder, '/CN=a client/O=somebody');
    const { port } = await startFront(t, {
      kernel: { tx: 1, rx },
      server: `ssl_client_certificate ${at('client-ca.pem')}; ssl_verify_client on;
        fd_pass_param SSL_CLIENT_S_DN $ssl_client_s_dn if_not_empty;`,
    });
    const certificate = ['--cert', at('client.pem'), '--key', at('client-key.pem')];
    const facts = JSON.parse(await curl(port, version, '/', ...certificate));
    t.is(facts.handover, kind);
    t.is(facts.variables.SSL_CLIENT_S_DN, 'O=somebody,CN=a client');
  });

  withFront(as(`${CLIENTS} clients leave no descriptor`), async (t) => {
    const front = await startFront(t, { kernel: { tx: CLIENTS, rx: rx * CLIENTS } });
    const before = openDescriptors().size;
    for (let nth = 0; nth < CLIENTS; nth += AT_A_TIME) {
      await Promise.all(
        Array.from({ length: AT_A_TIME }, async (_, n) => {
          const client = await openClient(t, front.port, version);
          t.regex((await exchange(client, GET)).body, /"requestNumber":1/);
          if (n % 2 === 0) await client.close();
          else client.socket.end();
        }),
      );
    }
    await until('the application has no connection', () => front.server.stats().connections === 0);
    await until('no descriptor is left', () => openDescriptors().size <= before);
    t.deepEqual(
      front.errors.filter((code) => code.startsWith('BKR_')),
      [],
    );
  });
}
