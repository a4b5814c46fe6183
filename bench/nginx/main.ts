// `npm run bench:nginx`: the same application behind one nginx by fd_pass, proxy_pass and scgi_pass, straight to Node.js, and nginx's
// own files; and our receiver beside one in C; in one interleaved run.

import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { startReceivers } from '../receiver/receivers.js';
import { receiverWorks } from '../receiver/works.js';
import { readArguments } from './parameters.js';
import { figuresTables, targetsTable, writeResults } from './report.js';
import { allowDescriptors, Lack, requireMachine } from './requirements.js';
import { runRounds } from './rounds.js';
import { rowsOf } from './rows.js';
import { startWays, WAYS } from './ways.js';
import { idleWorks, loads } from './works.js';

/** In works that are not about many clients: one worker, whose CPU time is nginx's. */
const SMALL_NGINX = { maxClients: 200, workers: 1 };

async function main(): Promise<void> {
  const { parameters, module, out } = readArguments(process.argv.slice(2));
  requireMachine(module);
  allowDescriptors(parameters.idleClients);

  const folder = mkdtempSync(join(tmpdir(), 'fdpass-bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  // 'exit' comes, and what was started ends with us.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const scene = { folder, module: resolve(module), download: join(folder, 'download') };
  await writeBytes(scene.download, parameters.downloadBytes);

  const running = await startWays(scene, WAYS, SMALL_NGINX);
  const receivers = await startReceivers(folder);
  try {
    if (!receivers.keepsConnections) {
      process.stdout.write('our receiver keeps no connection: handovers over one channel are not measured\n');
    }
    const works = [
      ...loads(running, parameters),
      ...idleWorks(scene, parameters),
      ...receiverWorks(receivers, parameters),
    ];
    const series = await runRounds(works, (round) => {
      const done = round === 0 ? 'warmed up' : `round ${round} of ${parameters.rounds}`;
      process.stdout.write(`${done}\n`);
    });
    const rows = rowsOf(series, parameters.isJudged);
    writeResults(out, rows);
    process.stdout.write(
      `\n${figuresTables(rows)}\n\n${targetsTable(rows)}\n\n${notes(parameters.isJudged)}\n${out} has all of it.\n`,
    );
  } finally {
    await receivers.close();
    await running.close();
  }
}

const notes = (isJudged: boolean): string =>
  isJudged
    ? 'Medians; a target is open when the middle half of the rounds is on both sides of it.'
    : 'A short run: no target is judged by it.';

/** A file of that size whose bytes are all there: reading a hole costs less. */
async function writeBytes(path: string, bytes: number): Promise<void> {
  const piece = Buffer.alloc(2 ** 20, 'fdpass');
  const file = await open(path, 'w');
  try {
    for (let left = bytes; left > 0; left -= piece.length) {
      await file.write(piece, 0, Math.min(left, piece.length));
    }
  } finally {
    await file.close();
  }
}

main().catch((error: unknown) => {
  const message =
    error instanceof Lack ? error.message : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`${message}\n`);
  process.exit(1);
});
