// Finds and loads what `<app>` names: a module or a package folder whose default export is a Fastify plugin.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { FastifyPluginAsync, FastifyPluginCallback, fastify } from 'fastify';
import { createJiti } from 'jiti';
import { RuntimeError } from '../errors.js';
import { placeOf } from './failure.js';

export type AppPlugin = FastifyPluginAsync | FastifyPluginCallback;

export interface LoadedApp {
  readonly plugin: AppPlugin;
  /** The application's own Fastify, so that its plugins and ours agree on one. */
  readonly fastify: typeof fastify;
}

const TYPESCRIPT = /\.[cm]?tsx?$/;
const INDEX_FILES = ['index.js', 'index.mjs', 'index.ts', 'src/index.js', 'src/index.ts'];

/** @throws `BKR_ERR_APP` if there is no such module, it does not load, or it exports no plugin */
export async function loadApp(app: string): Promise<LoadedApp> {
  const file = appFile(app);
  const module = await importModule(file).catch((cause) => {
    throw new RuntimeError('BKR_ERR_APP', app, 'does not load', { cause: located(cause, file) });
  });
  const plugin = defaultExport(module);
  if (typeof plugin !== 'function') {
    throw new RuntimeError('BKR_ERR_APP', app, 'has no Fastify plugin as its default export');
  }
  return { plugin: plugin as AppPlugin, fastify: await ownFastify(app, file) };
}

/** The module file that `<app>` stands for. @throws `BKR_ERR_APP` */
export function appFile(app: string): string {
  const path = resolve(app);
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) throw new RuntimeError('BKR_ERR_APP', app, 'does not exist');
  if (!stats.isDirectory()) return path;
  const candidates = [...packageEntry(app, path), ...INDEX_FILES];
  const found = candidates.map((file) => join(path, file)).find((file) => existsSync(file));
  if (found === undefined) {
    throw new RuntimeError('BKR_ERR_APP', app, `has none of ${candidates.join(', ')} (built yet?)`);
  }
  return found;
}

function packageEntry(app: string, folder: string): string[] {
  const file = join(folder, 'package.json');
  if (!existsSync(file)) return [];
  let manifest: { exports?: unknown; main?: string };
  try {
    manifest = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new RuntimeError('BKR_ERR_APP', app, 'has a package.json that cannot be read', { cause });
  }
  const { exports, main } = manifest;
  const root = typeof exports === 'object' && exports !== null && '.' in exports ? exports['.'] : exports;
  return [exportTarget(root), main].filter((entry) => typeof entry === 'string');
}

/** The first target for an ES module in Node.js, of conditional exports too. */
function exportTarget(entry: unknown): string | undefined {
  if (typeof entry === 'string') return entry;
  if (typeof entry !== 'object' || entry === null) return undefined;
  for (const [condition, target] of Object.entries(entry)) {
    if (condition === 'node' || condition === 'import' || condition === 'default')
      return exportTarget(target);
  }
  return undefined;
}

async function importModule(file: string): Promise<{ default?: unknown }> {
  if (!TYPESCRIPT.test(file)) return import(pathToFileURL(file).href);
  return createJiti(import.meta.url).import(file);
}

/** A CommonJS module that was compiled from `export default` has it one level down. */
function defaultExport(module: { default?: unknown }): unknown {
  const exported = module.default;
  const isCompiled = typeof exported === 'object' && exported !== null && 'default' in exported;
  return isCompiled ? exported.default : exported;
}

/** Node.js keeps the place of a syntax error in an ES module to itself until it prints the error: let it. */
function located(cause: unknown, file: string): unknown {
  if (!(cause instanceof SyntaxError) || placeOf(cause) !== undefined) return cause;
  const args = ['--input-type=module', '--eval', `import ${JSON.stringify(pathToFileURL(file).href)}`];
  const { stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 10_000 });
  const [place = ''] = /^file:\/\/.*:\d+$/m.exec(stderr) ?? [];
  cause.stack = `${place}\n${cause.stack}`;
  return cause;
}

async function ownFastify(app: string, file: string): Promise<typeof fastify> {
  try {
    return createRequire(file)('fastify');
  } catch {
    return import('fastify').then(
      (module) => module.fastify,
      (cause) => {
        throw new RuntimeError('BKR_ERR_APP', app, 'needs fastify, which is not installed', { cause });
      },
    );
  }
}
