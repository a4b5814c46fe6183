// What the tests download with apt is kept between runs, each in a folder of its own that appears whole or not at all.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Runs a program to its end; rejects if it fails. */
export const run = promisify(execFile);

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fdpass');
}

/**
 * The folder `name` of the cache, made of what `fetch` puts into the part `unpacked` of the folder it is given, unless it is there.
 * Another process may do so at the same time.
 * @param what for the error
 * @param fetch is told where `unpacked` will be
 * @throws if `fetch` does
 */
export async function fetchOnce(
  name: string,
  what: string,
  fetch: (download: string, final: string) => Promise<void>,
): Promise<string> {
  const folder = join(cacheFolder(), name);
  if (existsSync(folder)) return folder;
  await mkdir(cacheFolder(), { recursive: true });
  const download = await mkdtemp(join(cacheFolder(), 'download-'));
  try {
    await fetch(download, folder);
    await rename(join(download, 'unpacked'), folder).catch((error) => {
      if (!existsSync(folder)) throw error;
    });
    return folder;
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    throw new Error(`${what} could not be fetched: ${stderr.trim() || message}`);
  } finally {
    await rm(download, { recursive: true, force: true });
  }
}
