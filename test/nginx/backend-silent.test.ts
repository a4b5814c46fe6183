// Backends that take their time: while nginx waits for one it serves others, a message that does not fit goes on when there is
// room, and at the moment of giving up exactly one side has the client.
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs, program } from '../helpers/requirements.js';
import { temporaryFolder } from '../helpers/serve.js';
import { stretchedMoment } from '../helpers/stretched-moment.js';
import { until } from '../helpers/until.js';
import { type Offer, TAKEN, WireBackend } from '../helpers/wire-backend.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);
const withCompiler = needs(test, ...nginxWithModule, program('cc', 'gcc'));

const slow = (socket: string): string => join(dirname(socket), 'slow.sock');
const GET_SLOW = 'GET /slow HTTP/1.1\r\nHost: example.test\r\n\r\n';

interface Front extends BehindNginx {
  readonly backend: WireBackend;
  /** The offers, when there are `count`. */
  offers(count: number): Promise<Offer[]>;
  client(request?: string): Promise<RawClient>;
  /** One request to the good backend. */
  servedMeanwhile(): Promise<string>;
}

/** `/slow` goes to a backend of the test's own, the rest to one that serves. */
async function front(
  t: ExecutionContext,
  { directives = '', under = [], isReading = true, behave }: Partial<FrontOptions> = {},
): Promise<Front> {
  const behind = await behindNginx(t, {
    nginx: { under },
    locations: (socket) => `
      large_client_header_buffers 4 256k;
      location / { fd_pass unix:${socket}; }
      location /slow { fd_pass unix:${slow(socket)}; ${directives} }
      location @fallback { return 200 "by nginx"; }`,
  });
  const backend = new WireBackend(slow(behind.socket), behave, isReading);
  t.teardown(() => backend.close());
  const client = async (request = GET_SLOW): Promise<RawClient> => {
    const raw = await RawClient.connect(behind.port, behind.host);
    void raw.send(request);
    return raw;
  };
  return {
    ...behind,
    backend,
    client,
    offers: async (count) => {
      const whole = (): Offer[] => backend.offers.filter((offer) => offer.isWhole);
      await until(`${count} clients are offered`, () => whole().length >= count);
      return whole();
    },
    servedMeanwhile: async () => (await client('GET / HTTP/1.1\r\nHost: example.test\r\n\r\n')).readToEnd(),
  };
}

interface FrontOptions {
  under: readonly string[];
  directives: string;
  isReading: boolean;
  behave: (offer: Offer) => void;
}

withNginx('a worker that waits for a hundred silent answers serves others', async (t) => {
  const { client, offers, servedMeanwhile } = await front(t);
  const waiting = await Promise.all(Array.from({ length: 100 }, () => client()));
  const offered = await offers(100);
  for (let n = 0; n < 20; n++) t.regex(await servedMeanwhile(), /^HTTP\/1\.1 200 .*served$/s);
  t.true(waiting.every(({ received }) => received === ''));
  for (const offer of offered) {
    t.is(offer.close(TAKEN), 0);
    offer.answer('late, but here');
  }
  for (const each of waiting) t.is(await each.readToEnd(), 'late, but here');
});

withNginx(
  'a message larger than the socket buffer goes on when the backend reads, and others are served meanwhile',
  async (t) => {
    const { client, offers, servedMeanwhile, backend, accessLog } = await front(t, { isReading: false });
    const field = 'x'.repeat(60_000);
    const body = 'e'.repeat(61_440);
    const patient = await client(
      `POST /slow HTTP/1.1\r\nHost: example.test\r\nContent-Length: ${body.length}\r\nA: ${field}\r\nB: ${field}\r\nC: ${field}\r\n\r\n${body}`,
    );
    for (let n = 0; n < 20; n++) t.regex(await servedMeanwhile(), /^HTTP\/1\.1 200 .*served$/s);
    t.is(patient.received, '');
    backend.start();
    const [offer] = await offers(1);
    t.is(offer?.bytes.split(field).length, 4);
    t.is(offer?.close(TAKEN), 0);
    // What nginx had read with the head, and what it had not.
    const earlyBytes = /\0,(e*)$/.exec(offer?.bytes ?? '')?.[1] ?? '';
    t.is(earlyBytes + (await offer?.read(body.length - earlyBytes.length)), body);
    offer?.answer('after all');
    t.is(await patient.readToEnd(), 'after all');
    t.regex((await accessLog(21)).at(-1) ?? '', /^POST \/slow 000 0 full "unix:.*slow\.sock" /);
  },
);

withNginx(
  'an acknowledgement that comes after nginx has given up fails, and nginx alone answers',
  async (t) => {
    const { client, offers } = await front(t, {
      directives: 'fd_pass_send_timeout 50ms; fd_pass_fallback @fallback;',
    });
    const answered = await client();
    const [offer] = await offers(1);
    t.regex(await answered.readToEnd(), /^HTTP\/1\.1 200 .*by nginx$/s);
    await until('nginx has closed', () => offer?.isOver === true);
    const EPIPE = 32;
    t.is(offer?.close(TAKEN), EPIPE);
  },
);

withNginx('the timeout counts from each step, not from the first', async (t) => {
  const { client, offers, backend } = await front(t, {
    isReading: false,
    directives: 'fd_pass_send_timeout 1500ms;',
  });
  const field = 'x'.repeat(60_000);
  const patient = await client(
    `GET /slow HTTP/1.1\r\nHost: example.test\r\nA: ${field}\r\nB: ${field}\r\nC: ${field}\r\nD: ${field}\r\n\r\n`,
  );
  // Less than the timeout each, together more.
  await delay(900);
  backend.start();
  const [offer] = await offers(1);
  await delay(900);
  t.is(offer?.close(TAKEN), 0);
  offer?.answer('in time');
  t.is(await patient.readToEnd(), 'in time');
});

for (const { moment, tries, atATime, stretch } of [
  { moment: 'at the moment of giving up', tries: 600, atATime: 20, stretch: undefined },
  // One at a time, or nginx would always come too late.
  { moment: 'at each point of that moment, made long', tries: 90, atATime: 1, stretch: stretchedMoment },
]) {
  const withWhatItNeeds = stretch === undefined ? withNginx : withCompiler;
  withWhatItNeeds(`an acknowledgement ${moment}: one side answers, ${tries} times`, async (t) => {
    const TIMEOUT_MS = 20;
    const under = stretch?.(await temporaryFolder(t)) ?? [];
    let offered = 0;
    let taken = 0;
    let tooLate = 0;
    const { client, accessLog } = await front(t, {
      under,
      directives: `fd_pass_send_timeout ${TIMEOUT_MS}ms; fd_pass_fallback @fallback;`,
      behave: (offer) => {
        if (!offer.isWhole || offer.isOver) return;
        // From some milliseconds before the timeout to some after it, so that both outcomes are common.
        const delayMs = TIMEOUT_MS - 6 + (offered++ % (stretch === undefined ? 10 : 18));
        setTimeout(() => {
          if (offer.client === undefined) return;
          if (offer.close(TAKEN) === 0) {
            taken += 1;
            offer.answer('by the backend');
          } else {
            tooLate += 1;
            offer.drop();
          }
        }, delayMs);
      },
    });
    const answers: string[] = [];
    await Promise.all(
      Array.from({ length: atATime }, async () => {
        for (let n = 0; n < tries / atATime; n++) {
          const one = await client();
          answers.push((await one.readToEnd()) || `nothing: ${one.error}`);
        }
      }),
    );
    const byBackend = answers.filter((answer) => answer === 'by the backend').length;
    const byNginx = answers.filter((answer) =>
      /^HTTP\/1\.1 200 (?:(?!HTTP).)*\r\n\r\nby nginx$/s.test(answer),
    ).length;
    t.log(`${byBackend} answered by the backend, ${byNginx} by nginx`);
    t.deepEqual(
      answers.filter((answer) => !/by (the backend|nginx)$/.test(answer)),
      [],
    );
    t.is(byBackend + byNginx, tries);
    t.true(byBackend > 0 && byNginx > 0, 'both sides won some');
    await until('the backend has heard of each', () => taken + tooLate === tries);
    // A second answer may not have got through to the client: each side says itself how many it took for its own.
    const logged = (await accessLog(tries)).filter((line) => / none /.test(line)).length;
    t.deepEqual({ taken, logged }, { taken: byBackend, logged: byNginx });
  });
}

withNginx('a backend that has taken a client and says nothing: nginx stays out of it', async (t) => {
  const { client, offers, accessLog } = await front(t, { directives: 'fd_pass_send_timeout 1s;' });
  const taken = await client();
  const [offer] = await offers(1);
  t.is(offer?.close(TAKEN), 0);
  t.regex((await accessLog(1))[0] ?? '', /^GET \/slow 000 0 full "unix:.*slow\.sock" \d\.\d/);
  // One that is not taken is answered after the timeout, and so has it passed for the first one as well.
  t.regex(await (await client()).readToEnd(), /^HTTP\/1\.1 504 /);
  t.is(taken.received, '');
  t.false(taken.socket.readableEnded);
  offer?.drop();
  t.is(await taken.readToEnd(), '');
});

withNginx('a client that leaves while nginx waits costs nothing', async (t) => {
  const { client, offers, servedMeanwhile, accessLog } = await front(t, {
    directives: 'fd_pass_send_timeout 200ms;',
  });
  const leaving = await client();
  await offers(1);
  leaving.socket.resetAndDestroy();
  t.regex(await servedMeanwhile(), /served$/);
  const [, seconds] =
    /^GET \/slow (?:504|499) \d+ none "unix:\S+slow\.sock" (\S+)$/.exec((await accessLog(2)).at(-1) ?? '') ??
    [];
  t.true(Number(seconds) >= 0.2);
});
