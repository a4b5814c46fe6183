// The User-Mode Linux kernel: Debian's package, fetched with apt once into a cache folder. Boots nothing.
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Runs a program to its end; rejects if it fails. */
export const run = promisify(execFile);

export interface UmlKernel {
  /** The kernel: a program. */
  readonly program: string;
  /** Paths of kernel modules and of what they need, in the order to load them in. @throws if there is none of a name */
  modulePaths(names: readonly string[]): string[];
}

/** Where what the tests download is kept between runs. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fdpass');
}

/** The kernel from the cache; downloads it (41 MB) if it is not there. @throws if apt cannot fetch it */
export async function umlKernel(): Promise<UmlKernel> {
  const folder = join(cacheFolder(), 'user-mode-linux');
  await fetchOnce(folder, 'the package user-mode-linux', async (download) => {
    // As root apt would become a user that may not write there, and warn that it does not.
    await run('apt-get', ['download', '-o', 'APT::Sandbox::User=root', 'user-mode-linux'], { cwd: download });
    const [archive = ''] = readdirSync(download);
    await run('dpkg-deb', ['-x', archive, 'unpacked'], { cwd: download });
  });
  const versions = join(folder, 'usr/lib/uml/modules');
  const [version = ''] = readdirSync(versions);
  const needs = readDependencies(join(versions, version, 'modules.dep'));
  return {
    program: join(folder, 'usr/bin/linux.uml'),
    modulePaths: (names) => {
      const paths = names.flatMap((name) => {
        const found = [...needs.keys()].find((path) => path.endsWith(`/${name}.ko`));
        if (found === undefined) throw new Error(`User-Mode Linux ${version} has no module ${name}`);
        return [...(needs.get(found) ?? []), found];
      });
      return [...new Set(paths)].map((path) => join(versions, version, path));
    },
  };
}

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

/**
 * Makes `folder` of what `fetch` puts into the part `unpacked` of the folder it is given, unless it is there. Another process may
 * do so at the same time: it appears whole, or not at all.
 * @throws if `fetch` does
 */
export async function fetchOnce(
  folder: string,
  what: string,
  fetch: (download: string) => Promise<void>,
): Promise<void> {
  if (existsSync(folder)) return;
  await mkdir(cacheFolder(), { recursive: true });
  const download = await mkdtemp(join(cacheFolder(), 'download-'));
  try {
    await fetch(download);
    await rename(join(download, 'unpacked'), folder).catch((error) => {
      if (!existsSync(folder)) throw error;
    });
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    throw new Error(`${what} could not be fetched: ${stderr.trim() || message}`);
  } finally {
    await rm(download, { recursive: true, force: true });
  }
}
