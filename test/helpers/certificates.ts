// Certificates made by openssl for one test: a server's, and a client's with the authority that vouches for it.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

async function openssl(...args: string[]): Promise<void> {
  await run('openssl', args);
}

/** Writes `certificate.pem` and `key.pem`. */
export async function makeServerCertificate(folder: string): Promise<void> {
  const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'certificate.pem')];
  await openssl('req', '-x509', ...KEY, '-days', '2', '-subj', '/CN=example.test', ...files);
}

/** Writes `client-ca.pem`, and of a client whose certificate it has signed `client.pem` and `client-key.pem`. */
export async function makeClientCertificate(folder: string, subject: string): Promise<void> {
  const at = (name: string): string => join(folder, name);
  const authority = ['-subj', '/CN=client authority', '-keyout', at('client-ca-key.pem')];
  await openssl('req', '-x509', ...KEY, '-days', '2', ...authority, '-out', at('client-ca.pem'));
  await openssl('req', ...KEY, '-subj', subject, '-keyout', at('client-key.pem'), '-out', at('client.csr'));
  const signer = ['-CA', at('client-ca.pem'), '-CAkey', at('client-ca-key.pem'), '-set_serial', '2'];
  await openssl('x509', '-req', '-days', '2', '-in', at('client.csr'), ...signer, '-out', at('client.pem'));
}
