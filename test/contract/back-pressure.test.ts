// 64 MB in and out past a slow reader: every byte arrives, and what waits in between stays small. Counted in the streams' own
// buffers; what the kernel holds is bounded by itself.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { subjects } from './subjects.js';

guardDescriptors(test);

const CHUNK = 64 * 1024;
const CHUNKS = 1024;
/** Node.js reads up to 64 KiB at once on top of what a stream may hold. */
const MOST_BUFFERED = 4 * CHUNK;
/** More than the kernel can hold between two sockets (tcp_rmem and tcp_wmem end at 6 and 4 MB by default). */
const HELD_UP_AT = 24 * 1024 * 1024;

const chunk = (nth: number): Buffer => Buffer.alloc(CHUNK, `chunk ${nth} `);

const WHOLE = (() => {
  const hash = createHash('sha256');
  for (let nth = 0; nth < CHUNKS; nth++) hash.update(chunk(nth));
  return hash.digest('hex');
})();

/** A body of 64 MB that knows how much of it was asked for. */
class Body extends Readable {
  produced = 0;

  override _read(): void {
    const nth = this.produced / CHUNK;
    if (nth === CHUNKS) return void this.push(null);
    this.produced += CHUNK;
    this.push(chunk(nth));
  }
}

/** Resolves when `read()` has not changed for a while: whoever makes it grow is held up. */
async function untilStill(read: () => number): Promise<number> {
  for (let before = -1, still = 0; still < 10; await delay(10)) {
    still = read() === before ? still + 1 : 0;
    before = read();
  }
  return read();
}

async function sha256(stream: AsyncIterable<Buffer>, eachTime: () => void = () => {}): Promise<string> {
  const hash = createHash('sha256');
  for await (const bytes of stream) {
    eachTime();
    hash.update(bytes);
  }
  return hash.digest('hex');
}

const answerOf = async (request: ClientRequest): Promise<IncomingMessage> => {
  const [response] = await once(request, 'response');
  return response as IncomingMessage;
};

for (const subject of subjects) {
  test.serial(`${subject.name}: an upload of 64 MB waits for a listener that reads slowly`, async (t) => {
    const body = new Body();
    let mostBuffered = 0;
    let heldUpAt = 0;
    const { url } = await subject.start(t, async (request, response) => {
      const look = (): void => {
        mostBuffered = Math.max(mostBuffered, request.readableLength + request.socket.readableLength);
      };
      const looking = setInterval(look, 1);
      heldUpAt = await untilStill(() => body.produced);
      const hash = await sha256(request, look);
      clearInterval(looking);
      response.end(hash);
    });
    const request = httpRequest(url, { method: 'POST', headers: { 'Content-Length': CHUNK * CHUNKS } });
    const [response] = await Promise.all([answerOf(request), pipeline(body, request)]);
    t.is(String(await response.setEncoding('latin1').toArray()), WHOLE);
    t.true(mostBuffered <= MOST_BUFFERED, `${mostBuffered} bytes waited`);
    // A gateway that relays reads the whole body before it passes it on.
    if (!subject.isRelay)
      t.true(heldUpAt < HELD_UP_AT, `${heldUpAt} bytes were sent to a listener that reads none`);
  });

  test.serial(`${subject.name}: a download of 64 MB waits for a client that reads slowly`, async (t) => {
    const body = new Body();
    let mostBuffered = 0;
    let drains = 0;
    const { url } = await subject.start(t, async (request, response) => {
      response.on('drain', () => drains++);
      body.on('data', () => {
        mostBuffered = Math.max(mostBuffered, response.writableLength + request.socket.writableLength);
      });
      await pipeline(body, response);
    });
    const request = httpRequest(url).end();
    const response = await answerOf(request);
    const heldUpAt = await untilStill(() => body.produced);
    t.true(heldUpAt < HELD_UP_AT, `${heldUpAt} bytes were written for a client that reads none`);
    t.is(await sha256(response), WHOLE);
    t.true(mostBuffered <= MOST_BUFFERED, `${mostBuffered} bytes waited`);
    await until('the response drained many times', () => drains > CHUNKS / 10);
  });

  test.serial(`${subject.name}: an echo of 64 MB, both ways at once, arrives whole`, async (t) => {
    const { url } = await subject.start(t, (request, response) => {
      pipeline(request, response).catch((error) => t.fail(String(error)));
    });
    const request = httpRequest(url, { method: 'POST' });
    const [hash] = await Promise.all([
      answerOf(request).then((response) => sha256(response)),
      pipeline(new Body(), request),
    ]);
    t.is(hash, WHOLE);
  });
}
