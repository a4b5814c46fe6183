// Type-checks every JavaScript and TypeScript block of every document, strictly. A fragment has what it needs in a comment before
// it that begins with `<!-- given`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type Block, type Document, documents, root } from './markdown.js';

const LANGUAGES = new Set(['js', 'ts']);

/** The block as a module whose line numbers are the document's. */
function moduleText({ line, text, mark }: Block): string {
  const given = mark?.name === 'given' ? mark.argument : '';
  const before = given === '' ? [] : [...given.split('\n'), '', ''];
  return `${[...Array(line - 1 - before.length).fill(''), ...before, text].join('\n')}\nexport {};\n`;
}

const fileName = (document: Document, { language, line }: Block): string =>
  `${document.path.replaceAll('/', '__')}__${line}.${language}`;

test('every JavaScript and TypeScript block type-checks', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-examples-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const options = {
    allowJs: true,
    checkJs: true,
    noEmit: true,
    composite: false,
    declaration: false,
    declarationMap: false,
    sourceMap: false,
    // They import nothing but what a user would.
    verbatimModuleSyntax: false,
  };
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: join(root, 'tsconfig.base.json'),
      compilerOptions: options,
      include: ['*.js', '*.ts'],
    }),
  );
  let count = 0;
  for (const document of documents()) {
    for (const block of document.blocks.filter(({ language }) => LANGUAGES.has(language))) {
      writeFileSync(join(folder, fileName(document, block)), moduleText(block));
      count++;
    }
  }
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { stdout, status } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' });
  const problems = stdout.replace(/^(\S+?)__\d+\.[jt]s\b/gm, (_whole, path: string) =>
    path.replaceAll('__', '/'),
  );
  t.is(problems, '');
  t.is(status, 0);
  t.true(count > 0);
});
