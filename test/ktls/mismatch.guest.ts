// A sender whose word about TLS is not the kernel's, where the kernel does TLS: nothing is written or read. Without kernel TLS it is
// test/integration/kernel-tls-mismatch.test.ts.
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeHandover, type Handover, Receiver, Sender } from '@fdpass/scgi-fdpass';
import type { ExecutionContext } from 'ava';
import { until } from '../helpers/until.js';
import { startFront, VERSIONS, withFront } from './passing-front.js';
import { handOverOneWay, openClient } from './tls-clients.js';

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
/** What a sender adds by itself. */
const OWN_HEADERS = ['CONTENT_LENGTH', 'SCGI', 'FD_PASS_VERSION'];

type Word = 'plain' | 'full' | 'partial';
const TLS_HEADERS: Record<Word, readonly (readonly [string, string])[]> = {
  plain: [],
  full: [
    ['HTTPS', 'on'],
    ['KTLS_RX', '1'],
  ],
  partial: [
    ['HTTPS', 'on'],
    ['KTLS_RX', '0'],
  ],
};

/** Stands between nginx and the application `app()`, and says `word` of every client. */
async function liar(
  t: ExecutionContext,
  word: Word,
  app: () => string,
): Promise<{ path: string; passedOn: () => number }> {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-liar-'));
  chmodSync(folder, 0o755);
  const path = join(folder, 'socket');
  const receiver = new Receiver();
  let count = 0;
  const passOn = async (handover: Handover): Promise<void> => {
    if (handover.kind === 'relay') return closeHandover(handover);
    const kept = [...handover.headers.entries()].filter(
      ([name]) => !OWN_HEADERS.includes(name) && name !== 'HTTPS' && name !== 'KTLS_RX',
    );
    const outcome = await new Sender({ path: app() }).send({
      headers: [...kept, ...TLS_HEADERS[word]],
      earlyBytes: handover.earlyBytes,
      fd: handover.passedFd.fd,
    });
    if (outcome.taken) outcome.connection?.close();
    closeHandover(handover);
    count += 1;
  };
  receiver.on('handover', (handover) => {
    passOn(handover).catch((error) => t.fail(String(error)));
  });
  receiver.listen({ path, mode: 0o666 });
  await once(receiver, 'listening');
  t.teardown(async () => {
    const closed = once(receiver, 'close');
    receiver.destroy();
    await closed;
    rmSync(folder, { recursive: true, force: true });
  });
  return { path, passedOn: () => count };
}

for (const { version, kind } of VERSIONS) {
  for (const word of Object.keys(TLS_HEADERS) as Word[]) {
    const isTrue = word === kind;
    const outcome = isTrue ? 'served' : 'closed without a byte';
    withFront(`${version}, ${kind}, said to be ${word}: ${outcome}`, async (t) => {
      let app = '';
      const { path, passedOn } = await liar(t, word, () => app);
      const front = await startFront(t, {
        kernel: { tx: 1, rx: kind === 'full' ? 1 : 0 },
        pass: `fd_pass unix:${path};`,
      });
      app = join(front.folder, 'app.sock');
      const client = await openClient(t, front.port, version);
      await client.send(GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
      await client.readToEnd();
      await until('it was passed on', () => passedOn() === 1);
      if (isTrue) t.regex(client.received, /^HTTP\/1\.1 200 .*"handover":/s);
      else t.is(client.received, '');
      t.deepEqual(front.errors, isTrue ? [] : ['BKR_ERR_TLS_MISMATCH']);
      await until('the application has no connection', () => front.server.stats().connections === 0);
    });
  }
}

for (const [word, found] of [
  ['plain', 'decrypts'],
  ['full', 'does not encrypt'],
] as const) {
  withFront(
    `a client for whom the kernel only decrypts, said to be ${word}: closed without a byte`,
    async (t) => {
      let app = '';
      const { path, passedOn } = await liar(t, word, () => app);
      const front = await startFront(t, { kernel: { tx: 0, rx: 1 } });
      app = join(front.folder, 'app.sock');
      const messages: string[] = [];
      front.server.on('handoverError', ({ message }) => messages.push(message));
      t.deepEqual(await handOverOneWay(path), { received: 0 });
      await until('it was passed on', () => passedOn() === 1);
      await until('the application has no connection', () => front.server.stats().connections === 0);
      t.deepEqual(front.errors, ['BKR_ERR_TLS_MISMATCH']);
      t.true(messages[0]?.includes(`the kernel ${found} on its descriptor`), messages[0]);
    },
  );
}
