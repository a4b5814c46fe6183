// Holds the names in the documents against the source: error codes, files, SCGI headers.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERRORS as RUNTIME_ERRORS } from '@fdpass/backend-runtime/errors';
import { ERRORS as WIRE_ERRORS } from '@fdpass/scgi-fdpass/errors';
import test from 'ava';
import { documents, root } from './markdown.js';

/** Codes without a table: the loader's, and a process warning. */
const OTHER_CODES = ['ERR_FDPASS_PLATFORM', 'ERR_FDPASS_ADDON', 'FDPASS_WARN_FD_LEAK'];

const all = documents().map(({ path }) => ({ path, text: readFileSync(join(root, path), 'utf8') }));

test('every error code in a document exists', (t) => {
  const codes = new Set([...Object.keys(WIRE_ERRORS), ...Object.keys(RUNTIME_ERRORS), ...OTHER_CODES]);
  const pattern = /\b(?:(?:SCGI|FDPASS|BKR)_(?:ERR|WARN)|ERR_FDPASS)_[A-Z][A-Z_]*[A-Z]\b/g;
  const unknown = all.flatMap(({ path, text }) =>
    (text.match(pattern) ?? []).filter((code) => !codes.has(code)).map((code) => `${path}: ${code}`),
  );
  t.deepEqual(unknown, []);
});

test('every file in a tree exists', (t) => {
  let count = 0;
  for (const { path, blocks } of documents()) {
    for (const { mark, text } of blocks.filter(({ mark }) => mark?.name === 'tree')) {
      for (const name of text.match(/(?<![\w/.])[\w-]+(?:\/[\w-]+)*(?:\.(?:ts|cjs|cc)|\/(?=\s))/g) ?? []) {
        const folder = mark?.argument ?? '';
        const isThere = [name, join('src', name)].some((file) => existsSync(join(root, folder, file)));
        t.true(isThere, `${path}: ${join(folder, name)}`);
        count++;
      }
    }
  }
  t.true(count > 0);
});

test('the variables in protocol.md are those the source knows', (t) => {
  const protocol = all.find(({ path }) => path === 'docs/protocol.md')?.text ?? '';
  const source = ['connection-info.ts', 'request-head.ts', 'intake.ts']
    .map((file) => readFileSync(join(root, 'packages/backend-runtime/src', file), 'utf8'))
    .concat(readFileSync(join(root, 'packages/scgi-fdpass/src/scgi-headers.ts'), 'utf8'))
    .join('\n');
  const named =
    protocol.match(/`(?:HTTP|REMOTE|SERVER|REQUEST|FD_PASS|KTLS|QUERY|CONTENT)_[A-Z_]+[A-Z]`/g) ?? [];
  t.true(named.length > 0);
  for (const name of new Set(named)) t.true(source.includes(`'${name.slice(1, -1)}'`), name);
});

test('operations.md names the errors a server logs', (t) => {
  const source = readFileSync(join(root, 'packages/backend-runtime/src/server.ts'), 'utf8');
  const logged = /const LOGGED = [^(]*\(\[([^\]]*)\]/.exec(source)?.[1]?.match(/BKR_\w+/g);
  const operations = all.find(({ path }) => path === 'docs/operations.md')?.text ?? '';
  const named = /what somebody should act on: ([^.]*)\./.exec(operations)?.[1]?.match(/BKR_\w+/g);
  t.deepEqual(named?.sort(), logged?.sort());
});
