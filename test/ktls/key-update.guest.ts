// A client of TLS 1.3 that changes its keys while it is handed over in part: the web server decrypts on, and what it would
// answer must not come between the records that the application's kernel numbers.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import { until } from '../helpers/until.js';
import { kernelDecryptsTls13 } from './nginx-under-test.js';
import { PARTIAL_VERSIONS, startFront, withFront } from './passing-front.js';

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
      // A line of one letter is a command to it: not with -quiet.
      const child = spawn('openssl', ['s_client', '-crlf', '-connect', `127.0.0.1:${port}`], {
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      t.teardown(() => child.kill('SIGKILL'));
      const exited = once(child, 'exit');
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('latin1').on('data', (text: string) => {
          output += text;
        });
      }
      const says = (text: string): Promise<void> => until(`it says ${text}`, () => output.includes(text));

      child.stdin.write(GET);
      await says('"requestNumber":1');
      for (let requestNumber = 2; requestNumber <= 4; requestNumber += 1) {
        output = '';
        child.stdin.write(command);
        await says('KEYUPDATE');
        child.stdin.write(GET);
        await says(`"requestNumber":${requestNumber}`);
        t.regex(output, /"handover":"partial"/);
      }
      child.stdin.end('Q\n');
      await exited;
    });
  }
}
