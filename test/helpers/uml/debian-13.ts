// The files of a Debian 13 in a folder, with nginx 1.26, OpenSSL 3.5 and a compiler: fetched with apt once into the cache folder. It
// is no installed system (no package was configured): something to chroot into, in a guest.
import { readdirSync } from 'node:fs';
import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder, fetchOnce, run } from './kernel.js';

/** What the module is built with and served by; apt adds what these need. */
const PACKAGES = [
  'nginx',
  'nginx-dev',
  'gcc',
  'make',
  'curl',
  'bash',
  'coreutils',
  'sed',
  'grep',
  'mawk',
].concat(['dash', 'base-files', 'base-passwd']);

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** The suites of Debian 13 on the servers that this machine's apt uses. */
async function sources(): Promise<string> {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(SITE)']);
  const sites = new Set(String(stdout).split('\n').filter(Boolean));
  return [...sites]
    .filter((site) => /\/debian(-security)?\/?$/.test(site))
    .map((site) => {
      const suite = site.includes('debian-security') ? 'trixie-security' : 'trixie';
      return `deb [signed-by=${KEYRING}] ${site} ${suite} main\n`;
    })
    .join('');
}

/** The folder from the cache; downloads it (140 MB) if it is not there. @throws if apt cannot fetch it */
export async function debian13(): Promise<string> {
  const folder = join(cacheFolder(), 'debian-13');
  await fetchOnce(folder, 'Debian 13', async (download) => {
    await fetchArchives(download);
    const archives = join(download, 'cache', 'archives');
    const root = join(download, 'unpacked');
    const files = readdirSync(archives).filter((name) => name.endsWith('.deb'));
    // base-files first: it makes /lib and the others links into /usr.
    files.sort((a, b) => Number(b.startsWith('base-files_')) - Number(a.startsWith('base-files_')));
    for (const file of files) await run('dpkg-deb', ['-x', join(archives, file), root]);
    // What configuring the packages would have done of use here.
    for (const name of ['passwd', 'group']) {
      await copyFile(join(root, 'usr/share/base-passwd', `${name}.master`), join(root, 'etc', name));
    }
    await symlink('gcc', join(root, 'usr/bin/cc'));
    await symlink('mawk', join(root, 'usr/bin/awk'));
  });
  return folder;
}

/** apt with folders of its own: it neither needs root nor sees what this machine has installed. */
async function fetchArchives(folder: string): Promise<void> {
  for (const part of ['state/lists/partial', 'cache/archives/partial', 'parts']) {
    await mkdir(join(folder, part), { recursive: true });
  }
  await writeFile(join(folder, 'sources.list'), await sources());
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
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  await run('apt-get', [...options, 'update']);
  await run('apt-get', [...options, '--yes', '--download-only', 'install', ...PACKAGES]);
}
