// `fdpass serve` with every kind of application, behind a real handover, and with those it cannot serve.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openGateway } from '@fdpass/backend-runtime/testing';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { assertOneSentence, FdpassCommand, root, temporaryFolder } from '../helpers/fdpass-command.js';
import { answering, get, serve } from '../helpers/serve-command.js';

guardDescriptors(test);

const apps: Record<string, { app: string; files: Record<string, string> }> = {
  'a JavaScript module': { app: 'app.mjs', files: { 'app.mjs': answering('it') } },
  'a TypeScript module that imports another': {
    app: 'app.ts',
    files: {
      'app.ts':
        "import type { FastifyInstance } from 'fastify';\nimport { word } from './word.js';\n" +
        "export default async function app(app: FastifyInstance): Promise<void> { app.get('/', () => word); }\n",
      'word.ts': "export const word: string = 'it';\n",
    },
  },
  'a CommonJS module': {
    app: 'app.cjs',
    files: { 'app.cjs': "module.exports = (app, options, done) => { app.get('/', () => 'it'); done(); };\n" },
  },
  'a CommonJS module compiled from an export default': {
    app: 'app.cjs',
    files: {
      'app.cjs':
        "Object.defineProperty(exports, '__esModule', { value: true });\nexports.default = async (app) => { app.get('/', () => 'it'); };\n",
    },
  },
  'a package folder by its exports': {
    app: '.',
    files: {
      'package.json':
        '{"type":"module","main":"no.js","exports":{".":{"types":"./a.d.ts","import":"./a.js","require":"./no.cjs"}}}',
      'a.js': answering('it'),
    },
  },
  'a package folder by its main': {
    app: '.',
    files: { 'package.json': '{"type":"module","main":"./a.js"}', 'a.js': answering('it') },
  },
  'a package folder with an index.ts': {
    app: '.',
    files: {
      'package.json': '{"type":"module"}',
      'index.ts': answering('it').replace('(app)', '(app: any)'),
    },
  },
};
for (const [title, { app, files }] of Object.entries(apps)) {
  test.serial(`serves ${title}`, async (t) => {
    const cwd = temporaryFolder(t, files);
    await serve(t, [app, '--socket', 'app.sock'], { cwd });
    t.is(await get(t, join(cwd, 'app.sock')), 'it');
  });
}

test.serial('serves the demo from the root of the checkout, by the link npx finds', async (t) => {
  const socket = join(temporaryFolder(t), 'app.sock');
  const command = [join(root, 'node_modules', '.bin', 'fdpass')];
  await serve(t, ['packages/demo-app', '--socket', socket], { command });
  t.is(await get(t, socket, '/hello'), '{"hello":"world"}');
});

test.serial(
  'an application knows its connection and the request id without doing anything for it',
  async (t) => {
    const text =
      "export default async (app) => { app.get('/', (request) => ({ ...request.connectionInfo, id: request.id })); };";
    const cwd = temporaryFolder(t, { 'app.mjs': text });
    await serve(t, ['app.mjs', '--socket', 'app.sock'], { cwd });
    const gateway = await openGateway(join(cwd, 'app.sock'), {
      kind: 'full',
      variables: { REQUEST_ID: 'id-7' },
    });
    const info = (await (await fetch(gateway.url)).json()) as Record<string, unknown>;
    await gateway.close();
    t.is(info.handover, 'full');
    t.is(info.id, 'id-7');
    t.like(info.client, { address: '127.0.0.1' });
  },
);

const broken: [title: string, file: string, text: string, message: RegExp][] = [
  [
    'a syntax error',
    'app.mjs',
    'export default async () => {\n  oops oops\n};\n',
    /does not load \(SyntaxError: .*, at \S+\/app\.mjs:2\)/,
  ],
  [
    'a syntax error in TypeScript',
    'app.ts',
    'export default async () => {\n  oops oops\n};\n',
    /does not load \(.*app\.ts:2:\d+\)/,
  ],
  [
    'an error while loading',
    'app.mjs',
    "\n\nthrow new RangeError('first\\nsecond');\n",
    /does not load \(RangeError: first second, at \S+\/app\.mjs:3\)/,
  ],
  [
    'an import of nothing',
    'app.mjs',
    "import './gone.js';\n",
    /does not load \(Cannot find module '\S+\/gone\.js' imported from \S+\/app\.mjs\)/,
  ],
  ['no default export', 'app.mjs', 'export const app = 1;\n', /has no Fastify plugin as its default export/],
  [
    'a plugin that fails',
    'app.mjs',
    "export default async () => {\n  throw new Error('no database');\n};\n",
    /does not start \(no database, at \S+\/app\.mjs:2\)/,
  ],
  [
    'a plugin that fails with a timer running',
    'app.mjs',
    "setInterval(() => {}, 1000);\nexport default () => Promise.reject(new Error('x'));\n",
    /does not start \(x, at/,
  ],
  ['a package.json that is none', 'package.json', '{', /has a package\.json that cannot be read/],
  [
    'a folder with nothing to load',
    'package.json',
    '{"main":"./dist/a.js"}',
    /has none of \.\/dist\/a\.js, index\.js, .*\(built yet\?\)/,
  ],
];
for (const [title, file, text, message] of broken) {
  test.serial(`an application with ${title}: one sentence`, async (t) => {
    const cwd = temporaryFolder(t, { [file]: text });
    const ended = await FdpassCommand.run(
      t,
      ['serve', file.startsWith('app') ? file : '.', '--socket', 'app.sock'],
      { cwd },
    );
    assertOneSentence(t, ended, message);
    t.false(existsSync(join(cwd, 'app.sock')));
  });
}
