// What docs/operations.md says of the socket's permissions, and of the statuses and log lines by which an operator sees what is wrong:
// each row about nginx and the socket, with the least of the configurations and with a fallback in it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, readFileSync, renameSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { curl } from '../helpers/curl.js';
import { type DeployedOptions, deployed } from '../helpers/deployed.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { root } from '../helpers/fdpass-command.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { condition, needs, program } from '../helpers/requirements.js';

guardDescriptors(test);
const requirements = [...nginxWithModule, program('curl')];
const withNginx = needs(test, ...requirements);
const withPython = needs(test, ...requirements, program('python3'));
/** As root nginx's workers are another user: nobody, in a group of the same number, as there is no "user" in the configuration. */
const isRoot = process.getuid?.() === 0;
const asRoot = needs(
  test,
  ...requirements,
  condition(isRoot, 'root: then nginx has workers of another user'),
);
const NOBODYS_GROUP = 65_534;

const documented = readFileSync(join(root, 'docs', 'operations.md'), 'utf8');

/** Asserts what the client gets and what nginx logs, and that the document has the line. */
async function assertStatuses(
  t: ExecutionContext,
  expected: { alone: number; withFallback: number; logged: string },
  prepare: (folder: string) => unknown,
  options: DeployedOptions = { backends: {} },
): Promise<void> {
  t.true(documented.includes(expected.logged), 'the document has the line');
  for (const [edit, status] of [
    [(text: string) => text, expected.alone],
    [relaying, expected.withFallback],
  ] as const) {
    const front = await deployed(t, 'plain.conf', { ...options, edit });
    await prepare(front.folder);
    t.is((await curl(front.url(80))).status, status);
    t.true(front.nginx.errorLog().includes(expected.logged), front.nginx.errorLog());
    // For what ends with the test.
    chmodSync(front.folder, 0o755);
  }
}

/** As in fallback.conf. */
const relaying = (text: string): string =>
  text.replace(
    'fd_pass unix:/run/fdpass/app.sock;',
    `fd_pass unix:/run/fdpass/app.sock; fd_pass_fallback @relay; }
    location @relay { include /etc/nginx/scgi_params; scgi_pass unix:/run/fdpass/app.sock;`,
  );

for (const { why, folder, socket, group } of [
  { why: 'its group is not that of nginx', folder: 0o755, socket: 0o660, group: 0 },
  { why: 'its mode lets only its owner in', folder: 0o755, socket: 0o600, group: NOBODYS_GROUP },
  { why: 'its folder lets nobody through', folder: 0o700, socket: 0o660, group: NOBODYS_GROUP },
]) {
  asRoot(`nginx may not write to the socket when ${why}`, async (t) => {
    const expected = { alone: 503, withFallback: 502, logged: '(13: Permission denied)' };
    const close = (path: string): void => {
      chownSync(join(path, 'app.sock'), 0, group);
      chmodSync(join(path, 'app.sock'), socket);
      chmodSync(path, folder);
    };
    await assertStatuses(t, expected, close, {});
  });
}

asRoot('nginx may write to a socket of mode 0660 that its group has', async (t) => {
  const front = await deployed(t, 'plain.conf');
  chownSync(join(front.folder, 'app.sock'), 0, NOBODYS_GROUP);
  chmodSync(join(front.folder, 'app.sock'), 0o660);
  t.is((await curl(front.url(80))).status, 200);
});

withNginx('no socket: it never started, or the folder was removed', async (t) => {
  const logged = '(2: No such file or directory)';
  await assertStatuses(t, { alone: 503, withFallback: 502, logged }, () => {});
});

withNginx('a socket without a listener: the process died and left the file', async (t) => {
  const logged = '(111: Connection refused)';
  await assertStatuses(t, { alone: 503, withFallback: 502, logged }, async (folder) => {
    const server = createServer().listen(join(folder, 'gone.sock'));
    await once(server, 'listening');
    chmodSync(join(folder, 'gone.sock'), 0o666);
    // Else it is removed with the server.
    renameSync(join(folder, 'gone.sock'), join(folder, 'app.sock'));
    server.close();
    await once(server, 'close');
  });
});

withNginx('a backend that is silent', async (t) => {
  const front = await deployed(t, 'plain.conf', {
    backends: {},
    edit: (text) => text.replace('fd_pass unix', 'fd_pass_send_timeout 100ms; fd_pass unix'),
  });
  const connections: Socket[] = [];
  const silent = createServer((connection) => connections.push(connection));
  silent.listen(join(front.folder, 'app.sock'));
  await once(silent, 'listening');
  t.teardown(() => {
    for (const connection of connections) connection.destroy();
    silent.close();
  });
  chmodSync(join(front.folder, 'app.sock'), 0o666);
  t.is((await curl(front.url(80))).status, 504);
  for (const logged of ['the backend was silent too long', 'there is no "fd_pass_fallback"']) {
    t.true(front.nginx.errorLog().includes(logged));
    t.true(documented.includes(logged));
  }
});

/** Listens, accepts nobody, and has room for one. */
const FULL = `import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
listener.listen(0)
print('ready', flush=True)
time.sleep(60)`;

withPython('a full accept queue', async (t) => {
  const logged = '(11: Resource temporarily unavailable)';
  await assertStatuses(t, { alone: 503, withFallback: 502, logged }, async (folder) => {
    const path = join(folder, 'app.sock');
    const child: ChildProcess = spawn('python3', ['-c', FULL, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = once(child, 'close');
    t.teardown(async () => {
      child.kill();
      await closed;
    });
    await once(child.stdout as NonNullable<typeof child.stdout>, 'data');
    const waiting = await RawClient.connect(path);
    t.teardown(() => waiting.close());
  });
});
