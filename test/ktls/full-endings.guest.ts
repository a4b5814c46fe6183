// How a full handover ends under kernel TLS, where nobody but this side reads and writes the client's records: a polite end is none
// of anybody's errors, a cut one is told apart, and what this side says last is that it is done.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { until } from '../helpers/until.js';
import { isOtherDebian, webServerCommand } from './nginx-under-test.js';
import { downloadChunk, type Front, sha256, startFront, VERSIONS, withFront } from './passing-front.js';
import { curl, python, type Step } from './tls-clients.js';

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: example.test\r\n\r\n`;
const lastGet = (path: string): string => get(path).replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');
const POST =
  'POST / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n';
const UPGRADE = get('/').replace(
  '\r\n\r\n',
  '\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
);

const appIsIdle = (front: Front): Promise<void> =>
  until('the application has no connection', () => front.server.stats().connections === 0);

const bodyOf = (received: string): Buffer =>
  Buffer.from(received.slice(received.indexOf('\r\n\r\n') + 4), 'latin1');

const downloaded = (bytes: number): string =>
  sha256(Buffer.concat(Array.from({ length: bytes / downloadChunk.length }, () => downloadChunk)));

const FULL = VERSIONS.filter(({ kind }) => kind === 'full');
const kernel = { tx: 1, rx: 1 };

for (const { version } of FULL) {
  const as = (title: string): string => `${version}, full: ${title}`;

  withFront(as('the kernel says which version and cipher'), async (t) => {
    const front = await startFront(t, { kernel });
    const { tls, isEncrypted } = JSON.parse(await curl(front.port, version, '/'));
    t.true(isEncrypted);
    t.like(tls, { version, kernelTx: true, kernelRx: true, truncated: false });
    t.regex(tls.cipher, /^(AES-(128|256)-GCM|CHACHA20-POLY1305)$/);
  });

  for (const [how, end, isTruncated] of [
    ['close_notify and FIN', [['close_notify'], ['send'], ['fin']], false],
    ['close_notify alone', [['close_notify'], ['send']], false],
    ['FIN alone', [['fin']], true],
  ] as [string, Step[], boolean][]) {
    withFront(as(`an idle client ends its side by ${how}`), async (t) => {
      const front = await startFront(t, { kernel });
      const { ended } = await python(front.port, version, [
        ['write', get('/')],
        ['send'],
        ['read_until', '}'],
        ...end,
        ['read_to_end'],
      ]);
      await appIsIdle(front);
      t.is(ended, 'close_notify');
      t.deepEqual([front.errors, front.truncations], [[], [isTruncated]]);
    });

    withFront(as(`a client that ends its side by ${how} gets the answer it waits for`), async (t) => {
      const front = await startFront(t, { kernel });
      const { received, ended } = await python(front.port, version, [
        ['write', POST],
        ['send'],
        // Now it is handed over: the kernel takes over no connection whose client has ended its side already.
        ['read_until', '100 Continue\r\n\r\n'],
        ['write', 'name=value'],
        ...(isTruncated ? [['send'] as const] : []),
        ...end,
        ['read_to_end'],
      ]);
      t.regex(received, /"bytes":10,/);
      t.is(ended, 'close_notify');
      await appIsIdle(front);
      // Whether it was cut is seen only if the end is read before the answer is done.
      t.deepEqual(front.errors, []);
    });

    withFront(as(`an upgraded connection whose client ends its side by ${how}`), async (t) => {
      const front = await startFront(t, { kernel });
      const { ended } = await python(front.port, version, [
        ['write', UPGRADE],
        ['send'],
        ['read_until', '\r\n\r\n'],
        ...end,
        ['read_to_end'],
      ]);
      await appIsIdle(front);
      t.is(ended, 'close_notify');
      t.deepEqual([front.upgradeEnds, front.truncations], [['end'], [isTruncated]]);
    });
  }

  withFront(as('a part of a record keeps nobody busy, and the rest of it is served'), async (t) => {
    const front = await startFront(t, { kernel: { tx: 2, rx: 2 } });
    /**
     * Milliseconds, and turns of this process's event loop, while a client asks, waits with `part` of its next requests sent, and sends the rest. That part
     * ends in a record: the kernel wakes nobody for one that begins alone, it is the one behind a whole record that stays readable.
     */
    const measure = async (part: Step): Promise<{ turns: number; ms: number }> => {
      const before = performance.nodeTiming.uvMetricsInfo.loopCount;
      const sinceMs = performance.now();
      const { received } = await python(front.port, version, [
        ['write', get('/')],
        ['send'],
        ['read_until', '}'],
        ['write', get('/')],
        ['write', lastGet('/')],
        part,
        ['wait', 2],
        ['send'],
        ['read_to_end'],
      ]);
      t.is(received.match(/"requestNumber"/g)?.length, 3);
      const turns = performance.nodeTiming.uvMetricsInfo.loopCount - before;
      return { turns, ms: Math.round(performance.now() - sinceMs) };
    };
    const withNothing = await measure(['wait', 0]);
    const withAPart = await measure(['send_but', 1]);
    const turns = withAPart.turns - withNothing.turns;
    const told = `a part of a record took ${turns} turns of the loop in ${withAPart.ms} ms, besides ${withNothing.turns}`;
    t.log(told);
    // After pauses of 1, 2, 4, ... 64 ms, and then one each 64 ms, it looks: a turn for the timer, one for the wake-up. Without
    // pauses Linux 6.1 made it some 70,000 in 2 s.
    const looks = 6 + withAPart.ms / 64;
    t.true(turns < 3 * looks, told);
    await appIsIdle(front);
  });
}

for (const { version, kind } of VERSIONS) {
  const as = (title: string): string => `${version}, ${kind}: ${title}`;
  const front = (t: Parameters<typeof startFront>[0]): Promise<Front> =>
    startFront(t, { kernel: { tx: 1, rx: kind === 'full' ? 1 : 0 } });

  for (const [what, path, expected] of [
    ['a short answer', '/', undefined],
    [
      'an answer that only its end delimits',
      `/until-close/${downloadChunk.length}`,
      downloaded(downloadChunk.length),
    ],
    ['a file', '/file', undefined],
  ] as const) {
    withFront(as(`${what} ends with close_notify`), async (t) => {
      const { port, errors } = await front(t);
      const { received, ended } = await python(port, version, [
        ['write', lastGet(path)],
        ['send'],
        ['read_to_end'],
      ]);
      t.is(ended, 'close_notify');
      t.regex(received, /^HTTP\/1\.1 200 /);
      if (expected !== undefined) t.is(sha256(bodyOf(received)), expected);
      if (path === '/file') t.deepEqual(bodyOf(received), readFileSync(sentFile));
      t.deepEqual(errors, []);
    });
  }

  withFront(as('an answer that fills every buffer ends with close_notify as well'), async (t) => {
    const { port } = await front(t);
    const bytes = downloadChunk.length * 160;
    const { received, ended } = await python(port, version, [
      ['write', lastGet(`/until-close/${bytes}`)],
      ['send'],
      ['wait', 1],
      ['read_to_end'],
    ]);
    t.is(ended, 'close_notify');
    t.is(sha256(bodyOf(received)), downloaded(bytes));
  });

  withFront(as('curl takes an answer that only its end delimits for whole'), async (t) => {
    const { port } = await front(t);
    const bytes = downloadChunk.length * 16;
    t.is(
      sha256(Buffer.from(await curl(port, version, `/until-close/${bytes}`), 'latin1')),
      downloaded(bytes),
    );
  });

  if (isOtherDebian) {
    // Its OpenSSL takes an end without close_notify for an error.
    withFront(as("the curl of the web server's Debian does so, too"), async (t) => {
      const { port } = await front(t);
      const speak = version === 'TLSv1.2' ? ['--tls-max', '1.2'] : ['--tlsv1.3'];
      const url = `https://127.0.0.1:${port}/until-close/${downloadChunk.length}`;
      const [program, args] = webServerCommand('curl', ['-sSk', ...speak, url]);
      const options = { encoding: 'latin1', maxBuffer: 2 ** 24 } as const;
      const { stdout } = await promisify(execFile)(program, args, options);
      t.is(sha256(Buffer.from(stdout, 'latin1')), downloaded(downloadChunk.length));
    });
  }
}

const sentFile = fileURLToPath(new URL('./passing-front.js', import.meta.url));
