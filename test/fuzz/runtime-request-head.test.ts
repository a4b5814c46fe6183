// Whatever SCGI headers a sender makes up: the head built of them is refused, or Node.js' own parser reads one request in it, with
// the method, target and fields the headers name. Time-boxed; FUZZ_SEED=<seed> repeats a run, FUZZ_MS sets the time box.
import { METHODS } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { RuntimeError } from '#runtime/errors.js';
import { requestHead } from '#runtime/request-head.js';
import { SINGLETON_NAMES } from '#scgi/scgi-headers.js';
import { type RequestReading, readByNode } from '../helpers/node-reading.js';
import { type Entries, standIn } from '../helpers/stand-in-handover.js';

const timeBoxMs = Number(process.env.FUZZ_MS ?? 2000);

async function holds<T extends unknown[]>(
  t: ExecutionContext,
  property: fc.IAsyncProperty<T>,
): Promise<void> {
  const seed = Number(process.env.FUZZ_SEED ?? Math.trunc(Math.random() * 2 ** 31));
  const details = await fc.check(property, {
    seed,
    numRuns: 1_000_000,
    interruptAfterTimeLimit: timeBoxMs,
    includeErrorInReport: true,
  });
  t.log(`seed ${seed}, ${details.numRuns} runs`);
  t.false(details.failed, fc.defaultReportMessage(details));
  t.true(details.numRuns > 0, 'the time box was too small for one run');
}

const text = (characters: fc.Arbitrary<string>, minLength: number, maxLength: number) =>
  fc.array(characters, { minLength, maxLength }).map((each) => each.join(''));
const latin1 = (min: number, max: number) =>
  fc.integer({ min, max }).map((code) => String.fromCharCode(code));

/** What smuggling is made of. */
const dangerous = fc.constantFrom(
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n',
  '\r\nTransfer-Encoding: chunked',
  '0\r\n\r\n',
  ': ',
  ' HTTP/1.1',
  ' ',
  '\t',
  '\x0b',
  '\x85',
  '\xa0',
  '\x7f',
  ',',
  'chunked',
);
const printable = text(latin1(0x20, 0x7e), 0, 30);
const anything = fc.oneof(
  text(fc.oneof(dangerous, latin1(1, 255)), 0, 12),
  printable,
  fc.tuple(printable, dangerous, printable).map((parts) => parts.join('')),
);

const method = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('GET', 'POST', 'PUT', 'HEAD', ...METHODS) },
  anything,
);
const target = fc.oneof(
  { weight: 4, arbitrary: text(latin1(0x21, 0x7e), 0, 20).map((path) => `/${path}`) },
  fc.tuple(dangerous, printable).map(([danger, rest]) => `/a${danger}${rest}`),
  fc.constantFrom('*', 'http://other/', 'example.org:443', '/a b', '/caf\xe9'),
  anything,
);
const fieldName = fc.oneof(
  fc.constantFrom(
    'HTTP_HOST',
    'HTTP_Host',
    'HTTP_CONNECTION',
    'HTTP_UPGRADE',
    'HTTP_EXPECT',
    'HTTP_TRANSFER_ENCODING',
    'HTTP_TRANSFER-ENCODING',
    'HTTP_Transfer_Encoding',
    'HTTP_CONTENT_LENGTH',
    'HTTP_CONTENT-LENGTH',
    'HTTP_PROXY',
    'HTTP_Proxy',
    'HTTP_COOKIE',
    'HTTP_TE',
    'HTTP_X_A',
    'HTTP___PROTO__',
    'HTTP_',
    'CONTENT_TYPE',
    'SERVER_PROTOCOL',
    'https_X',
  ),
  text(fc.oneof(latin1(0x41, 0x5a), fc.constantFrom('_', '-', '.', '0', 'a')), 1, 12).map(
    (name) => `HTTP_${name}`,
  ),
  anything.map((name) => `HTTP_${name}`),
  anything.filter((name) => name !== '' && name !== 'CONTENT_LENGTH' && name !== 'SCGI'),
);
const fieldValue = fc.oneof(
  fc.constantFrom(
    'chunked',
    'Chunked',
    'identity',
    '0',
    '5',
    '005',
    '-1',
    'close',
    'keep-alive',
    'upgrade',
    'websocket',
    '100-continue',
    '',
  ),
  anything,
);

/** Headers a decoder lets through: of a singleton only the first. */
function decodable(entries: Entries): Entries {
  const seen = new Set<string>();
  return entries.filter(([name]) => {
    const isSecond = SINGLETON_NAMES.has(name) && seen.has(name);
    seen.add(name);
    return !isSecond;
  });
}

const entriesOf = (
  methods: fc.Arbitrary<string>,
  targets: fc.Arbitrary<string>,
  fields: fc.Arbitrary<[string, string]>,
) =>
  fc
    .tuple(methods, targets, fc.array(fields, { maxLength: 8 }))
    .map(([m, u, more]) => decodable([['REQUEST_METHOD', m], ['REQUEST_URI', u], ...more]));

/** The fields of a head that was built of `entries`, as the parser should have read them. */
function fieldsOf(entries: Entries, leftOut: ReadonlySet<string>): string[] {
  return entries
    .filter(([name]) => name.startsWith('HTTP_') && !leftOut.has(name))
    .map(
      ([name, value]) =>
        `${name.slice(5).toLowerCase().replaceAll('_', '-')}: ${value.replace(/^[ \t]+|[ \t]+$/g, '')}`,
    );
}

const readFields = ({ rawHeaders }: RequestReading): string[] =>
  rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [`${name.toLowerCase()}: ${rawHeaders[at + 1]}`] : []));

const NEVER_PASSED = new Set(['HTTP_PROXY']);
const NOT_RELAYED = new Set(
  [
    ...[
      'PROXY',
      'TRANSFER_ENCODING',
      'CONTENT_LENGTH',
      'CONTENT_TYPE',
      'EXPECT',
      'CONNECTION',
      'UPGRADE',
      'KEEP_ALIVE',
      'TE',
    ],
  ].map((name) => `HTTP_${name}`),
);

/** Fields the web server's framing becomes. */
const ADDED = new Set(['content-length', 'content-type', 'connection']);

function headOf(...args: Parameters<typeof standIn>): string | RuntimeError {
  try {
    return requestHead(standIn(...args));
  } catch (error) {
    if (error instanceof RuntimeError) return error;
    throw error;
  }
}

const readHead = async (head: string): Promise<RequestReading[]> =>
  (await readByNode(Buffer.from(head, 'latin1'))).requests;

function compare(seen: readonly unknown[], meant: readonly unknown[]): void {
  if (JSON.stringify(seen) === JSON.stringify(meant)) return;
  throw new Error(`read ${JSON.stringify(seen)} instead of ${JSON.stringify(meant)}`);
}

const version = fc.constantFrom<0 | 1>(0, 1);

test.serial('a passed head is refused, or it is that one request', async (t) => {
  const property = fc.asyncProperty(
    entriesOf(method, target, fc.tuple(fieldName, fieldValue)),
    version,
    async (entries, spoken) => {
      const head = headOf(entries, { kind: 'full', version: spoken });
      if (head instanceof RuntimeError) return;
      const requests = await readHead(head);
      const [request] = requests;
      // None: http.Server answers 400 to what its parser refuses.
      if (request === undefined) return;
      const seen = [requests.length, request.method, request.url, ...readFields(request)];
      compare(seen, [1, entries[0]?.[1], entries[1]?.[1], ...fieldsOf(entries, NEVER_PASSED)]);
    },
  );
  await holds(t, property);
});

test.serial('a relayed head is refused, or it is that one request with its whole body', async (t) => {
  const property = fc.asyncProperty(
    entriesOf(method, target, fc.tuple(fieldName, fieldValue)),
    fc.constantFrom('', 'x', 'GET /smuggled HTTP/1.1\r\n\r\n', '0\r\n\r\n'),
    async (entries, body) => {
      const head = headOf(entries, { kind: 'relay', earlyBytes: Buffer.from(body) });
      if (head instanceof RuntimeError) return;
      const requests = await readHead(head + body);
      const [request] = requests;
      if (request === undefined) return;
      const passed = fieldsOf(entries, NOT_RELAYED);
      const fields = readFields(request);
      const seen = [requests.length, request.method, request.url, ...fields.slice(0, passed.length)];
      compare(seen, [1, entries[0]?.[1], entries[1]?.[1], ...passed]);
      const added = fields.slice(passed.length).map((field) => field.split(':')[0]);
      compare(
        added.filter((name) => !ADDED.has(name ?? '')),
        [],
      );
      if (!request.upgraded) compare([request.body], [body]);
    },
  );
  await holds(t, property);
});

test.serial('a well-formed request is never refused', async (t) => {
  const name = text(latin1(0x41, 0x5a), 1, 8).map((each) => `HTTP_X_${each}`);
  const value = text(fc.oneof(latin1(0x20, 0x7e), latin1(0x80, 0xff)), 0, 30);
  const path = text(latin1(0x21, 0x7e), 0, 30).map((each) => `/${each}`);
  const property = fc.asyncProperty(
    entriesOf(fc.constantFrom('GET', 'DELETE', 'OPTIONS', 'PROPFIND'), path, fc.tuple(name, value)),
    fc.constantFrom('full', 'partial', 'relay'),
    async (entries, kind) => {
      const head = headOf([...entries, ['HTTP_HOST', 'example.org']], { kind });
      if (head instanceof RuntimeError) throw head;
      const requests = await readHead(head);
      const [request] = requests;
      if (requests.length !== 1 || !request?.isWhole)
        throw new Error(`${requests.length} requests, not one whole one`);
    },
  );
  await holds(t, property);
});
