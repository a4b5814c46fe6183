// Request bodies through a real nginx and our module, by their SHA-256: of every size, in one segment with the head or split
// anywhere, with a length or chunked. Early bytes near their limit are in bodies-early.test.ts.
import test, { type ExecutionContext } from 'ava';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { type Arrived, answerDigest, bodyOf, chunked, digestOf } from '../helpers/body-digest.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { arrivedIn, openClient, untilRead } from '../helpers/nginx-client.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const start = (t: ExecutionContext): Promise<BehindNginx> => behindNginx(t, { handler: answerDigest });

const headOf = (framing: string): Buffer =>
  Buffer.from(`POST /upload HTTP/1.1\r\nHost: example.test\r\n${framing}\r\n\r\n`);

const framings: Readonly<Record<string, (body: Buffer) => Buffer>> = {
  'with a length': (body) => Buffer.concat([headOf(`Content-Length: ${body.length}`), body]),
  chunked: (body) => Buffer.concat([headOf('Transfer-Encoding: chunked'), chunked(body, 60_000)]),
};

/** Sends the parts, each when the one before it has been read. */
async function sendApart(
  t: ExecutionContext,
  front: BehindNginx,
  parts: readonly Buffer[],
): Promise<Arrived> {
  const client = await openClient(t, front);
  for (const [index, part] of parts.entries()) {
    if (index > 0) await untilRead(client);
    await client.send(part);
  }
  const arrived = arrivedIn(await readAnswer(client));
  await client.close();
  return arrived;
}

const KIB = 1024;
const SIZES = [0, 1, 2, 9, 10, 1023, 1024, 1025, 4096, 16_384, 65_535, 65_536, 65_537, 1024 * KIB];

for (const [how, frame] of Object.entries(framings)) {
  for (const size of SIZES) {
    withNginx(`${size} bytes ${how}, written at once with the head`, async (t) => {
      const front = await start(t);
      const body = bodyOf(size, size);
      const arrived = await sendApart(t, front, [frame(body)]);
      t.like(arrived, { method: 'POST', url: '/upload', handover: 'full', ...digestOf(body) });
      t.deepEqual(front.errors, []);
    });
  }

  // The memory this takes is that of one test at a time.
  needs(test.serial, ...nginxWithModule)(`64 MB ${how}`, async (t) => {
    const front = await start(t);
    const body = bodyOf(64 * KIB * KIB);
    t.like(await sendApart(t, front, [frame(body)]), { handover: 'full', ...digestOf(body) });
  });
}

const smallChunks = 'b;name="value"\r\nhello world\r\n1\r\n!\r\n00\r\nX-Trailer: of its own\r\n\r\n';
const awkward: Readonly<Record<string, readonly [request: Buffer, body: string]>> = {
  'with a length': [
    Buffer.concat([headOf('Content-Length: 11'), Buffer.from('\r\n0\r\n\r\nGET ')]),
    '\r\n0\r\n\r\nGET ',
  ],
  chunked: [Buffer.concat([headOf('Transfer-Encoding: chunked'), Buffer.from(smallChunks)]), 'hello world!'],
};

for (const [how, [request, body]] of Object.entries(awkward)) {
  withNginx(`a small request ${how}, split at every place`, async (t) => {
    const front = await start(t);
    const headLength = request.indexOf('\r\n\r\n') + 4;
    const early: number[] = [];
    const placesAtOnce = 8;
    for (let first = 1; first < request.length; first += placesAtOnce) {
      const places = Array.from({ length: placesAtOnce }, (_, n) => first + n).filter(
        (each) => each < request.length,
      );
      const all = await Promise.all(
        places.map((at) => sendApart(t, front, [request.subarray(0, at), request.subarray(at)])),
      );
      for (const [n, arrived] of all.entries()) {
        t.like(arrived, { handover: 'full', ...digestOf(body) }, `split at ${places[n]}`);
        early.push(arrived.earlyBytes);
      }
    }
    t.is(early.length, request.length - 1);
    // In the head: what is behind it came with its end. Behind it: what came with it, and no more.
    t.deepEqual(
      early,
      Array.from({ length: request.length - 1 }, (_, n) =>
        n + 1 < headLength ? request.length - headLength : n + 1 - headLength,
      ),
    );
  });

  withNginx(`a small request ${how}, byte by byte`, async (t) => {
    const front = await start(t);
    const bytes = Array.from({ length: request.length }, (_, at) => request.subarray(at, at + 1));
    t.like(await sendApart(t, front, bytes), { handover: 'full', earlyBytes: 0, ...digestOf(body) });
  });
}

/** The same cuts for the same `seed`, of 1 byte to `most`. */
function cut(bytes: Buffer, seed: number, most: number): Buffer[] {
  const lengths = bodyOf(4096, seed);
  const parts: Buffer[] = [];
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const length = 1 + (lengths.readUInt16LE((2 * n) % 4096) % most);
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  return parts;
}

for (const [how, frame] of Object.entries(framings)) {
  for (const seed of [1, 2, 3]) {
    withNginx(`300 kB ${how}, cut anywhere (${seed})`, async (t) => {
      const front = await start(t);
      const body = bodyOf(300_000, seed);
      const arrived = await sendApart(t, front, cut(frame(body), seed, 20_000));
      t.like(arrived, { handover: 'full', ...digestOf(body) });
    });
  }
}

const EXPECT = 'Expect: 100-continue\r\nContent-Length: 5';

withNginx('a client that expects 100 gets it before it sends, and once', async (t) => {
  const client = await openClient(t, await start(t));
  const interim = await exchange(client, headOf(EXPECT).toString());
  t.is(interim.status, 100);
  const arrived = arrivedIn(await exchange(client, 'hello'));
  t.like(arrived, { handover: 'full', earlyBytes: 0, ...digestOf('hello') });
  t.is(await client.readToEnd(), '');
});

withNginx('a client that expects 100 and does not wait for it', async (t) => {
  const client = await openClient(t, await start(t));
  await client.send(Buffer.concat([headOf(EXPECT), Buffer.from('hello')]));
  let answer = await readAnswer(client);
  if (answer.status === 100) answer = await readAnswer(client);
  t.like(arrivedIn(answer), { handover: 'full', earlyBytes: 5, ...digestOf('hello') });
  t.is(await client.readToEnd(), '');
});

withNginx('an application that refuses a body spares the client sending it', async (t) => {
  const front = await behindNginx(t);
  front.server.on('checkContinue', (_request, response) => response.writeHead(413).end('too large'));
  const client = await openClient(t, front);
  const answer = await exchange(client, headOf(EXPECT).toString());
  t.like(answer, { status: 413, body: 'too large' });
  t.is(await client.readToEnd(), '');
});

withNginx('an early 413 reaches a client that goes on sending', async (t) => {
  const front = await behindNginx(t, {
    handler: (_request, response) => response.writeHead(413).end('too large'),
  });
  const client = await openClient(t, front);
  const body = bodyOf(4 * KIB * KIB);
  const sent = client.send(Buffer.concat([headOf(`Content-Length: ${body.length}`), body]));
  t.like(await readAnswer(client), { status: 413, body: 'too large' });
  await sent;
  t.is(await client.readToEnd(), '');
  t.is(client.error, undefined);
});
