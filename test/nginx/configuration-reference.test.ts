// Holds native/nginx/README.md against the C source, both ways: directives with their contexts, arguments and defaults, variables, the
// names that are sent and that are reserved, and the reasons that are logged.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { documents, root } from '../docs/markdown.js';

const folder = join(root, 'native/nginx/src');
const sources = new Map(
  readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')] as const),
);
/** With the pieces of a text put together, and its quotes as the log has them. */
const plain = (text: string): string => text.replace(/"\s*\n\s*"/g, '').replaceAll('\\"', "'");
const source = (part: string): string => sources.get(`ngx_http_fd_pass_${part}.c`) ?? '';
const path = 'native/nginx/README.md';
const readme = readFileSync(join(root, path), 'utf8');

/** The text of a section, without its heading. */
function section(heading: string): string {
  const level = /^#+/.exec(heading)?.[0] ?? '';
  const [, text] = readme.split(`\n${heading}\n`);
  if (text === undefined) throw new Error(`${path} has no ${heading}`);
  return text.split(new RegExp(`^#{2,${level.length}} `, 'm'))[0] as string;
}

interface Directive {
  readonly contexts: readonly string[];
  /** Least and most. */
  readonly arguments: readonly [number, number];
  /** In nginx's words; — for none. */
  readonly default: string;
}

const CONTEXTS: Readonly<Record<string, string>> = {
  NGX_HTTP_MAIN_CONF: 'http',
  NGX_HTTP_SRV_CONF: 'server',
  NGX_HTTP_LOC_CONF: 'location',
  NGX_HTTP_LIF_CONF: 'if in location',
};
const ARGUMENTS: Readonly<Record<string, readonly [number, number]>> = {
  NGX_CONF_TAKE1: [1, 1],
  NGX_CONF_TAKE23: [2, 3],
};

/** By the name of the field it is merged into. A time is in milliseconds. */
const merged = new Map(
  [...source('module').matchAll(/ngx_conf_merge_(msec|uint)_value\(conf->(\w+),\s+prev->\2,\s+(\d+)\)/g)].map(
    ([, type, field, value]) => [field, { isTime: type === 'msec', value: Number(value) }] as const,
  ),
);

const HOUR_MS = 3_600_000;
const timeText = (ms: number): string =>
  ms === 0 ? '0' : ms % HOUR_MS === 0 ? `${ms / HOUR_MS}h` : `${ms / 1000}s`;

function directivesOfSource(): Map<string, Directive> {
  const table = /ngx_http_fd_pass_commands\[\] = \{(.*?)ngx_null_command/s.exec(source('module'))?.[1] ?? '';
  const found = new Map<string, Directive>();
  for (const [, name = '', flags = '', rest = ''] of table.matchAll(
    /\{ ngx_string\("(\w+)"\),\s*([A-Z0-9_|\s]+),(.*?)\}/gs,
  )) {
    const all = flags.split('|').map((each) => each.trim());
    const unknown = all.filter((flag) => !(flag in CONTEXTS) && !(flag in ARGUMENTS));
    if (unknown.length > 0) throw new Error(`the test does not know ${unknown.join()}`);
    const field = merged.get(/offsetof\(\w+, (\w+)\)/.exec(rest)?.[1] ?? '');
    found.set(name, {
      contexts: all.flatMap((flag) => CONTEXTS[flag] ?? []),
      arguments: all.flatMap((flag) => ARGUMENTS[flag] ?? []) as unknown as [number, number],
      default: field === undefined ? '—' : field.isTime ? timeText(field.value) : `${field.value}`,
    });
  }
  return found;
}

function directivesOfReadme(): Map<string, Directive> {
  const pattern = /^### (\w+)\n\n```text\nSyntax: {2}(\w+) (.*);\nDefault: (.*)\nContext: (.*)\n```$/gm;
  return new Map(
    [...section('## Directives').matchAll(pattern)].map(
      ([, name = '', named, args = '', value = '', contexts = '']) => {
        if (named !== name) throw new Error(`### ${name} has the syntax of ${named}`);
        const all = args.split(' ');
        const least = all.filter((each) => !each.startsWith('[')).length;
        return [name, { contexts: contexts.split(', '), arguments: [least, all.length], default: value }];
      },
    ),
  );
}

/** In the order of appearance, each once. */
const found = (text: string, pattern: RegExp): string[] => [
  ...new Set([...text.matchAll(pattern)].flatMap(([, name]) => name ?? [])),
];

test('the directives are those of the source, with their contexts, arguments and defaults', (t) => {
  const fromSource = directivesOfSource();
  t.true(fromSource.size >= 10);
  t.deepEqual(Object.fromEntries(directivesOfReadme()), Object.fromEntries(fromSource));
  t.deepEqual(found(section('## Directives'), /^### (\w+)$/gm), [...fromSource.keys()]);
});

test('the variables are those of the source', (t) => {
  const names = found(source('variables'), /\{ ngx_string\("(\w+)"\), NULL,/g);
  t.is(names.length, 3);
  t.deepEqual(found(section('## Variables'), /^\| `\$(\w+)`/gm), names);
});

test('the headers are those of the source, in the order they are sent in', (t) => {
  const rows = section('## What the backend is told').match(/^\| `.*?(?= +\| )/gm) ?? [];
  const sent = found(source('message'), /ngx_http_fd_pass_add(?:_indexed)?\(&?b, "(\w+)"/g);
  t.true(sent.length >= 15);
  // FD_PASS_LOCATION is added by a function of its own, further below in the source.
  t.deepEqual(found(rows.join('\n'), /`([A-Z_]+)`/g), sent);
});

test('the names that cannot be set are those of the source', (t) => {
  const table = /ngx_http_fd_pass_reserved\[\] = \{(.*?)ngx_null_string/s.exec(source('message'))?.[1] ?? '';
  const sentence = /cannot be set: (.*?)\.\n/s.exec(section('### fd_pass_param'))?.[1] ?? '';
  t.deepEqual(found(sentence, /`(\w+)`/g), found(table, /ngx_string\("(\w+)"\)/g));
});

test('the reasons are those of the source', (t) => {
  const reasons = [...sources.values()]
    .map(plain)
    .flatMap((text) => [
      ...(text.match(/\*reason = [^;]*;/g) ?? []).flatMap((each) => found(each, /"([^"]+)"/g)),
      ...found(text, /ngx_http_fd_pass_(?:next|decline)\(ctx, [^";]*"([^"]+)"\)/g),
    ]);
  const [, table = ''] = section('## What is logged').split('\n| REASON');
  t.deepEqual(found(table.replaceAll('"', "'"), /^\| `([^`]+)` +\|/gm).sort(), [...new Set(reasons)].sort());
});

test('what is said to be logged is in the source', (t) => {
  const all = plain([...sources.values()].join('\n'));
  const [table = ''] = section('## What is logged').split('\n| REASON');
  const lines = found(table, /^\| `([^`]+)` +\|/gm);
  t.true(lines.length >= 10);
  for (const line of lines) {
    // Up to what differs each time: a status, a name, a reason.
    const pieces = line.split(/\d{3}|@relay|REASON|…/).filter((piece) => piece.length > 3);
    for (const piece of pieces) t.true(all.includes(piece.replaceAll('"', "'")), piece);
  }
});

test('the list of sections is complete', (t) => {
  const document = documents().find((each) => each.path === path);
  t.truthy(document);
  const [list = ''] = readme.split('\n## ');
  t.deepEqual(found(list, /^- \[(.*)\]\(#/gm), found(readme, /^## (.*)$/gm));
});
