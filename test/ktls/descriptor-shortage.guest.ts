// An application that runs out of descriptors: under TLS a full handover needs one more than was passed. No client is left hanging,
// nothing is left open, and the next one is served.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HandoverServerStats } from '@fdpass/backend-runtime';
import type { ExecutionContext } from 'ava';
import { exchange } from '../helpers/answer-reader.js';
import { CommandedProcess } from '../helpers/commanded-process.js';
import { nginxFolder } from '../helpers/nginx.js';
import { until } from '../helpers/until.js';
import { startFront, VERSIONS, withFront } from './passing-front.js';
import { openClient, python } from './tls-clients.js';

type Stats = HandoverServerStats & { codes: string[] };

const LAST_GET = 'GET / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n';
const CLIENTS = 80;
const DESCRIPTORS = 70;

/** nginx in front of a process of few descriptors, and nobody else to ask. */
async function startCrowded(t: ExecutionContext, kernel: { tx: number; rx: number }) {
  const folder = nginxFolder();
  t.teardown(() => rmSync(folder, { recursive: true }));
  const [path, file] = [join(folder, 'socket'), join(folder, 'file')];
  writeFileSync(file, 'content');
  const crowded = await CommandedProcess.start(t, 'crowded-process.js', [path, file], {
    before: `ulimit -n ${DESCRIPTORS};`,
  });
  const { port } = await startFront(t, { kernel, pass: `fd_pass unix:${path};`, hasFallback: false });
  return { crowded, port };
}

for (const [nth, { version, kind }] of VERSIONS.entries()) {
  const as = (title: string): string => `${version}, ${kind}: ${title}`;
  const sessions = (count: number) => ({ tx: count, rx: kind === 'full' ? count : 0 });

  // Which version it is makes no difference to a crowd.
  const once = nth === 0 ? withFront : () => {};
  once(as(`${CLIENTS} clients at once and ${DESCRIPTORS} descriptors: all are answered`), async (t) => {
    const { crowded, port } = await startCrowded(t, sessions(CLIENTS));
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => openClient(t, port, version)));
    const answers = await Promise.all(clients.map((client) => exchange(client, LAST_GET)));
    t.deepEqual(new Set(answers.map(({ status, body }) => `${status} ${body}`)), new Set(['200 served']));
    const stats = await crowded.ask<Stats>('stats');
    t.is(stats[kind], CLIENTS);
    t.true(stats.descriptorPauses > 0);
    t.deepEqual(stats.codes, []);
  });

  withFront(as('a client whose handover takes the last descriptor'), async (t) => {
    const { crowded, port } = await startCrowded(t, sessions(2));
    const open = await crowded.ask<number>('open');
    await crowded.ask('exhaustAtHandover');
    const { received, ended } = await python(port, version, [['write', LAST_GET], ['send'], ['read_to_end']]);
    const { codes } = await crowded.ask<Stats>('stats');
    if (kind === 'full') {
      t.deepEqual([received, ended, codes], ['', 'end without close_notify', ['BKR_ERR_ADOPT']]);
    } else {
      t.regex(received, /\r\n\r\nserved$/);
      t.deepEqual([ended, codes], ['close_notify', []]);
    }
    await crowded.ask('release');
    await until('nothing is left open', async () => (await crowded.ask<number>('open')) === open);
    const next = await openClient(t, port, version);
    t.is((await exchange(next, LAST_GET)).body, 'served');
  });
}
