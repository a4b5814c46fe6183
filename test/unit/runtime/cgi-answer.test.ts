// From what http.ServerResponse writes to what a plain SCGI sender reads (RFC 3875 section 6), however the bytes are cut.
import test from 'ava';
import { CgiAnswer } from '#runtime/cgi-answer.js';
import { everySplit, singleBytes } from '../../conformance/decode.js';

function translate(chunks: readonly Buffer[]): string {
  const answer = new CgiAnswer();
  return Buffer.concat(chunks.flatMap((chunk) => answer.push(chunk))).toString('latin1');
}

const lines = (...each: string[]): string => each.map((line) => `${line}\r\n`).join('');

const answers: [title: string, written: string, expected: string][] = [
  [
    'a content length',
    `${lines('HTTP/1.1 200 OK', 'Content-Type: text/plain', 'Content-Length: 5', '')}hello`,
    `${lines('Status: 200 OK', 'Content-Type: text/plain', 'Content-Length: 5', '')}hello`,
  ],
  [
    'hop-by-hop fields, in any case',
    `${lines('HTTP/1.1 404 Not Found', 'CONNECTION: close', 'keep-alive: timeout=5', 'Proxy-Connection: x', 'Upgrade: h2c', 'X-A: 1', '')}`,
    `${lines('Status: 404 Not Found', 'X-A: 1', '')}`,
  ],
  ['no body, no fields', lines('HTTP/1.1 204 No Content', ''), lines('Status: 204 No Content', '')],
  ['no reason phrase', lines('HTTP/1.1 299 ', ''), lines('Status: 299', '')],
  ['no reason phrase and no space', lines('HTTP/1.0 299', ''), lines('Status: 299', '')],
  ['HTTP/1.0', `${lines('HTTP/1.0 200 OK', '')}to the end`, `${lines('Status: 200 OK', '')}to the end`],
  [
    'interim answers before the real one',
    `${lines('HTTP/1.1 100 Continue', '', 'HTTP/1.1 102 Processing', '', 'HTTP/1.1 103 Early Hints', 'Link: </a>', '', 'HTTP/1.1 200 OK', '')}x`,
    `${lines('Status: 200 OK', '')}x`,
  ],
  [
    'chunks',
    `${lines('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '')}5\r\nhello\r\nA\r\n, world...\r\n0\r\n\r\n`,
    `${lines('Status: 200 OK', '')}hello, world...`,
  ],
  [
    'chunks that contain what looks like framing',
    `${lines('HTTP/1.1 200 OK', 'transfer-encoding: Chunked', '')}c\r\n\r\n0\r\n\r\n5\r\nab\r\n1\r\n\n\r\n0\r\n\r\n`,
    `${lines('Status: 200 OK', '')}\r\n0\r\n\r\n5\r\nab\n`,
  ],
  [
    'trailers, which CGI has no place for',
    `${lines('HTTP/1.1 200 OK', 'Trailer: Digest', 'Transfer-Encoding: chunked', '')}2\r\nok\r\n0\r\nDigest: abc\r\nX: y\r\n\r\n`,
    `${lines('Status: 200 OK', '')}ok`,
  ],
  [
    'chunked without a byte',
    `${lines('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '')}0\r\n\r\n`,
    lines('Status: 200 OK', ''),
  ],
  [
    'an explicit Transfer-Encoding that http.ServerResponse does not chunk',
    `${lines('HTTP/1.1 200 OK', 'Transfer-Encoding: identity', '')}5\r\nhello`,
    `${lines('Status: 200 OK', '')}5\r\nhello`,
  ],
  [
    'repeated fields and bytes from 0x80 on',
    `${lines('HTTP/1.1 200 caf\xe9', 'Set-Cookie: a=1', 'Set-Cookie: b=\xff', '')}\x80\xff\0`,
    `${lines('Status: 200 caf\xe9', 'Set-Cookie: a=1', 'Set-Cookie: b=\xff', '')}\x80\xff\0`,
  ],
  [
    'a Status field of the handler, which would overrule the real one',
    lines('HTTP/1.1 200 OK', 'Status: 500', 'X-Status: 7', ''),
    lines('Status: 200 OK', 'X-Status: 7', ''),
  ],
  [
    'what is announced as chunks and is none: nothing of it can be told from framing',
    `${lines('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '')}plain text\r\n`,
    lines('Status: 200 OK', ''),
  ],
  [
    'no HTTP answer at all',
    `${lines('SSH-2.0-x', 'Content-Type: text/plain', '')}x`,
    `${lines('Status: 502', 'Content-Type: text/plain', '')}x`,
  ],
];

for (const [title, written, expected] of answers) {
  test(`${title}: the same at every split point`, (t) => {
    const bytes = Buffer.from(written, 'latin1');
    t.is(translate([bytes]), expected);
    t.is(translate(singleBytes(bytes)), expected, 'byte by byte');
    for (const chunks of everySplit(bytes)) {
      if (translate(chunks) !== expected) t.is(translate(chunks), expected, `cut after ${chunks[0].length}`);
    }
  });
}

test('a head of a megabyte in 64 KiB writes', (t) => {
  const fields = Array.from({ length: 1000 }, (_, at) => `X-Field-${at}: ${'v'.repeat(1000)}`);
  const bytes = Buffer.from(`${lines('HTTP/1.1 200 OK', ...fields, '')}body`, 'latin1');
  const chunks = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, at) =>
    bytes.subarray(at * 65_536, (at + 1) * 65_536),
  );
  t.is(translate(chunks), `${lines('Status: 200 OK', ...fields, '')}body`);
});

test('nothing leaves before the head is whole, and body bytes are not copied', (t) => {
  const answer = new CgiAnswer();
  t.deepEqual(answer.push(Buffer.from('HTTP/1.1 200 OK\r\nX: y\r\n')), []);
  t.deepEqual(answer.push(Buffer.from('\r\n')), [Buffer.from('Status: 200 OK\r\nX: y\r\n\r\n')]);
  const body = Buffer.from('body');
  t.is(answer.push(body)[0], body);
});
