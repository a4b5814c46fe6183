// This machine as it would be if ...: a script runs as root over a copy-on-write view of the root file system, in namespaces of
// its own. What it installs, starts and deletes is gone with it; it sees no process and no network of the real machine.
import { execFile } from 'node:child_process';
import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What comes of a script: its exit status, and its standard output and error, in the order written. */
export interface Outcome {
  readonly status: number | string;
  readonly output: string;
}

// $1: an empty folder; $2: the folder to show; $3: the script. An overlay shows no mounts of the lower file system, so those that
// programs cannot do without are made anew. policy-rc.d would keep package scripts from touching services (container images).
const ENTER = `
mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
mount --rbind /dev root/dev
mount -t proc proc root/proc
mount -t tmpfs -o mode=755 tmpfs root/run
mkdir root/run/shown
mount --bind -o ro "$2" root/run/shown
rm -f root/usr/sbin/policy-rc.d
exec chroot root /bin/bash -euc "$3" 2>&1
`;

/**
 * Runs a bash script (with -e and -u) until its end, or kills it after `timeoutMs`. Needs CAP_SYS_ADMIN and unshare(1).
 * @param shown a folder of the real machine, read-only in /run/shown
 */
export async function onThrowawayMachine(
  shown: string,
  script: string,
  timeoutMs = 50_000,
): Promise<Outcome> {
  const mountPoint = await mkdtemp(join(tmpdir(), 'fdpass-machine-'));
  const namespaces = ['--mount', '--pid', '--net', '--ipc', '--uts', '--fork', '--kill-child'];
  const environment = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LC_ALL: 'C.UTF-8',
    DEBIAN_FRONTEND: 'noninteractive',
  };
  try {
    return await new Promise((resolve) => {
      execFile(
        'unshare',
        [...namespaces, 'sh', '-euc', ENTER, 'sh', mountPoint, shown, script],
        { env: environment, timeout: timeoutMs, killSignal: 'SIGTERM' },
        (error, stdout, stderr) => {
          resolve({
            status: error === null ? 0 : (error.code ?? error.signal ?? ''),
            output: stdout + stderr,
          });
        },
      );
    });
  } finally {
    await rmdir(mountPoint);
  }
}
