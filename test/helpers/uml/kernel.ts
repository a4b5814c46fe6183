// User-Mode Linux kernels: Debian's packages, fetched with apt once into the cache. Boots nothing.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DebianRelease, unpack, unpackOwn } from './apt.js';
import { fetchOnce, run } from './cache.js';

export interface UmlKernel {
  /** The kernel: a program. */
  readonly program: string;
  /** Paths of those of these modules that it has, and of what they need, in the order to load them in. */
  modulePaths(names: readonly string[]): string[];
}

const PACKAGE = 'user-mode-linux';
const PROGRAM = 'usr/bin/linux.uml';

/**
 * The kernel from the cache; downloads it (40 MB) if it is not there.
 * @param release whose kernel: Linux 6.12 of trixie, the newest of forky. @default this machine's own
 * @throws if apt cannot fetch it
 */
export async function umlKernel(release?: DebianRelease): Promise<UmlKernel> {
  const folder = await (release === undefined ? ownKernel() : kernelOf(release));
  const versions = join(folder, 'usr/lib/uml/modules');
  const [version = ''] = readdirSync(versions);
  const needs = readDependencies(join(versions, version, 'modules.dep'));
  return {
    program: join(folder, PROGRAM),
    modulePaths: (names) => {
      const paths = names.flatMap((name) => {
        const found = [...needs.keys()].find((path) => path.endsWith(`/${name}.ko`));
        return found === undefined ? [] : [...(needs.get(found) ?? []), found];
      });
      return [...new Set(paths)].map((path) => join(versions, version, path));
    },
  };
}

const ownKernel = (): Promise<string> =>
  fetchOnce(PACKAGE, `the package ${PACKAGE}`, (download) =>
    unpackOwn(download, join(download, 'unpacked'), [PACKAGE]),
  );

/** With the C library it was linked with, which may be newer than this machine's. */
const kernelOf = (release: DebianRelease): Promise<string> =>
  fetchOnce(`${PACKAGE}-${release}`, `the package ${PACKAGE} of ${release}`, async (download, final) => {
    const root = join(download, 'unpacked');
    await unpack(download, root, release, [PACKAGE, 'libc6']);
    const tools = join(download, 'tools');
    await unpackOwn(download, tools, ['patchelf']);
    const libraries = 'usr/lib/x86_64-linux-gnu';
    const interpreter = join(final, libraries, 'ld-linux-x86-64.so.2');
    const settings = ['--set-interpreter', interpreter, '--set-rpath', join(final, libraries)];
    await run(join(tools, 'usr/bin/patchelf'), [...settings, join(root, PROGRAM)]);
  });

/** modules.dep: `path: what it needs`, what is to be loaded first at the end. */
function readDependencies(file: string): Map<string, string[]> {
  const lines = readFileSync(file, 'latin1').trim().split('\n');
  return new Map(
    lines.map((line) => {
      const [path = '', needed = ''] = line.split(':');
      return [path, needed.trim().split(' ').filter(Boolean).reverse()];
    }),
  );
}
