// More than one request on a connection, through a real nginx: pipelined and one after the other, in the keep-alive scope, out
// of it and without one; and on connections where nginx answered the first requests itself.
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Answer, exchange, readAnswer, readAnswers } from '../helpers/answer-reader.js';
import { type BehindNginx, type BehindNginxOptions, behindNginx } from '../helpers/behind-nginx.js';
import { answerDigest, bodyOf, chunked, digestOf } from '../helpers/body-digest.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { arrivedIn, openClient, untilRead } from '../helpers/nginx-client.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const start = (t: ExecutionContext, options: BehindNginxOptions = {}): Promise<BehindNginx> =>
  behindNginx(t, { handler: answerDigest, ...options });

const get = (target: string, host = 'example.test'): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

const post = (target: string, body: Buffer, isChunked = false): Buffer => {
  const framing = isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
  const head = `POST ${target} HTTP/1.1\r\nHost: example.test\r\n${framing}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), isChunked ? chunked(body, 700) : body]);
};

const SCOPE = { keepAlive: { scope: '/' } };

withNginx('without a scope each connection carries one request', async (t) => {
  const front = await start(t);
  for (let n = 0; n < 3; n++) {
    const client = await openClient(t, front);
    const answer = await exchange(client, get('/'));
    t.is(answer.headers.connection, 'close');
    t.like(arrivedIn(answer), { handover: 'full', requestNumber: 1 });
    t.is(await client.readToEnd(), '');
  }
  t.is(front.server.stats().full, 3);
});

withNginx('without a scope a pipelined request gets no answer, and reaches nobody', async (t) => {
  const seen: string[] = [];
  const front = await start(t, {
    handler: (request, response) => {
      seen.push(request.url ?? '');
      response.end('served');
    },
  });
  const client = await openClient(t, front);
  t.is((await exchange(client, get('/1') + get('/2'))).body, 'served');
  t.is(await client.readToEnd(), '');
  t.deepEqual(seen, ['/1']);
});

withNginx('in the scope later requests are served, and nginx knows of the first alone', async (t) => {
  const front = await start(t, { server: SCOPE });
  const client = await openClient(t, front);
  for (let n = 1; n <= 20; n++) {
    const body = bodyOf(n * 3000, n);
    const answer = await exchange(client, post(`/${n}`, body, n % 2 === 0).toString('latin1'));
    t.like(arrivedIn(answer), { handover: 'full', requestNumber: n, url: `/${n}`, ...digestOf(body) });
  }
  await client.close();
  t.is(front.server.stats().full, 1);
  t.is((await front.accessLog(1)).length, 1);
});

const outside: Readonly<Record<string, string>> = {
  'another path': get('/other/'),
  'a path that would leave it': get('/app/../other/'),
  'another host': get('/app/', 'other.test'),
  'a target in absolute form': get('http://example.test/app/'),
};

for (const [what, second] of Object.entries(outside)) {
  for (const how of ['pipelined', 'sent later'] as const) {
    withNginx(`out of the scope, ${how}: ${what} gets 421 and the end`, async (t) => {
      const front = await start(t, { server: { keepAlive: { scope: '/app/' } } });
      const client = await openClient(t, front);
      let answers: Answer[];
      if (how === 'pipelined') {
        await client.send(get('/app/1') + second);
        answers = await readAnswers(client, 2);
      } else {
        answers = [await exchange(client, get('/app/1')), await exchange(client, second)];
      }
      t.deepEqual(
        answers.map(({ status }) => status),
        [200, 421],
      );
      t.is(await client.readToEnd(), '');
    });
  }
}

/** POSTs in a row, of odd sizes, with a length and chunked. */
function pipeline(count: number, target: (n: number) => string): { bytes: Buffer; bodies: Buffer[] } {
  const bodies = Array.from({ length: count }, (_, n) => bodyOf((n * 37) % 900, n));
  return { bodies, bytes: Buffer.concat(bodies.map((body, n) => post(target(n), body, n % 3 === 2))) };
}

withNginx('fifty pipelined requests in one segment', async (t) => {
  const front = await start(t, { server: SCOPE });
  const client = await openClient(t, front);
  const { bytes, bodies } = pipeline(50, (n) => `/${n}`);
  await client.send(bytes);
  const answers = (await readAnswers(client, 50)).map(arrivedIn);
  for (const [n, body] of bodies.entries()) {
    t.like(answers[n], { url: `/${n}`, requestNumber: n + 1, ...digestOf(body) });
  }
  t.true((answers[0]?.earlyBytes ?? 0) > 0);
});

withNginx('two pipelined requests, split at every place', async (t) => {
  const front = await start(t, { server: SCOPE });
  const bodies = [bodyOf(11, 1), bodyOf(7, 2)] as const;
  const bytes = Buffer.concat([post('/1', bodies[0], true), post('/2', bodies[1])]);
  const split = async (at: number): Promise<void> => {
    const client = await openClient(t, front);
    await client.send(bytes.subarray(0, at));
    await untilRead(client);
    await client.send(bytes.subarray(at));
    const answers = (await readAnswers(client, 2)).map(arrivedIn);
    t.like(answers[0], { url: '/1', ...digestOf(bodies[0]) }, `split at ${at}`);
    t.like(answers[1], { url: '/2', ...digestOf(bodies[1]) }, `split at ${at}`);
    await client.close();
  };
  for (let first = 1; first < bytes.length; first += 8) {
    const places = Array.from({ length: 8 }, (_, n) => first + n).filter((at) => at < bytes.length);
    await Promise.all(places.map(split));
  }
});

/** nginx answers everything below `/own/` itself: with a word, a file that it sends with TCP_CORK, nothing, or a relay. */
const ownLocations = (socket: string): string => {
  writeFileSync(join(dirname(socket), 'file.txt'), bodyOf(5000).toString('hex'));
  return `
    sendfile on; tcp_nopush on; keepalive_requests 10000;
    location / { fd_pass unix:${socket}; }
    location = /own/word { return 200 "by nginx"; }
    location = /own/nothing { return 204; }
    location = /own/file { alias ${join(dirname(socket), 'file.txt')}; }
    location = /own/missing { root ${dirname(socket)}; }
    location = /own/relay { include /etc/nginx/scgi_params; scgi_pass unix:${socket}; }`;
};

const early = bodyOf(500);
const before: Readonly<Record<string, readonly [bytes: Buffer, status: number]>> = {
  'a GET': [Buffer.from(get('/own/word')), 200],
  'a POST whose body nginx throws away': [post('/own/word', bodyOf(900, 1)), 200],
  'a chunked POST whose body nginx throws away': [post('/own/nothing', bodyOf(900, 2), true), 204],
  'a file sent with TCP_CORK': [Buffer.from(get('/own/file')), 200],
  'a file that is not there': [Buffer.from(get('/own/missing')), 404],
  'a POST that was relayed': [post('/own/relay', bodyOf(900, 3)), 200],
  'a chunked POST that was relayed': [post('/own/relay', bodyOf(900, 4), true), 200],
};

for (const [what, [bytes, status]] of Object.entries(before)) {
  for (const scope of ['with a scope', 'without one'] as const) {
    withNginx(`nginx answers ${what}, and hands the pipelined request over, ${scope}`, async (t) => {
      const isKept = scope === 'with a scope';
      const front = await start(t, { locations: ownLocations, server: isKept ? SCOPE : {} });
      const client = await openClient(t, front);
      const last = isKept ? post('/last', bodyOf(99, 9)) : Buffer.alloc(0);
      await client.send(Buffer.concat([bytes, post('/early', early), last]));
      t.is((await readAnswer(client)).status, status);
      t.like(arrivedIn(await readAnswer(client)), {
        url: '/early',
        handover: 'full',
        requestNumber: 1,
        earlyBytes: 500 + last.length,
        ...digestOf(early),
      });
      if (isKept) {
        const arrived = arrivedIn(await readAnswer(client));
        t.like(arrived, { url: '/last', requestNumber: 2, ...digestOf(bodyOf(99, 9)) });
      } else {
        t.is(await client.readToEnd(), '');
      }
      t.deepEqual(front.errors, []);
    });
  }
}

withNginx('a connection on which nginx has answered a thousand requests is handed over', async (t) => {
  const front = await start(t, { locations: ownLocations });
  const client = await openClient(t, front);
  const own = Array.from({ length: 1000 }, () => get('/own/word')).join('');
  await client.send(Buffer.concat([Buffer.from(own), post('/early', early)]));
  const answers = await readAnswers(client, 1001);
  t.true(answers.slice(0, 1000).every(({ body }) => body === 'by nginx'));
  t.like(arrivedIn(answers[1000] as Answer), { handover: 'full', ...digestOf(early) });
});

withNginx('behind an answer of nginx the next head comes in two parts', async (t) => {
  const front = await start(t, { locations: ownLocations });
  const request = Buffer.concat([Buffer.from(get('/own/word')), post('/early', early)]);
  const secondHead = request.indexOf('POST');
  const split = async (at: number): Promise<void> => {
    const client = await openClient(t, front);
    await client.send(request.subarray(0, at));
    await untilRead(client);
    await client.send(request.subarray(at));
    t.is((await readAnswer(client)).body, 'by nginx');
    const arrived = arrivedIn(await readAnswer(client));
    t.like(arrived, { handover: 'full', ...digestOf(early) }, `split at ${at}`);
    await client.close();
  };
  const places = Array.from({ length: 24 }, (_, n) => secondHead - 4 + 4 * n);
  for (let n = 0; n < places.length; n += 8) await Promise.all(places.slice(n, n + 8).map(split));
});

withNginx(
  'a second request for nginx that follows a first for the backend is refused, not lost',
  async (t) => {
    const front = await start(t, { locations: ownLocations, server: { keepAlive: { scope: '/app/' } } });
    const client = await openClient(t, front);
    const first = arrivedIn(await exchange(client, get('/app/')));
    t.is(first.requestNumber, 1);
    t.is((await exchange(client, get('/own/word'))).status, 421);
    t.is(await client.readToEnd(), '');
    const again = await openClient(t, front);
    t.is((await exchange(again, get('/own/word'))).body, 'by nginx');
    await again.close();
  },
);
