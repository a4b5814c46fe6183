// Bytes that are no HTTP: what the client is told, what 'clientError' says, and that nothing after them is served. A web server
// does not pass on a head that is malformed, so most of these are second requests of a connection.
import type { RequestListener } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { exchange } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import type { RawClient } from '../helpers/raw-client.js';
import { connectionSubjects, type Subject, subjects } from './subjects.js';

guardDescriptors(test);

const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
const LONG = `X-Long: ${'v'.repeat(6000)}\r\n`;

interface ParseError extends NodeJS.ErrnoException {
  rawPacket?: Buffer;
  bytesParsed?: number;
}

const cases: readonly { what: string; bytes: string; answer: string }[] = [
  {
    what: 'no HTTP at all',
    bytes: 'NOT HTTP\r\n\r\n',
    answer: 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n',
  },
  {
    what: 'a header without a name',
    bytes: 'GET / HTTP/1.1\r\nHost: example.test\r\n: value\r\n\r\n',
    answer: 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n',
  },
  {
    what: 'both framings',
    bytes:
      'POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    answer: 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n',
  },
  {
    what: 'two lengths',
    bytes: 'POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef',
    answer: 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n',
  },
  {
    what: 'a head over maxHeaderSize',
    bytes: `GET / HTTP/1.1\r\nHost: example.test\r\n${LONG}\r\n`,
    answer: 'HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n',
  },
];

const answer: RequestListener = (_request, response) => response.end('served');

/** What a server tells its listener of a second request that is `bytes`. */
async function clientErrors(t: ExecutionContext, subject: Subject, bytes: string): Promise<ParseError[]> {
  const errors: ParseError[] = [];
  const { connect } = await subject.start(t, answer, { maxHeaderSize: 4096 }, (server) => {
    server.on('clientError', (error: ParseError, socket) => {
      errors.push(error);
      socket.end('HTTP/1.1 418 Own Answer\r\n\r\n');
    });
  });
  const client = await connect();
  t.is((await exchange(client, GET)).body, 'served');
  await client.send(bytes);
  t.is(await client.readToEnd(), 'HTTP/1.1 418 Own Answer\r\n\r\n');
  return errors;
}

for (const subject of connectionSubjects) {
  for (const { what, bytes, answer: expected } of cases) {
    test(`${subject.name}: ${what} is answered and ends the connection`, async (t) => {
      const { connect } = await subject.start(t, answer, { maxHeaderSize: 4096 });
      const client = await connect();
      t.is((await exchange(client, GET)).body, 'served');
      await client.send(bytes + GET);
      t.is(await client.readToEnd(), expected);
    });

    test(`${subject.name}: ${what} is a 'clientError' with its code and its bytes`, async (t) => {
      const [error, ...more] = await clientErrors(t, subject, bytes);
      // Codes are llhttp's, and differ from version to version.
      const [control] = await clientErrors(t, subjects[0] as Subject, bytes);
      t.regex(String(error?.code), /^HPE_/);
      t.is(error?.code, control?.code);
      t.is(error?.bytesParsed, control?.bytesParsed);
      t.is(error?.rawPacket?.toString('latin1'), bytes);
      t.deepEqual(more, []);
    });
  }

  test(`${subject.name}: a chunk without a size is answered 400, also of the first request`, async (t) => {
    const { connect } = await subject.start(t, (request) => request.resume().on('error', () => {}));
    for (const parts of [['nonsense\r\n'], ['5\r\nhello\r\n', 'nonsense\r\n']]) {
      const client = await connect();
      await client.send('POST / HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n');
      for (const part of parts) await client.send(part);
      t.is(await client.readToEnd(), 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    }
  });

  test(`${subject.name}: the preface of HTTP/2 closes the connection`, async (t) => {
    const { connect } = await subject.start(t, answer);
    const client = await connect();
    await exchange(client, GET);
    await client.send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    t.notRegex(await client.readToEnd(), /served/);
  });

  test(`${subject.name}: other clients do not notice`, async (t) => {
    const { connect } = await subject.start(t, answer);
    const [bad, good] = (await Promise.all([connect(), connect()])) as [RawClient, RawClient];
    await exchange(bad, GET);
    await exchange(good, GET);
    await bad.send('NOT HTTP\r\n\r\n');
    await bad.readToEnd();
    t.is((await exchange(good, GET)).body, 'served');
  });
}

for (const subject of subjects) {
  test(`${subject.name}: a first head over maxHeaderSize is answered 431`, async (t) => {
    const { connect } = await subject.start(t, () => t.fail('it was served'), { maxHeaderSize: 4096 });
    const client = await connect();
    await client.send(`GET / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n${LONG}\r\n`);
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 431 /);
  });

  test(`${subject.name}: a first head with both framings is answered 400`, async (t) => {
    const { connect } = await subject.start(t, () => t.fail('it was served'));
    const client = await connect();
    await client.send(
      'POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    );
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 400 /);
  });
}
