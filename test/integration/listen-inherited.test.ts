// Listening on a descriptor that a supervisor bound: it is served, its path and its backlog stay the supervisor's.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { closed, makeServer, temporaryFolder } from '../helpers/serve.js';

const native = loadNative();
guardDescriptors(test);

test('an inherited descriptor: served, and its path stays', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'activated');
  const fd = native.bindUnix(path, 0o600);
  native.listen(fd, 16);
  const supervisorsCopy = native.dupFd(fd);
  const { server } = await makeServer(t);
  server.listen({ fd });
  await once(server, 'listening');
  t.is(server.address(), path);
  t.regex(await (await handOver(path)).readToEnd(), /served$/);
  await closed(server);
  t.true(existsSync(path));
  // The next one begins where this one stopped: what came in between waits in the shared backlog.
  const client = handOver(path);
  const { server: next } = await makeServer(t);
  next.listen({ fd: supervisorsCopy });
  await once(next, 'listening');
  t.regex(await (await client).readToEnd(), /served$/);
});

test('an inherited descriptor that is no listening UNIX socket is refused and stays the caller’s', async (t) => {
  const { server } = await makeServer(t);
  const tcp = native.bindTcp('127.0.0.1', 0);
  native.listen(tcp, 1);
  const bound = native.bindUnix(join(await temporaryFolder(t), 'bound'), 0o600);
  const [near, far] = native.socketpair();
  for (const fd of [tcp, bound, near, 9999]) {
    const [error] = (await once(server.listen({ fd }), 'error')) as [NodeJS.ErrnoException];
    t.is(error.code, fd === 9999 ? 'EBADF' : 'FDPASS_ERR_LISTEN_FD');
  }
  for (const fd of [tcp, bound, near, far]) native.closeFd(fd);
});
