// Which nginx the suites are about: this machine's, or the one of another root (FDPASS_NGINX_ROOT) with a module built there
// (FDPASS_NGINX_MODULE).
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = process.env.FDPASS_NGINX_ROOT;

/** The module's path, under the same name in both roots. */
export const modulePath =
  process.env.FDPASS_NGINX_MODULE ??
  fileURLToPath(new URL('../../../native/nginx/build/ngx_http_fd_pass_module.so', import.meta.url));

/** The web server's Debian is another than the clients'. */
export const isOtherDebian = root !== undefined;

/** How to start one of the web server's programs. */
export function webServerCommand(program: string, args: readonly string[]): [string, string[]] {
  return root === undefined ? [program, [...args]] : ['chroot', [root, program, ...args]];
}

/** OpenSSL lets the kernel decrypt TLS 1.3 from 3.2 on. */
export function kernelDecryptsTls13(): boolean {
  const { stderr } = spawnSync(...webServerCommand('nginx', ['-V']), { encoding: 'latin1' });
  const [, major = '', minor = ''] = /OpenSSL (\d+)\.(\d+)/.exec(stderr ?? '') ?? [];
  return Number(major) > 3 || (Number(major) === 3 && Number(minor) >= 2);
}
