// The files of a Debian 13 in a folder, with nginx 1.26, OpenSSL 3.5 and a compiler: fetched with apt once into the cache. It is no
// installed system (no package was configured): something to chroot into, in a guest.
import { copyFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { unpackWithDependencies } from './apt.js';
import { fetchOnce } from './cache.js';

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

/** The folder from the cache; downloads it (140 MB) if it is not there. @throws if apt cannot fetch it */
export function debian13(): Promise<string> {
  return fetchOnce('debian-13', 'Debian 13', async (download) => {
    const root = join(download, 'unpacked');
    await unpackWithDependencies(download, root, 'trixie', PACKAGES);
    // What configuring the packages would have done of use here.
    for (const name of ['passwd', 'group']) {
      await copyFile(join(root, 'usr/share/base-passwd', `${name}.master`), join(root, 'etc', name));
    }
    await symlink('gcc', join(root, 'usr/bin/cc'));
    await symlink('mawk', join(root, 'usr/bin/awk'));
  });
}
