// Real messages of real senders: what the decoder makes of them, however they are cut, and that the encoder can say the same.

import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import { encodeMessage, MessageDecoder } from '#scgi/message.js';
import { encodeNetstring } from '#scgi/netstring.js';
import { encodeScgiHeaders } from '#scgi/scgi-headers.js';
import { decodeChunks, everySplit, singleBytes } from './decode.js';
import { CONFORMANCE_FOLDER } from './vectors.js';

const capturesFolder = new URL('captures/', CONFORMANCE_FOLDER);
const table = readFileSync(new URL('captures.md', CONFORMANCE_FOLDER), 'utf8')
  .split('\n')
  .filter((line) => /^\| \S+\.scgi +\|/.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, file = '', dialect = '', headers = '', contentLength = '', rest = '']) => ({
    file,
    dialect,
    headers: Number(headers),
    contentLength: Number(contentLength),
    rest,
  }));

test('every capture is in the table and every row has its capture', (t) => {
  t.deepEqual(table.map(({ file }) => file).sort(), readdirSync(capturesFolder).sort());
});

for (const { file, dialect, headers, contentLength, rest } of table) {
  const bytes = readFileSync(new URL(file, capturesFolder));

  test(`${file} is decoded alike whole, split anywhere and byte by byte`, (t) => {
    const { outcome, certainAt } = decodeChunks(singleBytes(bytes));
    if (outcome.kind !== 'message') return t.fail(JSON.stringify(outcome));
    t.deepEqual(outcome.facts, {
      dialect: dialect as 'fd_pass' | 'plain',
      version: 0,
      ktls: 'none',
      contentLength,
      keepAlive: false,
    });
    t.is(outcome.headers.length, headers);
    t.is(outcome.earlyBytes, '');
    t.is(outcome.rest, rest);
    t.is(certainAt, bytes.length - rest.length, 'complete with the last byte of the message, not later');
    t.deepEqual(decodeChunks([bytes]).outcome, outcome);
    for (const [head, tail] of everySplit(bytes)) {
      t.deepEqual(decodeChunks([head, tail]).outcome, outcome, `split after ${head.length}`);
    }
  });

  test(`${file} comes out of the encoder as the bytes it was`, (t) => {
    const message = new MessageDecoder().push(bytes);
    if (message === undefined) return t.fail('incomplete');
    const entries = [...message.headers.entries()];
    t.deepEqual(Buffer.concat([encodeNetstring(encodeScgiHeaders(entries)), Buffer.from(rest)]), bytes);
    if (message.dialect === 'plain') return;
    // This sender's order is the encoder's own.
    t.deepEqual(encodeMessage({ headers: entries.slice(2) }), bytes);
  });
}

test('repeated headers of a capture keep their order', (t) => {
  const bytes = readFileSync(new URL('duplicates-cookies.scgi', capturesFolder));
  const message = new MessageDecoder().push(bytes);
  t.deepEqual(message?.headers.getAll('HTTP_COOKIE'), ['a=1', 'b=2']);
  t.deepEqual(message?.headers.getAll('HTTP_X_FORWARDED_FOR'), ['1.1.1.1', '2.2.2.2']);
});

test('a target with dot segments and escapes comes through as the client wrote it', (t) => {
  const bytes = readFileSync(new URL('get-query.scgi', capturesFolder));
  t.is(new MessageDecoder().push(bytes)?.headers.get('REQUEST_URI'), '/a%20b/../c?x=1&y=%2F');
});
