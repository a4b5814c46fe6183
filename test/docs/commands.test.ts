// Does what the documents say. Marks before a block: `file: NAME` saves it, `run` runs it, `start: TEXT` runs it in the background
// once it has printed TEXT, `prints` holds what the last run printed against the block (… stands for anything).
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { needs, program } from '../helpers/requirements.js';
import { DocumentRun } from './document-run.js';
import { type Block, type Document, documents, root } from './markdown.js';

guardDescriptors(test);

const RUN_MARKS = new Set(['file', 'run', 'start', 'prints']);
/** Of the other tests in this folder. */
const OTHER_MARKS = new Set(['given', 'tree']);

/** What blocks use and a machine may lack. */
const PROGRAMS = ['curl', 'python3'];

const all = documents();
const runnable = all.filter(({ blocks }) => blocks.some(({ mark }) => RUN_MARKS.has(mark?.name ?? '')));

/** The pattern of an expected output: … on a line of its own stands for any lines, elsewhere for the rest of a word or line. */
function pattern(expected: string): RegExp {
  const lines = expected
    .split('\n')
    .map((line) =>
      line === '…'
        ? '(?:.*\\n)*?'
        : `${line.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&').replaceAll('…', '.*')}\\n`,
    );
  return new RegExp(`^${lines.join('')}$`);
}

async function follow(document: Document, reader: DocumentRun): Promise<void> {
  let printed = '';
  const steps: Record<string, (block: Block, argument: string) => Promise<void> | void> = {
    file: ({ text }, name) => reader.save(name, text),
    run: async ({ text }) => {
      printed = await reader.run(text);
    },
    start: ({ text }, sign) => reader.start(text, sign),
    prints: (block) => {
      if (pattern(block.text).test(`${printed.replaceAll('\r\n', '\n').trimEnd()}\n`)) return;
      throw new Error(`${document.at(block)} promises other output than came:\n${printed}`);
    },
  };
  for (const block of document.blocks) {
    if (block.mark !== undefined) await steps[block.mark.name]?.(block, block.mark.argument);
  }
}

for (const document of runnable) {
  const programs = PROGRAMS.filter((name) => document.blocks.some(({ text }) => text.includes(`${name} `)));
  const declare = needs(test, ...programs.map((name) => program(name)));
  declare(`${document.path}: the commands do what it says`, async (t) => {
    const reader = new DocumentRun();
    try {
      await reader.choosePorts(document.blocks.map(({ text }) => text));
      await follow(document, reader);
      t.pass();
    } finally {
      await reader.close();
    }
  });
}

test('the README has commands that are run', (t) => {
  t.true(runnable.some(({ path }) => path === 'README.md'));
});

test('every mark before a block is one we know', (t) => {
  const unknown = all.flatMap((document) =>
    document.blocks
      .filter(({ mark }) => mark !== undefined && !RUN_MARKS.has(mark.name) && !OTHER_MARKS.has(mark.name))
      .map((block) => `${document.at(block)}: ${block.mark?.name}`),
  );
  t.deepEqual(unknown, []);
});

test('every npm script, test folder and fdpass command that a block names exists', (t) => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const commands = new Set(['serve', 'dev', 'front', 'decode', 'send']);
  const missing: string[] = [];
  for (const document of all) {
    for (const block of document.blocks.filter(({ language }) => language === 'sh')) {
      for (const [, name = ''] of block.text.matchAll(/\bnpm (?:run )?([a-z:]+)/g)) {
        if (!(name in scripts)) missing.push(`${document.at(block)}: npm ${name}`);
      }
      for (const [, folder = ''] of block.text.matchAll(/\bnpm test -- ([\w/.-]+)/g)) {
        if (!existsSync(join(root, 'test', folder))) missing.push(`${document.at(block)}: test/${folder}`);
      }
      for (const [, command = ''] of block.text.matchAll(/\bfdpass(?:\.js)? ([a-z]+)/g)) {
        if (!commands.has(command)) missing.push(`${document.at(block)}: fdpass ${command}`);
      }
    }
  }
  t.deepEqual(missing, []);
});
