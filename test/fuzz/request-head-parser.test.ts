// Whatever the front door's parser accepts, Node.js' own parser (llhttp, strict) must read the same way: the backend is one,
// and two readings of one head are what request smuggling is made of.
import { createServer, type IncomingMessage, METHODS } from 'node:http';
import { Duplex } from 'node:stream';
import test from 'ava';
import fc from 'fast-check';
import { type RequestHead, RequestHeadParser } from '#runtime/front-door/request-head-parser.js';

/** For each test; they are serial, so that one does not use up the other's. */
const TIME_BOX_MS = 5_000;
const LIMITS = { maxHeadBytes: 4096, maxFields: 64 };
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);

interface NodeReading {
  method: string | undefined;
  target: string | undefined;
  version: string;
  fields: string[];
}

/** What http.Server makes of these bytes: a request, or the code of its error. */
function readByNode(bytes: Buffer): Promise<NodeReading | string> {
  return new Promise((resolve) => {
    const server = createServer({ requireHostHeader: false });
    const read = (request: IncomingMessage): void => {
      const { method, url, httpVersion, rawHeaders } = request;
      resolve({ method, target: url, version: httpVersion, fields: rawHeaders });
      connection.destroy();
    };
    server.on('request', read);
    server.on('upgrade', read);
    server.on('checkContinue', read);
    server.on('checkExpectation', read);
    server.on('clientError', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? error.message);
      connection.destroy();
    });
    const connection = Object.assign(new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() }), {
      setTimeout() {},
      setNoDelay() {},
      setKeepAlive() {},
    });
    connection.on('close', () => server.close());
    server.emit('connection', connection);
    connection.push(bytes);
    // The end of the stream settles what neither was a request nor an error.
    connection.push(null);
  });
}

function readByUs(bytes: Buffer): RequestHead | string | undefined {
  try {
    return new RequestHeadParser(LIMITS).parse(bytes, bytes.length);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

const often = <T>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: rare });

const anyByte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
const junk = fc.string({ unit: anyByte, maxLength: 6 });
const visible = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  maxLength: 12,
});
const space = often(fc.constant(' '), fc.constantFrom('', '  ', '\t', ' \t ', '\x0b', '\xa0'));
const lineEnd = fc.oneof(
  { weight: 60, arbitrary: fc.constant('\r\n') },
  { weight: 1, arbitrary: fc.constantFrom('\n', '\r', '\r\r\n', '\n\r\n', '\r\n ') },
);
// CONNECT is ours to refuse; the rest of the list is what Node.js knows.
const method = often(
  fc.constantFrom(...METHODS.filter((name) => name !== 'CONNECT')),
  fc.oneof(junk, fc.constant('get')),
);
const target = often(
  fc.oneof(
    visible.map((text) => `/${text}`),
    visible.map((text) => `http://h/${text}`),
    fc.constant('*'),
  ),
  fc.oneof(
    junk,
    visible,
    visible.map((text) => `http://${text}`),
  ),
);
const version = often(
  fc.constantFrom('HTTP/1.1', 'HTTP/1.0'),
  fc.constantFrom('HTTP/1.2', 'HTTP/2.0', 'HTTP/0.9', 'http/1.1', ''),
);
const value = fc.oneof(
  visible,
  fc.tuple(visible, space, visible).map((parts) => parts.join('')),
  junk,
);
const colon = often(fc.constant(': '), fc.constantFrom(':', ' : ', ':\t ', ':: ', '', ' '));
const framing = fc
  .constantFrom(
    ['Content-Length', '0'],
    ['Content-Length', '007'],
    ['content-length', '1'],
    ['Content-Length', '+1'],
    ['Content-Length', '1, 1'],
    ['Transfer-Encoding', 'chunked'],
    ['transfer-encoding', 'CHUNKED'],
    ['Transfer-Encoding', 'gzip, chunked'],
    ['Transfer-Encoding', 'chunked, identity'],
    ['Transfer-Encoding', ' chunked'],
    ['Transfer-Encoding', 'xchunked'],
    ['Connection', 'close'],
    ['Connection', 'Transfer-Encoding, Upgrade'],
    ['Upgrade', 'websocket'],
    ['Expect', '100-continue'],
    ['Host', 'h'],
    ['Host', 'other'],
  )
  .map(([name, text]) => [name as string, text as string] as const);
const field = fc.oneof(
  { weight: 3, arbitrary: framing },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom('A', 'Cookie', 'X_Y', 'Proxy', 'x-forwarded-for'), value),
  },
  { weight: 1, arbitrary: fc.tuple(fc.oneof(visible, junk), value) },
);
const fieldLine = fc
  .tuple(field, colon, lineEnd)
  .map(([[name, text], separator, end]) => `${name}${separator}${text}${end}`);
const head = fc
  .tuple(
    often(fc.constant(''), fc.constantFrom('\r\n', '\r\n\r\n', '\n', ' ')),
    fc.tuple(method, space, target, space, version, lineEnd).map((parts) => parts.join('')),
    often(fc.constant('Host: h\r\n'), fc.constant('')),
    fc.array(fieldLine, { maxLength: 4 }),
    lineEnd,
    fc.oneof(fc.constant(''), junk),
  )
  .map(([before, line, host, fields, end, after]) =>
    Buffer.from(before + line + host + fields.join('') + end + after, 'latin1'),
  );

test.serial('what the front door accepts, Node.js reads the same way', async (t) => {
  t.log(`FUZZ_SEED=${seed}`);
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(head, async (bytes) => {
      const ours = readByUs(bytes);
      // A method Node.js does not know is its business: it answers 400.
      if (typeof ours !== 'object' || !METHODS.includes(ours.method)) return;
      accepted++;
      const theirs = await readByNode(bytes.subarray(0, ours.headBytes));
      if (typeof theirs === 'string') throw new Error(`Node.js answers ${theirs}`);
      const expected = {
        method: ours.method,
        target: ours.target,
        version: ours.protocol.slice(5),
        fields: [...ours.fields],
      };
      if (JSON.stringify(theirs) !== JSON.stringify(expected)) {
        throw new Error(`${JSON.stringify(theirs)} is not ${JSON.stringify(expected)}`);
      }
    }),
    { seed, numRuns: 1_000_000, interruptAfterTimeLimit: TIME_BOX_MS, markInterruptAsFailure: false },
  );
  t.log(`${accepted} heads were accepted`);
  t.true(accepted > 100, 'the generator makes too few valid heads to mean anything');
});

test.serial('every split of any bytes gives the same result', (t) => {
  t.log(`FUZZ_SEED=${seed}`);
  fc.assert(
    fc.property(
      fc.oneof(
        head,
        fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      ),
      fc.array(fc.nat(300), { maxLength: 4 }),
      (bytes, cuts) => {
        const parser = new RequestHeadParser(LIMITS);
        let result: RequestHead | string | undefined;
        try {
          for (const cut of [...cuts.sort((one, other) => one - other), bytes.length]) {
            const length = Math.min(cut, bytes.length);
            result = parser.parse(bytes, length);
            if (result !== undefined) break;
          }
        } catch (error) {
          result = (error as NodeJS.ErrnoException).code;
        }
        return JSON.stringify(result) === JSON.stringify(readByUs(bytes));
      },
    ),
    { seed, numRuns: 1_000_000, interruptAfterTimeLimit: TIME_BOX_MS, markInterruptAsFailure: false },
  );
  t.pass();
});
