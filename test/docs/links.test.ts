import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import test from 'ava';
import { documents, root } from './markdown.js';

const all = new Map(documents().map((document) => [document.path, document]));

/** A path in the repository and an anchor; undefined for what lies elsewhere. */
function inRepository(from: string, target: string): { path: string; anchor: string } | undefined {
  if (/^[a-z]+:/.test(target)) return undefined;
  const [file = '', anchor = ''] = target.split('#');
  return { path: file === '' ? from : normalize(join(dirname(from), decodeURIComponent(file))), anchor };
}

test('every relative link leads to a file, every anchor to a heading', (t) => {
  const broken: string[] = [];
  for (const document of all.values()) {
    for (const link of document.links) {
      const to = inRepository(document.path, link.target);
      if (to === undefined) continue;
      const isThere = existsSync(join(root, to.path));
      const hasAnchor = to.anchor === '' || all.get(to.path)?.anchors.has(to.anchor) === true;
      if (!isThere || !hasAnchor) broken.push(`${document.at(link)} -> ${link.target}`);
    }
  }
  t.deepEqual(broken, []);
});

test('links to elsewhere are encrypted', (t) => {
  const plain = [...all.values()].flatMap((document) =>
    document.links
      .filter(({ target }) => /^[a-z]+:/.test(target) && !target.startsWith('https://'))
      .map((link) => `${document.at(link)} -> ${link.target}`),
  );
  t.deepEqual(plain, []);
});

test('every document can be reached from the README', (t) => {
  const reached = new Set(['README.md']);
  for (const path of reached) {
    for (const { target } of all.get(path)?.links ?? []) {
      const to = inRepository(path, target);
      // A folder shows its README.
      const file = to === undefined || all.has(to.path) ? to?.path : join(to.path, 'README.md');
      if (file !== undefined && all.has(file)) reached.add(file);
    }
  }
  t.deepEqual(
    [...all.keys()].filter((path) => !reached.has(path)),
    [],
  );
});
