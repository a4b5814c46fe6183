// Packages of this machine's Debian or of another release, downloaded with apt and unpacked into a folder: nothing is installed or
// configured, no root is needed, and what this machine has installed is neither seen nor changed.
import { readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './cache.js';

/** Releases beside the machine's own: the stable one after 12, and the next. */
export const DEBIAN_RELEASES = ['trixie', 'forky'] as const;
export type DebianRelease = (typeof DEBIAN_RELEASES)[number];

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
// As root apt would become a user that may not write here, and warn that it does not.
const AS_ONESELF = ['-o', 'APT::Sandbox::User=root'];

/** Unpacks packages of this machine's Debian into `root`. @param folder scratch */
export async function unpackOwn(folder: string, root: string, packages: readonly string[]): Promise<void> {
  const archives = join(folder, 'own');
  await mkdir(archives, { recursive: true });
  await run('apt-get', ['download', ...AS_ONESELF, ...packages], { cwd: archives });
  await unpackAll(archives, root);
}

/** Unpacks packages of `release` into `root`. @param folder scratch */
export async function unpack(
  folder: string,
  root: string,
  release: DebianRelease,
  packages: readonly string[],
): Promise<void> {
  const options = await optionsFor(folder, release);
  const archives = join(folder, 'archives');
  await mkdir(archives);
  await run('apt-get', [...options, 'download', ...packages], { cwd: archives });
  await unpackAll(archives, root);
}

/** The same with all that they depend on. */
export async function unpackWithDependencies(
  folder: string,
  root: string,
  release: DebianRelease,
  packages: readonly string[],
): Promise<void> {
  const options = await optionsFor(folder, release);
  await run('apt-get', [...options, '--yes', '--download-only', 'install', ...packages]);
  await unpackAll(join(folder, 'cache', 'archives'), root);
}

async function unpackAll(archives: string, root: string): Promise<void> {
  const files = readdirSync(archives).filter((name) => name.endsWith('.deb'));
  // base-files first: it makes /lib and the others links into /usr.
  files.sort((a, b) => Number(b.startsWith('base-files_')) - Number(a.startsWith('base-files_')));
  for (const file of files) await run('dpkg-deb', ['-x', join(archives, file), root]);
}

/** The suites of `release` on the servers that this machine's apt uses. */
async function sources(release: DebianRelease): Promise<string> {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(SITE)']);
  const sites = new Set(String(stdout).split('\n').filter(Boolean));
  return [...sites]
    .filter((site) => /\/debian(-security)?\/?$/.test(site))
    .map((site) => {
      const suite = site.includes('debian-security') ? `${release}-security` : release;
      return `deb [signed-by=${KEYRING}] ${site} ${suite} main\n`;
    })
    .join('');
}

/** apt with folders of its own, its lists read. */
async function optionsFor(folder: string, release: DebianRelease): Promise<string[]> {
  for (const part of ['state/lists/partial', 'cache/archives/partial', 'parts']) {
    await mkdir(join(folder, part), { recursive: true });
  }
  await writeFile(join(folder, 'sources.list'), await sources(release));
  await writeFile(join(folder, 'status'), '');
  const settings = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Etc::SourceList': join(folder, 'sources.list'),
    'Dir::Etc::SourceParts': join(folder, 'parts'),
    'Dir::Etc::PreferencesParts': join(folder, 'parts'),
    'APT::Architecture': 'amd64',
    'APT::Architectures': 'amd64',
    'APT::Install-Recommends': 'false',
    'Acquire::Languages': 'none',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  options.push(...AS_ONESELF);
  await run('apt-get', [...options, 'update']);
  return options;
}
