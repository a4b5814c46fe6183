// What the kernel counts of TLS, from /proc/net/tls_stat. A web server falls back to TLS in user space without a word: only these
// numbers tell. They are the whole machine's, so no two tests may run at once.
import { existsSync, readFileSync } from 'node:fs';
import { condition, type Requirement } from '../helpers/requirements.js';

const COUNTERS = '/proc/net/tls_stat';

/** Sessions that the kernel began to encrypt (`tx`) or decrypt (`rx`), and records it could not decrypt. */
export interface KernelTls {
  readonly tx: number;
  readonly rx: number;
  readonly decryptErrors: number;
}

/** The module tls is loaded. */
export const kernelTls: Requirement = condition(
  existsSync(COUNTERS),
  'a kernel with TLS: npm run test:ktls brings one',
);

function counters(): KernelTls {
  const count = new Map(
    readFileSync(COUNTERS, 'latin1')
      .trim()
      .split('\n')
      .map((line) => {
        const [name = '', value] = line.split(/\s+/);
        return [name, Number(value)];
      }),
  );
  const read = (name: string): number => {
    const value = count.get(name);
    if (value === undefined) throw new Error(`${COUNTERS} has no ${name}`);
    return value;
  };
  return { tx: read('TlsTxSw'), rx: read('TlsRxSw'), decryptErrors: read('TlsDecryptError') };
}

/** Gives a function that says by how much the counters have moved since. */
export function watchKernelTls(): () => KernelTls {
  const before = counters();
  return () => {
    const after = counters();
    return {
      tx: after.tx - before.tx,
      rx: after.rx - before.rx,
      decryptErrors: after.decryptErrors - before.decryptErrors,
    };
  };
}
