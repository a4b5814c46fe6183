// What the kernel says of TLS on a client's descriptor, and whether that is what the sender says: a wrong word would be
// garbage on the wire, or an answer in the clear.
import { RuntimeError } from './errors.js';
import { native } from './native.js';

/** TLS_TX and TLS_RX of linux/tls.h. */
const TX = 1;
const RX = 2;

const VERSIONS: Readonly<Record<number, string>> = { 771: 'TLSv1.2', 772: 'TLSv1.3' };

/** linux/tls.h. */
const CIPHERS: Readonly<Record<number, string>> = {
  51: 'AES-128-GCM',
  52: 'AES-256-GCM',
  53: 'AES-128-CCM',
  54: 'CHACHA20-POLY1305',
  55: 'SM4-GCM',
  56: 'SM4-CCM',
  57: 'ARIA-128-GCM',
  58: 'ARIA-256-GCM',
};

export interface KernelCipher {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly version: string;
  /** The kernel's name of it, e.g. `AES-128-GCM`. */
  readonly cipher: string;
}

/** What the kernel encrypts with on a borrowed descriptor; undefined if it does not. */
export function kernelCipher(fd: number): KernelCipher | undefined {
  const both = native().tlsDirection(fd, TX);
  if (both <= 0) return undefined;
  const [version, cipher] = [both >>> 16, both & 0xffff];
  return {
    version: VERSIONS[version] ?? `0x${version.toString(16)}`,
    cipher: CIPHERS[cipher] ?? `cipher ${cipher}`,
  };
}

/** Whether the kernel neither encrypts nor decrypts on a borrowed descriptor. */
export const isPlain = (fd: number): boolean => native().tlsDirection(fd, TX) === 0;

/**
 * Compares a borrowed descriptor with what its sender said.
 * @throws `BKR_ERR_TLS_MISMATCH`
 */
export function checkKernelTls(fd: number, said: { isEncrypted: boolean; kind: 'full' | 'partial' }): void {
  const mismatch = (word: string, found: string): RuntimeError =>
    new RuntimeError('BKR_ERR_TLS_MISMATCH', word, found);
  const sent = native().tlsDirection(fd, TX);
  if (!said.isEncrypted) {
    if (sent !== 0) throw mismatch('plain', sent > 0 ? 'encrypts' : 'decrypts');
    return;
  }
  if (sent <= 0) throw mismatch('TLS', 'does not encrypt');
  const decrypts = native().tlsDirection(fd, RX) > 0;
  if (decrypts === (said.kind === 'full')) return;
  throw mismatch(
    said.kind === 'full' ? 'TLS with KTLS_RX=1' : 'TLS with KTLS_RX=0',
    decrypts ? 'decrypts' : 'does not decrypt',
  );
}
