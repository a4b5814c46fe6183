// However a handler uses http.ServerResponse, and however the bytes it leads to are cut: the CGI answer has its status, its fields
// without the hop-by-hop ones, and its body. Time-boxed; FUZZ_SEED=<seed> repeats a run, FUZZ_MS sets the time box.
import { createServer, type ServerResponse } from 'node:http';
import { Duplex } from 'node:stream';
import test from 'ava';
import fc from 'fast-check';
import { CgiAnswer } from '#runtime/cgi-answer.js';

const timeBoxMs = Number(process.env.FUZZ_MS ?? 2000);

/** Status codes whose answers have no body. */
const BODILESS = new Set([204, 304]);

/** What a handler does. */
interface Use {
  status: number;
  reason: string | undefined;
  fields: [name: string, value: string][];
  body: Buffer[];
  framing: 'default' | 'content-length' | 'chunked' | 'identity' | 'no chunks';
  interim: boolean;
  trailers: boolean;
}

/** The bytes http.Server writes for a handler, as one stream. */
function written(use: Use): Promise<Buffer> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    const server = createServer((_request, response) => answer(response, use));
    const connection = Object.assign(
      new Duplex({
        read() {},
        write(chunk: Buffer, _encoding, done) {
          pieces.push(Buffer.from(chunk));
          done();
        },
      }),
      { setTimeout() {}, setNoDelay() {}, setKeepAlive() {}, destroySoon: () => connection.destroy() },
    );
    connection.on('close', () => {
      server.close();
      resolve(Buffer.concat(pieces));
    });
    server.emit('connection', connection);
    connection.push('GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n');
  });
}

function answer(
  response: ServerResponse,
  { status, reason, fields, body, framing, interim, trailers }: Use,
): void {
  if (interim) {
    response.writeProcessing();
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
  }
  response.statusCode = status;
  if (reason !== undefined) response.statusMessage = reason;
  for (const [name, value] of fields) response.appendHeader(name, value);
  if (framing === 'content-length') response.setHeader('Content-Length', Buffer.concat(body).length);
  if (framing === 'chunked' || framing === 'identity') response.setHeader('Transfer-Encoding', framing);
  if (framing === 'no chunks') response.useChunkedEncodingByDefault = false;
  if (trailers && !BODILESS.has(status) && (framing === 'default' || framing === 'chunked')) {
    response.setHeader('Trailer', 'X-Sum');
    response.write(Buffer.alloc(0));
    response.addTrailers({ 'X-Sum': '1' });
  }
  for (const chunk of body) response.write(chunk);
  response.end();
}

const token = fc.string({ unit: fc.constantFrom(...'abcXYZ019-'), minLength: 1, maxLength: 12 });
const latin1 = (maxLength: number) =>
  fc
    .array(fc.oneof(fc.integer({ min: 0x21, max: 0x7e }), fc.integer({ min: 0x80, max: 0xff })), {
      maxLength,
    })
    .map((codes) => String.fromCharCode(...codes));
const chunk = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.constantFrom('\r\n', '0\r\n\r\n', 'HTTP/1.1 200 OK\r\n\r\n', '\n').map((text) => Buffer.from(text)),
  fc.integer({ min: 1000, max: 70_000 }).map((length) => Buffer.alloc(length, 'x')),
);

const use: fc.Arbitrary<Use> = fc.record({
  status: fc.oneof(fc.constantFrom(200, 404, 500, 201), fc.integer({ min: 200, max: 999 })),
  // An empty one is none to Node.js: it puts its own there.
  reason: fc.option(latin1(20), { nil: undefined }).map((reason) => reason || undefined),
  fields: fc.array(
    fc.tuple(
      token.map((name) => `X-${name}`),
      latin1(40),
    ),
    { maxLength: 6 },
  ),
  body: fc.array(chunk, { maxLength: 6 }),
  framing: fc.constantFrom('default', 'content-length', 'chunked', 'identity', 'no chunks'),
  interim: fc.boolean(),
  trailers: fc.boolean(),
});
const places = fc.array(fc.nat(200_000), { maxLength: 10 });

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const ends = at.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

/** Reads the CGI answer as a sender does. */
function parse(cgi: string): { status: string; fields: string[]; body: string } {
  const end = cgi.indexOf('\r\n\r\n');
  const [status = '', ...fields] = cgi.slice(0, end).split('\r\n');
  return { status, fields, body: cgi.slice(end + 4) };
}

/** Fields of http.ServerResponse itself. */
const OWN = /^(?:date|content-length):/i;
const HOP_BY_HOP = /^(?:connection|keep-alive|transfer-encoding|trailer|upgrade|proxy-connection):/i;
/** Repeated fields come where the name first came. */
function grouped(fields: readonly [string, string][]): string[] {
  const names = [...new Set(fields.map(([name]) => name.toLowerCase()))];
  return names.flatMap((name) => {
    const same = fields.filter(([each]) => each.toLowerCase() === name);
    return same.map(([, value]) => `${name}: ${value}`);
  });
}

test("the CGI answer is the handler's answer", async (t) => {
  const seed = Number(process.env.FUZZ_SEED ?? Math.trunc(Math.random() * 2 ** 31));
  const property = fc.asyncProperty(use, places, async (made, at) => {
    const translator = new CgiAnswer();
    const pieces = cut(await written(made), at).flatMap((piece) => translator.push(piece));
    const { status, fields, body } = parse(Buffer.concat(pieces).toString('latin1'));

    if (!status.startsWith(`Status: ${made.status}`)) throw new Error(`${status} for ${made.status}`);
    if (made.reason !== undefined && status !== `Status: ${made.status} ${made.reason}`) {
      throw new Error(`${status} for the reason ${made.reason}`);
    }
    const hopByHop = fields.filter((field) => HOP_BY_HOP.test(field));
    if (hopByHop.length > 0) throw new Error(`passed on: ${hopByHop.join()}`);
    const own = fields
      .filter((field) => !OWN.test(field))
      .map((field) => field.replace(/^[^:]+/, (name) => name.toLowerCase()));
    const meant = grouped(made.fields);
    if (own.join('\n') !== meant.join('\n')) throw new Error(`${own.join()} for ${meant.join()}`);
    const expected = BODILESS.has(made.status) ? '' : Buffer.concat(made.body).toString('latin1');
    if (body !== expected) throw new Error(`a body of ${body.length} bytes instead of ${expected.length}`);
  });
  const details = await fc.check(property, {
    seed,
    numRuns: 1_000_000,
    interruptAfterTimeLimit: timeBoxMs,
    includeErrorInReport: true,
  });
  t.log(`seed ${seed}, ${details.numRuns} runs`);
  t.false(details.failed, fc.defaultReportMessage(details));
  t.true(details.numRuns > 0, 'the time box was too small for one run');
});
