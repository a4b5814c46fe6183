// What becomes of each error that a kernel answers for a TLS record, also of what only newer ones say (EKEYEXPIRED, behind a
// KeyUpdate). With records, on a kernel that has TLS, it is test/ktls/unreadable-records.guest.ts.
import { execFile } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { needs, program } from '../helpers/requirements.js';

const run = promisify(execFile);
const READER = fileURLToPath(new URL('children/read-tls.js', import.meta.url));
/** It is not compiled: from build/test/integration/ to test/helpers/. */
const FAILING = fileURLToPath(new URL('../../../test/helpers/failing_system_call.py', import.meta.url));
const EKEYEXPIRED = 127;

const withSeccomp = needs(test, program('python3'));

for (const [name, errno, happened] of [
  ['EBADMSG', constants.errno.EBADMSG, ['truncated', 'BKR_ERR_TLS_RECORD EBADMSG', 'end']],
  ['EKEYEXPIRED', EKEYEXPIRED, ['truncated', 'BKR_ERR_TLS_RECORD EKEYEXPIRED', 'end']],
  ['EINVAL', constants.errno.EINVAL, ['truncated', 'BKR_ERR_TLS_RECORD EINVAL', 'end']],
  ['EMSGSIZE', constants.errno.EMSGSIZE, ['truncated', 'BKR_ERR_TLS_RECORD EMSGSIZE', 'end']],
  ['ECONNRESET', constants.errno.ECONNRESET, ['error ECONNRESET']],
] as const) {
  withSeccomp(`recvmsg answers ${name}: ${happened.join(', ')}`, async (t) => {
    const { stdout } = await run('python3', [FAILING, 'recvmsg', String(errno), process.execPath, READER]);
    t.deepEqual(JSON.parse(stdout), { happened, left: 0 });
  });
}
