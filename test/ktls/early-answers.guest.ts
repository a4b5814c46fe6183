// Answers that end a connection whose client may go on sending: those that are given before the request is read, or instead of reading
// it, and http.Server's own when nobody listens to 'clientError'. A plain close would answer what still comes with a reset.
import type { HandoverServerOptions } from '@fdpass/backend-runtime';
import { until } from '../helpers/until.js';
import { type Front, startFront, VERSIONS, withFront } from './passing-front.js';
import { python, type Step, startPython } from './tls-clients.js';

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const LAST_GET = GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');
/** More than nginx and the first window of the connection take. */
const MUCH = 2 ** 21;
const POST = GET.replace('GET', 'POST').replace('\r\n\r\n', `\r\nContent-Length: ${MUCH}\r\n\r\n`);
const UNANSWERED = GET.replace('GET /', 'POST /unanswered').slice(0, -2);

const SEND_MUCH: Step[] = [['write_times', 'x', MUCH], ['send'], ['read_to_end']];
const goesOn: Step[] = [['write', POST], ['send'], ['read_until', '\r\n\r\n'], ...SEND_MUCH];
const sendsFirst: Step[] = [['write', POST], ...SEND_MUCH];

const badRequests: { what: string; sent: string; answer: string; app?: HandoverServerOptions }[] = [
  {
    what: 'a head that is too large',
    sent: `${GET.slice(0, -2)}Large: ${'x'.repeat(10_000)}`,
    answer: '431 Request Header Fields Too Large',
    app: { maxHeaderSize: 8192 },
  },
  {
    what: 'a head that does not end',
    sent: GET.slice(0, -2),
    answer: '408 Request Timeout',
    app: { headersTimeout: 300, connectionsCheckingInterval: 100 },
  },
];

const appIsIdle = (front: Front): Promise<void> =>
  until('the application has no connection', () => front.server.stats().connections === 0);

/** The web server lets no bad request through: it is the second one. */
const FIRST_ANSWER: Step[] = [['write', GET], ['send'], ['read_until', '}']];
/** What came behind the first answer. */
const lastIn = (received: string): string => received.slice(received.lastIndexOf('}') + 1);
const whole = (answer: string): string => `HTTP/1.1 ${answer}\r\nConnection: close\r\n\r\n`;

for (const { version, kind } of VERSIONS) {
  const kernel = { tx: 1, rx: kind === 'full' ? 1 : 0 };
  const as = (title: string): string => `${version}, ${kind}: ${title}`;

  withFront(as('a middleware turns away a client that sends all before it reads'), async (t) => {
    const front = await startFront(t, { kernel });
    front.server.use((handover) => handover.reject(429, { 'Retry-After': '7' }));
    const { received, ended } = await python(front.port, version, sendsFirst);
    t.regex(received, /^HTTP\/1\.1 429 .*\r\nRetry-After: 7\r\n\r\n429 Too Many Requests\n$/s);
    t.is(ended, 'close_notify');
    await appIsIdle(front);
    t.deepEqual(front.errors, []);
  });

  withFront(as('a handler answers 413 to a client that goes on sending'), async (t) => {
    const front = await startFront(t, {
      kernel,
      answers: {
        '/': (_request, response) => response.writeHead(413, { Connection: 'close' }).end('too large'),
      },
    });
    const { received, ended } = await python(front.port, version, goesOn);
    t.regex(received, /^HTTP\/1\.1 413 .*\r\n\r\n9\r\ntoo large\r\n0\r\n\r\n$/s);
    t.is(ended, 'close_notify');
    await appIsIdle(front);
    t.deepEqual(front.errors, []);
  });

  withFront(as('maxConnections is reached: 503 by the fallback'), async (t) => {
    const front = await startFront(t, { kernel });
    front.server.maxConnections = 0;
    const steps: Step[] = [['write', LAST_GET], ['send'], ['read_to_end']];
    const { received, ended } = await python(front.port, version, steps);
    t.regex(received, /^HTTP\/1\.1 503 .*\r\n\r\n503 Service Unavailable\n$/s);
    t.is(ended, 'close_notify');
    await appIsIdle(front);
    t.deepEqual(front.errors, ['BKR_ERR_TOO_MANY_CONNECTIONS']);
  });

  for (const { what, sent, answer, app = {} } of badRequests) {
    withFront(as(`${what}, from a client that goes on sending: ${answer}`), async (t) => {
      const answers = { '/unanswered': () => {} };
      const front = await startFront(t, { kernel, app, answers, clientErrors: 'left' });
      const { received, ended } = await python(front.port, version, [
        ...FIRST_ANSWER,
        ['write', sent],
        ['send'],
        ['read_until', whole(answer)],
        ...SEND_MUCH,
      ]);
      t.is(lastIn(received), whole(answer));
      t.is(ended, 'close_notify');
      await appIsIdle(front);
      t.deepEqual(front.errors, []);
    });
  }

  // Behind a request that is under way the connection ends at once: what is sent then is nobody's.
  withFront(as("a chunk's extension that is too large: 413 Payload Too Large"), async (t) => {
    const answers = { '/unanswered': () => {} };
    const front = await startFront(t, { kernel, answers, clientErrors: 'left' });
    const { received, ended } = await python(front.port, version, [
      ...FIRST_ANSWER,
      ['write', `${UNANSWERED}Transfer-Encoding: chunked\r\n\r\n5;${'x'.repeat(20_000)}`],
      ['send'],
      ['read_to_end'],
    ]);
    t.is(lastIn(received), whole('413 Payload Too Large'));
    t.is(ended, 'close_notify');
    await appIsIdle(front);
    t.deepEqual(front.errors, []);
  });

  withFront(as('what is no request, in one segment with much more: 400 Bad Request'), async (t) => {
    const front = await startFront(t, { kernel, clientErrors: 'left' });
    const steps: Step[] = [...FIRST_ANSWER, ['write', 'no request\r\n\r\n'], ...SEND_MUCH];
    const { received, ended } = await python(front.port, version, steps);
    t.is(lastIn(received), whole('400 Bad Request'));
    t.is(ended, 'close_notify');
    await appIsIdle(front);
    t.deepEqual(front.errors, []);
  });

  if (kind === 'full') {
    withFront(as('a damaged record in the middle of an upload: 400 Bad Request'), async (t) => {
      let begun = 0;
      const front = await startFront(t, {
        kernel: { ...kernel, decryptErrors: 1 },
        answers: {
          '/unanswered': (request) =>
            request.once('data', () => {
              begun += 1;
            }),
        },
        clientErrors: 'left',
      });
      const client = startPython(front.port, version, [
        ...FIRST_ANSWER,
        ['write', `${UNANSWERED}Content-Length: 10\r\n\r\nname`],
        ['send'],
        // Else the kernel may come upon it twice: behind what it can decrypt, and then alone.
        ['await_word'],
        ['write', '=value'],
        ['send_damaged'],
        ['read_to_end'],
      ]);
      await until('half of it is read', () => begun === 1);
      client.goOn();
      const { received, ended } = await client.result;
      t.is(lastIn(received), whole('400 Bad Request'));
      t.is(ended, 'close_notify');
      await appIsIdle(front);
      t.deepEqual(front.errors, ['BKR_ERR_TLS_RECORD']);
    });
  }
}
