// Holds the tables of options in the documents against the source: names, defaults and bounds. A table is marked
// `<!-- options: INTERFACE -->` or `<!-- options: fdpass COMMAND -->`.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Receiver, type WireLimits, wireLimits } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { type FrontDoorOptions, frontDoorSettings } from '#runtime/front-door/options.js';
import { type HandoverOptions, resolveOptions } from '#runtime/options.js';
import { documents, root } from './markdown.js';

const SOURCES: Readonly<Record<string, string>> = {
  NativeBinding: 'native/addon/index.ts',
  HandoverOptions: 'packages/backend-runtime/src/options.ts',
  ListenPath: 'packages/scgi-fdpass/src/unix-listener.ts',
  ListenFd: 'packages/scgi-fdpass/src/unix-listener.ts',
  WireLimits: 'packages/scgi-fdpass/src/limits.ts',
  ReceiverOptions: 'packages/scgi-fdpass/src/receiver.ts',
  SenderOptions: 'packages/scgi-fdpass/src/sender.ts',
  OutgoingHandover: 'packages/scgi-fdpass/src/sender.ts',
  FrontDoorOptions: 'packages/backend-runtime/src/front-door/options.ts',
  FrontDoorRoute: 'packages/backend-runtime/src/front-door/options.ts',
  ClientLimits: 'packages/backend-runtime/src/client-limits.ts',
  ConnectionConstraint: 'packages/backend-runtime/src/routing/prefix-matcher.ts',
  AdmissionOptions: 'packages/backend-runtime/src/routing/admission.ts',
  LogtailOptions: 'packages/backend-runtime/src/logtail/logtail.ts',
  InterfaceStatsOptions: 'packages/backend-runtime/src/stats/options.ts',
  StatsPluginOptions: 'packages/backend-runtime/src/stats/fastify-stats.ts',
  InterfaceRule: 'packages/backend-runtime/src/ingress/interface-rules.ts',
  CollectorOptions: 'packages/backend-runtime/src/logtail/collector.ts',
  PrefixRoutes: 'packages/backend-runtime/src/routing/prefix-router.ts',
  PrefixRouterOptions: 'packages/backend-runtime/src/routing/prefix-router.ts',
  ConnectionPattern: 'packages/backend-runtime/src/routing/connection-table.ts',
  SendFileOptions: 'packages/backend-runtime/src/send-file.ts',
  GatewayOptions: 'packages/backend-runtime/src/testing/index.ts',
  ConnectionInfo: 'packages/backend-runtime/src/connection-info.ts',
  HandoverServerStats: 'packages/backend-runtime/src/server.ts',
  ReceiverStats: 'packages/scgi-fdpass/src/receiver.ts',
  FrontDoorStats: 'packages/backend-runtime/src/front-door/stats.ts',
  FrontDoorPartition: 'packages/backend-runtime/src/front-door/stats.ts',
};

interface Member {
  readonly isRequired: boolean;
  /** What `@default` says, if anything does. */
  readonly default: string | undefined;
}

/** The members an interface has itself, from its source. */
function members(name: string): Map<string, Member> {
  const source = readFileSync(join(root, SOURCES[name] ?? ''), 'utf8');
  const body = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n(.*?)^\\}`, 'ms').exec(source)?.[1];
  if (body === undefined) throw new Error(`${SOURCES[name]} has no interface ${name}`);
  const found = new Map<string, Member>();
  let comment = '';
  for (const line of body.split('\n')) {
    if (/^ {2}(\/\*\*| \*)/.test(line)) comment += `${line}\n`;
    const [, member, optional] = /^ {2}(?:readonly )?(\w+)(\??)[:(<]/.exec(line) ?? [];
    if (member === undefined) continue;
    const [, value] = /@default (.*?)(?: \*\/)?$/m.exec(comment) ?? [];
    found.set(member, { isRequired: optional === '', default: value });
    comment = '';
  }
  return found;
}

/** Rows by the code in their first cell. */
function rowsOf(rows: readonly (readonly string[])[]): Map<string, readonly string[]> {
  return new Map(rows.map((cells) => [cells[0]?.replaceAll('`', '') ?? '', cells]));
}

const tables = documents().flatMap((document) =>
  document.tables.map(({ mark, rows }) => ({ path: document.path, mark, rows: rowsOf(rows) })),
);
const interfaces = tables.filter(({ mark }) => mark.name === 'options' && mark.argument in SOURCES);
const commands = tables.filter(({ mark }) => mark.name === 'options' && mark.argument.startsWith('fdpass '));
const fields = tables.filter(({ mark }) => mark.name === 'fields');
/** Held by metrics.test.ts. */
const metrics = tables.filter(({ mark }) => mark.name === 'metrics');

/** `5_000`, `5000` and `'5000'` are one value. */
const plain = (value: string | undefined): string | undefined =>
  value?.replace(/(?<=\d)_(?=\d)/g, '').replace(/^['"`](.*)['"`]$/, '$1');

test('every mark of a table is one we know', (t) => {
  const known = new Set([...interfaces, ...commands, ...fields, ...metrics]);
  t.deepEqual(
    tables
      .filter((table) => !known.has(table))
      .map(({ path, mark }) => `${path}: ${mark.name} ${mark.argument}`),
    [],
  );
});

for (const { path, mark, rows } of interfaces) {
  test(`${path} lists the options of ${mark.argument} and their defaults`, (t) => {
    const expected = members(mark.argument);
    t.deepEqual([...rows.keys()], [...expected.keys()]);
    for (const [name, member] of expected) {
      const inSource = member.isRequired ? 'required' : (plain(member.default) ?? 'none');
      // Interfaces whose every member has a default require them only of the code that fills them in.
      const isFilledIn = member.isRequired && member.default !== undefined;
      t.is(plain(rows.get(name)?.[2]), isFilledIn ? plain(member.default) : inSource, name);
    }
  });
}

for (const { path, mark, rows } of fields) {
  test(`${path} lists the fields of ${mark.argument}`, (t) => {
    const names = mark.argument.split(' and ').flatMap((name) => [...members(name).keys()]);
    t.deepEqual([...rows.keys()].sort(), [...new Set(names)].sort());
  });
}

test('configuration.md names the options a server takes from the receiver', (t) => {
  const source = readFileSync(join(root, SOURCES.HandoverOptions ?? ''), 'utf8');
  const picked = /Pick<\s*ReceiverOptions,([^>]*)>/.exec(source)?.[1]?.match(/\w+/g) ?? [];
  const text = readFileSync(join(root, 'docs', 'configuration.md'), 'utf8');
  const named = /and these of the \[receiver\]\(#receiver\): (.*)\.$/m.exec(text)?.[1]?.match(/\w+/g);
  t.deepEqual(named, picked);
});

test('protocol.md has the default limits', (t) => {
  const text = readFileSync(join(root, 'docs', 'protocol.md'), 'utf8');
  const limits = /^## Limits\n(.*?)^## /ms.exec(text)?.[1] ?? '';
  for (const value of Object.values(wireLimits())) t.regex(limits, new RegExp(`\\| ${value} +\\|`));
});

/** What applies the options of an interface; it throws for a value out of bounds. */
const APPLY: Readonly<Record<string, (options: Record<string, number>) => unknown>> = {
  HandoverOptions: (options) => resolveOptions(options as HandoverOptions),
  WireLimits: (options) => wireLimits(options as Partial<WireLimits>),
  FrontDoorOptions: (options) =>
    frontDoorSettings({ listeners: [{ port: 0, to: '/x' }], ...(options as Partial<FrontDoorOptions>) }),
};

for (const { path, mark, rows } of interfaces.filter(({ mark }) => mark.argument in APPLY)) {
  test(`${path} is right about the bounds of ${mark.argument} and what is applied without them`, (t) => {
    const apply = APPLY[mark.argument] as (options: Record<string, number>) => Record<string, unknown>;
    const bounded = [...rows].filter(([, cells]) => /^\d+ to \d+$/.test(cells[1] ?? ''));
    t.true(bounded.length > 0);
    for (const [name, [, bounds = '', fallback]] of bounded) {
      const [min = Number.NaN, max = Number.NaN] = bounds.split(' to ').map(Number);
      t.is(apply({})[name], Number(fallback), name);
      for (const value of [min, max]) t.is(apply({ [name]: value })[name], value, name);
      for (const value of [min - 1, max + 1, min + 0.5])
        t.throws(() => apply({ [name]: value }), undefined, name);
    }
  });
}

test('configuration.md is right about the bounds of a receiver', (t) => {
  const rows = interfaces.find(({ mark }) => mark.argument === 'ReceiverOptions')?.rows ?? new Map();
  const bounded = [...rows].filter(([, cells]) => /^\d+ to \d+$/.test(cells[1] ?? ''));
  t.true(bounded.length > 0);
  for (const [name, [, bounds = '']] of bounded) {
    const [min, max] = bounds.split(' to ').map(Number);
    for (const value of [min, max]) t.notThrows(() => new Receiver({ [name]: value }), name);
    for (const value of [min - 1, max + 1]) {
      t.throws(() => new Receiver({ [name]: value }), { code: 'SCGI_ERR_LIMIT_OPTION' }, name);
    }
  }
});

for (const { path, mark, rows } of commands) {
  test(`${path} lists the options of ${mark.argument} and their defaults`, (t) => {
    const bin = join(root, 'packages', 'backend-runtime', 'bin', 'fdpass.js');
    const [, command = ''] = mark.argument.split(' ');
    const { stdout } = spawnSync(process.execPath, [bin, command, '--help'], { encoding: 'utf8' });
    const help = (/^Options:\n(.*)/ms.exec(stdout)?.[1] ?? '')
      .split(/^ {2}(?=-)/m)
      .filter((text) => text !== '' && !text.startsWith('-h,'))
      .map((text) => {
        const [, flags = '', about = ''] = /^(.*?) {2,}(.*)$/s.exec(text.replace(/\n\s*/g, ' ')) ?? [];
        return `${flags} ${/default: ([^),]+)\)/.exec(about)?.[1]?.replaceAll('"', '') ?? 'none'}`;
      });
    t.deepEqual(
      [...rows].map(([flags, cells]) => `${flags} ${cells[2]}`),
      help,
    );
  });
}
