// Hands clients over as another user, one of each kind and version, and answers `send` with the status each client got: or the
// code of the refusal, or '' if the connection was closed without a word.
import type { HandedClient, HandOverOptions } from './hand-over.js';
import { handOver } from './hand-over.js';
import { runAs } from './run-as.js';

const [path = '', uid = '', gid = ''] = process.argv.slice(2);
if (uid !== '') runAs(Number(uid), Number(gid));

const ways: HandOverOptions[] = [
  { kind: 'full', version: 1 },
  { kind: 'full', version: 0 },
  { kind: 'partial', version: 1 },
  { kind: 'relay' },
];

async function send(options: HandOverOptions): Promise<string> {
  let client: HandedClient;
  try {
    client = await handOver(path, options);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EACCES' ? 'FDPASS_ERR_BACKEND_DOWN' : (code ?? '');
  }
  return /^(?:HTTP\/1\.1|Status:) (\d+)/.exec(await client.readToEnd())?.[1] ?? '';
}

process.on('message', async () => {
  const results: string[] = [];
  for (const way of ways) results.push(await send(way));
  process.send?.(results);
});
process.send?.('ready');
