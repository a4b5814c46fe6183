// That this kernel and this nginx do TLS together at all, and that the counters tell when they do not: what every other suite here
// rests on. No handover.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { needs, program } from '../helpers/requirements.js';
import { kernelTls, watchKernelTls } from './kernel-tls.js';
import { kernelDecryptsTls13 } from './nginx-under-test.js';
import { startTlsNginx, tlsFolder } from './tls-nginx.js';

const run = promisify(execFile);
const withKernelTls = needs(
  test,
  kernelTls,
  program('nginx', 'nginx-light'),
  program('curl'),
  program('openssl'),
);

async function fetchFile(t: ExecutionContext, { isKtls, curl }: { isKtls: boolean; curl: string[] }) {
  const folder = tlsFolder(t);
  const file = randomBytes(300_000);
  writeFileSync(join(folder, 'file'), file);
  const { port } = await startTlsNginx(t, folder, { isKtls, server: `root ${folder}; sendfile on;` });
  const moved = watchKernelTls();
  const { stdout } = await run('curl', ['-sS', '-k', ...curl, `https://127.0.0.1:${port}/file`], {
    encoding: 'buffer',
  });
  t.deepEqual(stdout, file);
  return moved();
}

const TLS_1_2 = ['--tls-max', '1.2'];
const TLS_1_3 = ['--tlsv1.3'];

withKernelTls('TLS 1.2: the kernel encrypts and decrypts', async (t) => {
  t.deepEqual(await fetchFile(t, { isKtls: true, curl: TLS_1_2 }), { tx: 1, rx: 1, decryptErrors: 0 });
});

withKernelTls('TLS 1.3: the kernel encrypts, and with a newer OpenSSL decrypts', async (t) => {
  const rx = kernelDecryptsTls13() ? 1 : 0;
  t.deepEqual(await fetchFile(t, { isKtls: true, curl: TLS_1_3 }), { tx: 1, rx, decryptErrors: 0 });
});

for (const [name, curl] of [
  ['TLS 1.2', TLS_1_2],
  ['TLS 1.3', TLS_1_3],
] as const) {
  withKernelTls(`${name} without the option: the same answer, and the counters stand still`, async (t) => {
    t.deepEqual(await fetchFile(t, { isKtls: false, curl: [...curl] }), { tx: 0, rx: 0, decryptErrors: 0 });
  });
}

withKernelTls('TLS 1.2 with a CBC cipher: not for the kernel', async (t) => {
  const curl = [...TLS_1_2, '--ciphers', 'ECDHE-ECDSA-AES128-SHA'];
  t.deepEqual(await fetchFile(t, { isKtls: true, curl }), { tx: 0, rx: 0, decryptErrors: 0 });
});
