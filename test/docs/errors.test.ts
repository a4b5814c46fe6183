// Holds the tables of errors against docs/errors.md and against the source: documented, and thrown somewhere.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERRORS as RUNTIME_ERRORS } from '@fdpass/backend-runtime/errors';
import { ERRORS as WIRE_ERRORS } from '@fdpass/scgi-fdpass/errors';
import test from 'ava';
import { root } from './markdown.js';

const tables = {
  'wire-errors': { errors: WIRE_ERRORS, source: 'packages/scgi-fdpass/src' },
  'runtime-errors': { errors: RUNTIME_ERRORS, source: 'packages/backend-runtime/src' },
} as const;

const documented = readFileSync(join(root, 'docs/errors.md'), 'utf8');

function section(name: string): string {
  const [, text] = new RegExp(`<!-- ${name} -->(.*)<!-- /${name} -->`, 's').exec(documented) ?? [];
  if (text === undefined) throw new Error(`docs/errors.md has no section ${name}`);
  return text;
}

/** The source of a package without its table. */
function sourceOf(folder: string): string {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'errors.ts')
    .map((file) => readFileSync(join(root, folder, file), 'utf8'))
    .join('\n');
}

for (const [name, { errors, source }] of Object.entries(tables)) {
  test(`docs/errors.md lists every code of ${source} with its scope, and no other`, (t) => {
    const rows = [...section(name).matchAll(/^\| `(\w+)` +\| (\w+) +\| (?=\S)/gm)];
    t.deepEqual(
      rows.map(([, code, scope]) => `${code} ${scope}`),
      Object.entries(errors).map(([code, { scope }]) => `${code} ${scope}`),
    );
  });

  test(`every code of ${source} is used there`, (t) => {
    const text = sourceOf(source);
    t.deepEqual(
      Object.keys(errors).filter((code) => !new RegExp(`['"]${code}['"]`).test(text)),
      [],
    );
  });
}

test('no code is in both tables', (t) => {
  t.deepEqual(
    Object.keys(WIRE_ERRORS).filter((code) => code in RUNTIME_ERRORS),
    [],
  );
});
