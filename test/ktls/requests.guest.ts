// Requests of every shape over TLS, handed over in full and in part: which bytes arrive does not depend on which of them shared a
// record, a segment, or nginx's buffers.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { WebSocket } from 'ws';
import { exchange, readAnswers } from '../helpers/answer-reader.js';
import { until } from '../helpers/until.js';
import { isOtherDebian, webServerCommand } from './nginx-under-test.js';
import { downloadChunk, type Facts, sha256, startFront, VERSIONS, withFront } from './passing-front.js';
import { clientOptions, curl, openClient, python, type Step, sClient } from './tls-clients.js';

const GET = 'GET /a?b=c HTTP/1.1\r\nHost: example.test\r\n\r\n';
const LAST_GET = GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');
const post = (bytes: number): string =>
  `POST /upload HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\nContent-Length: ${bytes}\r\n\r\n`;

function factsIn(t: ExecutionContext, received: string): Facts {
  const [head = '', body = ''] = received.split('\r\n\r\n');
  t.regex(head, /^HTTP\/1\.1 200 /);
  return JSON.parse(body.slice(body.indexOf('{'), body.lastIndexOf('}') + 1));
}

for (const { version, kind } of VERSIONS) {
  const kernel = { tx: 1, rx: kind === 'full' ? 1 : 0 };
  const as = (title: string): string => `${version}, ${kind}: ${title}`;

  withFront(as('curl gets an answer'), async (t) => {
    const { port } = await startFront(t, { kernel });
    const facts = JSON.parse(await curl(port, version, '/a?b=c')) as Facts;
    t.like(facts, { method: 'GET', url: '/a?b=c', handover: kind, requestNumber: 1 });
    t.like(facts.tls, { version, kernelTx: true, kernelRx: kind === 'full', truncated: false });
  });

  if (isOtherDebian) {
    withFront(as("the curl of the web server's Debian gets an answer"), async (t) => {
      const { port } = await startFront(t, { kernel });
      const speak = version === 'TLSv1.2' ? ['--tls-max', '1.2'] : ['--tlsv1.3'];
      const [program, args] = webServerCommand('curl', ['-sSk', ...speak, `https://127.0.0.1:${port}/`]);
      const { stdout } = await promisify(execFile)(program, args);
      t.like(JSON.parse(stdout), { handover: kind, requestNumber: 1 });
    });
  }

  withFront(as('openssl s_client gets an answer'), async (t) => {
    const { port } = await startFront(t, { kernel });
    t.is(factsIn(t, await sClient(port, version, LAST_GET)).handover, kind);
  });

  const body = 'name=value';
  const bodies: Record<string, { steps: Step[]; bytes: number; text: string }> = {
    'in the record of the head': {
      bytes: body.length,
      text: body,
      steps: [['write', post(body.length) + body], ['send']],
    },
    'in a record of its own in the segment of the head': {
      bytes: body.length,
      text: body,
      steps: [['write', post(body.length)], ['write', body], ['send']],
    },
    'in a record for each byte, all in one segment': {
      bytes: body.length,
      text: body,
      steps: [['write', post(body.length)], ...[...body].map((byte): Step => ['write', byte]), ['send']],
    },
    'after the head': {
      bytes: body.length,
      text: body,
      steps: [['write', post(body.length)], ['send'], ['wait', 0.3], ['write', body], ['send']],
    },
    'begun in the record of the head, of 100 kB at once': {
      bytes: 100_000,
      text: 'x'.repeat(100_000),
      steps: [['write', `${post(100_000)}${'x'.repeat(100_000)}`], ['send']],
    },
  };
  for (const [where, { steps, bytes, text }] of Object.entries(bodies)) {
    withFront(as(`a body ${where}`), async (t) => {
      const { port } = await startFront(t, { kernel });
      const { received } = await python(port, version, [...steps, ['read_to_end']]);
      t.like(factsIn(t, received), { handover: kind, bytes, sha256: sha256(text) });
    });
  }

  withFront(as('a head in two records'), async (t) => {
    const { port } = await startFront(t, { kernel });
    const { received } = await python(port, version, [
      ['write', LAST_GET.slice(0, 20)],
      ['send'],
      ['wait', 0.2],
      ['write', LAST_GET.slice(20)],
      ['send'],
      ['read_to_end'],
    ]);
    t.like(factsIn(t, received), { handover: kind, url: '/a?b=c' });
  });

  for (const [title, size] of [
    ['1 MB up', 2 ** 20],
    ['64 MB up', 2 ** 26],
  ] as const) {
    withFront(as(title), async (t) => {
      const { port, folder } = await startFront(t, { kernel });
      const file = join(folder, 'upload');
      const content = Buffer.alloc(size, downloadChunk);
      writeFileSync(file, content);
      const facts = JSON.parse(await curl(port, version, '/', '-H', 'Expect:', '--data-binary', `@${file}`));
      t.like(facts, { handover: kind, bytes: size, sha256: sha256(content) });
    });
  }

  withFront(as('a body that its sender asks to send'), async (t) => {
    const { port } = await startFront(t, { kernel });
    const facts = JSON.parse(await curl(port, version, '/', '-H', 'Expect: 100-continue', '-d', body));
    t.like(facts, { handover: kind, bytes: body.length, sha256: sha256(body) });
  });

  withFront(as('a chunked body'), async (t) => {
    const { port } = await startFront(t, { kernel });
    const args = ['-H', 'Transfer-Encoding: chunked', '-d', body];
    t.like(JSON.parse(await curl(port, version, '/', ...args)), { handover: kind, sha256: sha256(body) });
  });

  withFront(as('64 MB down'), async (t) => {
    const { port } = await startFront(t, { kernel });
    const size = 2 ** 26;
    const received = await curl(port, version, `/download/${size}`);
    t.is(sha256(Buffer.from(received, 'latin1')), sha256(Buffer.alloc(size, downloadChunk)));
  });

  withFront(as('a client that keeps its connection'), async (t) => {
    const { port } = await startFront(t, { kernel });
    const client = await openClient(t, port, version);
    for (const requestNumber of [1, 2, 3]) {
      const { body: json } = await exchange(client, GET);
      t.like(JSON.parse(json), { handover: kind, requestNumber });
    }
    const { body: json } = await exchange(client, `${post(5).replace('Connection: close\r\n', '')}hello`);
    t.like(JSON.parse(json), { requestNumber: 4, sha256: sha256('hello') });
  });

  withFront(as('two requests in one record'), async (t) => {
    const { port } = await startFront(t, { kernel });
    const client = await openClient(t, port, version);
    await client.send(GET + GET.replace('/a?b=c', '/second'));
    const answers = await readAnswers(client, 2);
    t.deepEqual(
      answers.map(({ body: json }) => {
        const { url, requestNumber, handover } = JSON.parse(json) as Facts;
        return { url, requestNumber, handover };
      }),
      [
        { url: '/a?b=c', requestNumber: 1, handover: kind },
        { url: '/second', requestNumber: 2, handover: kind },
      ],
    );
  });

  withFront(as('WebSocket messages'), async (t) => {
    const { port, upgradeEnds } = await startFront(t, { kernel });
    const socket = new WebSocket(`wss://127.0.0.1:${port}/`, clientOptions(version));
    t.teardown(() => socket.terminate());
    await once(socket, 'open');
    for (const message of ['hello', 'x'.repeat(100_000), '']) {
      const echo = once(socket, 'message');
      socket.send(message);
      t.is(String((await echo)[0]), message);
    }
    const closed = once(socket, 'close');
    socket.close(1000);
    t.is((await closed)[0], 1000);
    await until('the application hears of the end', () => upgradeEnds.length > 0);
    t.deepEqual(upgradeEnds, ['end']);
  });
}
