// The Markdown of this repository as its tests see it: documents, fenced blocks with the mark before them, tables, links and
// anchors. Knows the few forms we write, not all of Markdown.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the checkout. */
export const root = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * A comment right before a block or a table, which readers do not see: `<!-- run -->`, `<!-- file: app.js -->`, or several lines
 * that begin with `<!-- given`.
 */
export interface Mark {
  readonly name: string;
  /** What stands behind the colon, or on the lines of its own; '' without one. */
  readonly argument: string;
}

/** A fenced block. */
export interface Block {
  /** Of its first line, counted from 1. */
  readonly line: number;
  /** 'sh', 'js', ...; '' if the fence names none. */
  readonly language: string;
  readonly text: string;
  readonly mark: Mark | undefined;
}

export interface Table {
  readonly mark: Mark;
  /** Cells of each row below the head, without the spaces around them. */
  readonly rows: readonly (readonly string[])[];
}

export interface Link {
  readonly line: number;
  readonly target: string;
}

const FENCE = /^(`{3,})(\w*)\s*$/;
const MARK = /^<!-- ([a-z]+)(?:: (.*))? -->$/;
const GIVEN = '<!-- given';

export class Document {
  /** Relative to the root. */
  readonly path: string;
  readonly blocks: readonly Block[];
  readonly tables: readonly Table[];
  readonly links: readonly Link[];
  /** What `#...` of a link to this document may name, as GitHub builds it from the headings. */
  readonly anchors: ReadonlySet<string>;

  constructor(path: string, text: string) {
    this.path = path;
    const lines = text.split('\n');
    const blocks: Block[] = [];
    const tables: Table[] = [];
    const links: Link[] = [];
    const anchors = new Set<string>();
    for (let at = 0; at < lines.length; at++) {
      const line = lines[at] ?? '';
      const [, fence, language = ''] = FENCE.exec(line) ?? [];
      const mark = markBefore(lines, at);
      if (fence !== undefined) {
        const end = lines.indexOf(fence, at + 1);
        if (end === -1) throw new Error(`${path}:${at + 1}: the block is not closed`);
        blocks.push({ line: at + 2, language, text: lines.slice(at + 1, end).join('\n'), mark });
        at = end;
      } else if (line.startsWith('|') && mark !== undefined) {
        const length = lines.slice(at).findIndex((each) => !each.startsWith('|'));
        tables.push({ mark, rows: lines.slice(at + 2, at + length).map(cells) });
      } else {
        for (const target of targets(line)) links.push({ line: at + 1, target });
        const heading = /^#{1,6} (.+)$/.exec(line)?.[1];
        if (heading !== undefined) addAnchor(anchors, heading);
      }
    }
    this.blocks = blocks;
    this.tables = tables;
    this.links = links;
    this.anchors = anchors;
  }

  /** Where a block or link is, as an editor takes it. */
  at({ line }: { line: number }): string {
    return `${this.path}:${line}`;
  }
}

function markBefore(lines: readonly string[], at: number): Mark | undefined {
  const line = lines[at - 1] ?? '';
  const [, name, argument = ''] = MARK.exec(line) ?? [];
  if (name !== undefined) return { name, argument };
  const begin = line === '-->' ? lines.lastIndexOf(GIVEN, at) : -1;
  return begin === -1 ? undefined : { name: 'given', argument: lines.slice(begin + 1, at - 1).join('\n') };
}

const cells = (row: string): string[] =>
  row
    .replaceAll('\\|', '\u0000')
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('\u0000', '|'));

function targets(line: string): string[] {
  const prose = line.replace(/`[^`]*`/g, '');
  const patterns = [/\]\(([^()\s]+)\)/g, /\b(?:src|srcset|href)="([^"]+)"/g];
  return patterns.flatMap((pattern) => [...prose.matchAll(pattern)].map(([, target = '']) => target));
}

/** Lower case, spaces to hyphens, no punctuation; a heading that comes again gets a number. */
function addAnchor(anchors: Set<string>, heading: string): void {
  const anchor = heading
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
  let unique = anchor;
  for (let nth = 1; anchors.has(unique); nth++) unique = `${anchor}-${nth}`;
  anchors.add(unique);
}

/** Where documents are written for readers; the Markdown below test/ is vectors for tests. */
const FOLDERS = ['.', 'docs', 'packages', 'native', 'deploy', 'bench'];
const NOT_OURS = new Set(['node_modules', 'dist', 'build', 'src', 'prebuilds']);

function markdownFiles(folder: string, isDeep: boolean): string[] {
  if (statSync(folder, { throwIfNoEntry: false }) === undefined) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = join(folder, entry.name);
    if (entry.isDirectory()) return isDeep && !NOT_OURS.has(entry.name) ? markdownFiles(file, true) : [];
    return entry.name.endsWith('.md') ? [file] : [];
  });
}

/** Every document for readers, in a stable order. */
export function documents(): Document[] {
  return FOLDERS.flatMap((folder) => markdownFiles(join(root, folder), folder !== '.'))
    .sort()
    .map((file) => new Document(relative(root, file), readFileSync(file, 'utf8')));
}
