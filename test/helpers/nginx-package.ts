// The Debian package of the nginx module for tests: builds it as nobody in particular would, and runs scripts on a throwaway
// machine that has the packages at hand. Says nothing about what the package should do.
import { execFile } from 'node:child_process';
import { chown, cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { onThrowawayMachine } from './throwaway-machine.js';

export const NAME = 'libnginx-mod-http-fdpass';
export const PUBLIC_NAME = 'libnginx-mod-http-fd-pass';
export const LINK = '50-mod-http-fdpass.conf';

const MODULE_SOURCES = fileURLToPath(new URL('../../../native/nginx', import.meta.url));
const NOBODY = 65_534;
const run = promisify(execFile);

/** The packages that package.sh made, until `remove()`. */
export interface BuiltPackages {
  /** The folder that package.sh was told to write to. */
  readonly output: string;
  /** The .deb files that package.sh named. */
  readonly files: readonly string[];
  /** The names of what is left in the folder for temporary files. */
  readonly leftBehind: readonly string[];
  remove(): Promise<void>;
}

/** Builds as a user who can write to two folders only, for output and for temporary files, without a network. Needs root. */
export async function buildPackages(): Promise<BuiltPackages> {
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-package-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true });
  const sources = join(folder, 'sources');
  const output = join(folder, 'output');
  const temporary = join(folder, 'temporary');
  try {
    await cp(MODULE_SOURCES, sources, { recursive: true, filter: (source) => basename(source) !== 'build' });
    await run('chmod', ['-R', 'a+rX', folder]);
    for (const writable of [output, temporary]) {
      await mkdir(writable);
      await chown(writable, NOBODY, NOBODY);
    }
    const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
    const { stdout } = await run('unshare', ['--net', ...asNobody, join(sources, 'package.sh'), output], {
      env: { PATH: process.env.PATH, TMPDIR: temporary, HOME: '/nonexistent' },
    });
    return { output, files: stdout.trimEnd().split('\n'), leftBehind: await readdir(temporary), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Shell functions for the scripts; nginx is configured with one server on a UNIX socket, which `configure_nginx` adds to. */
const PRELUDE = `
dpkg --purge ${NAME} ${PUBLIC_NAME} >/dev/null 2>&1 || true
module=/usr/lib/nginx/modules/ngx_http_fd_pass_module.so
links=/etc/nginx/modules-enabled
log=/var/log/nginx/error.log
with_fd_pass='location /app { fd_pass unix:/run/app.sock; }'

fact() { echo "fact $1: $2"; }
fact_if() { local title=$1; shift; fact "$title" "$("$@" >/dev/null 2>&1 && echo yes || echo no)"; }
fact_links() { fact "$1" "$(cd $links; echo $(ls | grep -E 'fd-?pass' || true))"; }
fact_state() { fact "$1" "$(dpkg-query -W -f '\${db:Status-Status}' $2)"; }
fact_answer() { fact "$1" "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket /run/site.sock http://site/)"; }
awaited() { for _ in {1..500}; do if "$@"; then return; fi; sleep 0.02; done; echo "in vain: $*"; return 1; }

install_ours() { dpkg --install /run/shown/${NAME}_*.deb; }
unpack_ours() { dpkg --unpack /run/shown/${NAME}_*.deb; }
configure_ours() { dpkg --configure ${NAME}; }

configure_nginx() {
  cat >/etc/nginx/nginx.conf <<END
include /etc/nginx/modules-enabled/*.conf;
pid /run/nginx.pid;
error_log $log notice;
worker_processes 1;
events {}
http { access_log off; server { listen unix:/run/site.sock; location / { return 204; } $1 } }
END
}
start_nginx() { rm -f $log; nginx; awaited has_started_workers 1; }
has_started_workers() { (( $(grep -c 'start worker processes' $log) >= $1 )); }
has_the_module() { grep -q fd_pass_module /proc/$(cat /run/nginx.pid)/maps; }
configure_nginx ''
`;

/** What a script found out. */
export interface Findings {
  /** From the `fact` functions: by title. */
  readonly facts: Readonly<Record<string, string>>;
  /** The lines that our package printed. */
  readonly said: readonly string[];
}

/** Runs a script on a throwaway machine with nginx and the packages. Asserts that every step of it succeeds. */
export async function runWithPackages(
  t: ExecutionContext,
  packages: BuiltPackages,
  script: string,
): Promise<Findings> {
  const { status, output } = await onThrowawayMachine(packages.output, PRELUDE + script);
  if (status !== 0) t.log(output);
  t.is(status, 0, 'every step succeeds');
  const facts = [...output.matchAll(/^fact (.*?): (.*)$/gm)].map(([, title, value]) => [title!, value!]);
  return {
    facts: Object.fromEntries(facts),
    said: output.split('\n').filter((line) => line.startsWith(`${NAME}: `)),
  };
}
