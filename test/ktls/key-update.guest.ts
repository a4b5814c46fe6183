// A client of TLS 1.3 that changes its keys while it is handed over in part: the web server decrypts on, and what it would
// answer must not come between the records that the application's kernel numbers.
import test from 'ava';
import { kernelDecryptsTls13 } from './nginx-under-test.js';
import { PARTIAL_VERSIONS, startFront, withFront } from './passing-front.js';
import { interactiveClient } from './tls-clients.js';

const GET = 'GET / HTTP/1.1\nHost: example.test\n\n';

if (PARTIAL_VERSIONS.length === 0) {
  test('no handover is partial here', (t) => t.true(kernelDecryptsTls13()));
}

for (const { version } of PARTIAL_VERSIONS) {
  for (const [what, command] of [
    ['new keys of its own', 'k\n'],
    ['new keys on both sides', 'K\n'],
  ] as const) {
    withFront(`${version}, partial: a client that wants ${what}`, async (t) => {
      const { port } = await startFront(t, { kernel: { tx: 1, rx: 0 } });
      const client = interactiveClient(t, port, version);
      client.send(GET);
      await client.says('"requestNumber":1');
      for (let requestNumber = 2; requestNumber <= 4; requestNumber += 1) {
        client.send(command);
        await client.says('KEYUPDATE');
        client.send(GET);
        await client.says(`"requestNumber":${requestNumber}`);
        t.regex(client.output(), /"handover":"partial"/);
      }
      client.send('Q\n');
      await client.exited;
    });
  }
}
