// What cannot be handed over under TLS goes to the fallback with everything the client sent, also what OpenSSL had decrypted and
// nginx had not read yet.
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Receiver } from '@fdpass/scgi-fdpass';
import type { ExecutionContext } from 'ava';
import { downloadChunk, type Facts, sha256, startFront, VERSIONS, withFront } from './passing-front.js';
import { curl, python, type Step } from './tls-clients.js';

const CBC = ['--ciphers', 'ECDHE-ECDSA-AES128-SHA'];
const post = (bytes: number): string =>
  `POST /upload HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\nContent-Length: ${bytes}\r\n\r\n`;

const factsIn = (received: string): Facts =>
  JSON.parse(received.slice(received.indexOf('{'), received.lastIndexOf('}') + 1));

withFront('a cipher that the kernel does not know: relayed', async (t) => {
  const { port } = await startFront(t, { kernel: { tx: 0, rx: 0 } });
  const facts = JSON.parse(await curl(port, 'TLSv1.2', '/', ...CBC, '-d', 'name=value'));
  t.like(facts, { handover: 'relay', method: 'POST', bytes: 10, sha256: sha256('name=value') });
});

withFront('a cipher that the kernel does not know, without a fallback: 500', async (t) => {
  const { port, errorLog } = await startFront(t, { kernel: { tx: 0, rx: 0 }, hasFallback: false });
  const status = await curl(port, 'TLSv1.2', '/', ...CBC, '-o', '/dev/null', '-w', '%{http_code}');
  t.is(status, '500');
  t.regex(errorLog(), /\[error\] .*fd_pass/);
});

withFront('TLS without the kernel: relayed', async (t) => {
  const { port } = await startFront(t, { kernel: { tx: 0, rx: 0 }, isKtls: false });
  t.is(JSON.parse(await curl(port, 'TLSv1.3', '/')).handover, 'relay');
});

/** How often a client is offered to a backend that refuses, if there is no other. */
const ASKED = 2;

/** A backend that refuses every handover. */
async function refuser(t: ExecutionContext): Promise<{ path: string; receiver: Receiver }> {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-refuser-'));
  chmodSync(folder, 0o755);
  const path = join(folder, 'socket');
  const receiver = new Receiver({ refuse: () => true });
  receiver.listen({ path, mode: 0o666 });
  await once(receiver, 'listening');
  t.teardown(async () => {
    const closed = once(receiver, 'close');
    receiver.destroy();
    await closed;
    rmSync(folder, { recursive: true, force: true });
  });
  return { path, receiver };
}

for (const { version, kind } of VERSIONS) {
  const kernel = { tx: 1, rx: kind === 'full' ? 1 : 0 };
  const as = (title: string): string => `${version}, would be ${kind}: ${title}`;

  withFront(as('HTTP/2 is relayed'), async (t) => {
    const { port } = await startFront(t, { kernel, listen: 'http2' });
    const facts = JSON.parse(await curl(port, version, '/', '--http2', '-d', 'name=value'));
    t.like(facts, { handover: 'relay', bytes: 10, sha256: sha256('name=value') });
  });

  withFront(as('HTTP/1.1 beside HTTP/2 is handed over'), async (t) => {
    const { port } = await startFront(t, { kernel, listen: 'http2' });
    t.is(JSON.parse(await curl(port, version, '/', '--http1.1')).handover, kind);
  });

  withFront(as('HTTP/1.0 is relayed'), async (t) => {
    const { port } = await startFront(t, { kernel });
    const facts = JSON.parse(await curl(port, version, '/', '--http1.0', '-d', 'name=value'));
    t.like(facts, { handover: 'relay', bytes: 10, sha256: sha256('name=value') });
  });

  const bodies: Record<string, { steps: Step[]; bytes: number; text: string }> = {
    'without a body': { steps: [['write', post(0)], ['send']], bytes: 0, text: '' },
    'with its body in the record of the head': {
      steps: [['write', `${post(10)}name=value`], ['send']],
      bytes: 10,
      text: 'name=value',
    },
    'with its body in other records of the segment': {
      steps: [['write', post(10)], ['write', 'name'], ['write', '=value'], ['send']],
      bytes: 10,
      text: 'name=value',
    },
    'with 100 kB sent at once': {
      steps: [['write', post(100_000) + 'x'.repeat(100_000)], ['send']],
      bytes: 100_000,
      text: 'x'.repeat(100_000),
    },
    'with its body after the head': {
      steps: [['write', post(10)], ['send'], ['wait', 0.3], ['write', 'name=value'], ['send']],
      bytes: 10,
      text: 'name=value',
    },
  };
  for (const [what, { steps, bytes, text }] of Object.entries(bodies)) {
    withFront(as(`a refused handover ${what} is relayed whole`), async (t) => {
      const { path, receiver } = await refuser(t);
      const { port } = await startFront(t, { kernel, pass: `fd_pass unix:${path};` });
      const { received } = await python(port, version, [...steps, ['read_to_end']]);
      t.like(factsIn(received), { handover: 'relay', bytes, sha256: sha256(text) });
      t.is(receiver.stats().refused, ASKED);
    });
  }

  withFront(as('a refused upload of 1 MB is relayed whole'), async (t) => {
    const { path } = await refuser(t);
    const { port, folder } = await startFront(t, { kernel, pass: `fd_pass unix:${path};` });
    const file = join(folder, 'upload');
    const content = Buffer.alloc(2 ** 20, downloadChunk);
    writeFileSync(file, content);
    const facts = JSON.parse(await curl(port, version, '/', '-H', 'Expect:', '--data-binary', `@${file}`));
    t.like(facts, { handover: 'relay', bytes: content.length, sha256: sha256(content) });
  });

  withFront(as('after a refusal the next backend takes it'), async (t) => {
    const { path, receiver } = await refuser(t);
    const { port } = await startFront(t, {
      kernel,
      http: (app) => `upstream both { server unix:${path} weight=100; server unix:${app}; }`,
      pass: 'fd_pass both;',
    });
    const steps: Step[] = [['write', post(10)], ['write', 'name=value'], ['send'], ['read_to_end']];
    const { received } = await python(port, version, steps);
    t.like(factsIn(received), { handover: kind, bytes: 10, sha256: sha256('name=value') });
    t.is(receiver.stats().refused, 1);
  });

  withFront(as('nobody there: relayed'), async (t) => {
    const { port } = await startFront(t, { kernel, pass: 'fd_pass unix:/nonexistent/socket;' });
    const facts = JSON.parse(await curl(port, version, '/', '-d', 'name=value'));
    t.like(facts, { handover: 'relay', bytes: 10, sha256: sha256('name=value') });
  });

  withFront(
    as('a relayed client that keeps its connection is handed over at its next request'),
    async (t) => {
      const { path, receiver } = await refuser(t);
      const { port } = await startFront(t, {
        kernel,
        server: `location /refused { fd_pass unix:${path}; fd_pass_fallback @relay; }`,
      });
      const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: example.test\r\n\r\n`;
      const { received } = await python(port, version, [
        ['write', request('/refused')],
        ['send'],
        ['read_until', '"sha256"'],
        ['write', request('/taken').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')],
        ['send'],
        ['read_to_end'],
      ]);
      t.regex(received, /"url":"\/refused","handover":"relay"/);
      t.regex(received, new RegExp(`"url":"/taken","handover":"${kind}"`));
      t.is(receiver.stats().refused, ASKED);
    },
  );
}
