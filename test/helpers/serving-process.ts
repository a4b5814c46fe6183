// A handover server in a process of its own. Commands come by IPC: `listen` (answers `listening` or the error's code), `close`
// (answers when it is closed), `stall`, `stats`, and `end`.
import { once } from 'node:events';
import { createServer } from '@fdpass/backend-runtime';

const STALL_MS = 400;
const [path = '', takeover = ''] = process.argv.slice(2);
const server = createServer((_request, response) => {
  response.end(`served by ${process.pid}`);
});

const commands: Record<string, () => unknown> = {
  listen: () =>
    once(server.listen({ path, takeover: takeover === 'takeover' }), 'listening').then(
      () => 'listening',
      ({ code }: NodeJS.ErrnoException) => code,
    ),
  close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  // Busy while senders come, and the first thing it does then is to close.
  stall: () => {
    setTimeout(() => {
      for (const end = performance.now() + STALL_MS; performance.now() < end; );
      server.close();
    }, 20);
    return 'stalling';
  },
  stats: () => server.stats(),
  end: () => process.exit(),
};
process.on('message', async (command: string) => {
  process.send?.((await commands[command]?.()) ?? null);
});
process.send?.('ready');
