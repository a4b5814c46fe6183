// A sender whose word about TLS is not the kernel's: nothing is written in the clear, and the others never notice. What happens
// where both say TLS is tested under kernel TLS: test/ktls.

import { Sender } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { ClientSource } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { serve } from '../helpers/serve.js';
import { GET } from '../helpers/wire-sender.js';

guardDescriptors(test);
const native = loadNative();

for (const [what, headers] of [
  ['full', [['HTTPS', 'on'], ['KTLS_RX', '1'], ...GET]],
  ['partial', [['HTTPS', 'on'], ['KTLS_RX', '0'], ...GET]],
] as const) {
  test(`${what}, said to be TLS, on a plain connection: closed without a byte`, async (t) => {
    const { path, errors, server } = await serve(t);
    const source = new ClientSource();
    const { fd, client } = await source.next();
    source.close();
    const outcome = await new Sender({ path }).send({ headers: headers as never, fd });
    native.closeFd(fd);
    if (outcome.taken) outcome.connection?.close();
    await client.readToEnd();
    t.is(client.received, '');
    t.deepEqual(errors, ['BKR_ERR_TLS_MISMATCH']);
    t.is(server.stats().connections, 0);

    const next = new ClientSource();
    const other = await next.next();
    next.close();
    t.true((await new Sender({ path }).send({ headers: GET, fd: other.fd })).taken);
    native.closeFd(other.fd);
    t.regex(await other.client.readToEnd(), /^HTTP\/1\.1 200 /);
  });
}
