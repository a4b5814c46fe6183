// A handover server in a process with few descriptors: answers after a while, so that clients pile up. Commands: `stats`,
// `exhaust` takes every descriptor that is left, `release` gives them back.
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createServer, sendFile } from '@fdpass/backend-runtime';

const [path = '', file = ''] = process.argv.slice(2);
const errors: string[] = [];
const server = createServer(
  { logger: { warn() {}, error() {} }, minFreeDescriptors: 32 },
  async (request, response) => {
    await delay(30);
    if (request.url !== '/file') return void response.end('served');
    try {
      await sendFile(response, file);
    } catch (error) {
      response.statusCode = 503;
      response.end((error as NodeJS.ErrnoException).code);
    }
  },
);
server.on('handoverError', ({ code }) => errors.push(code));

let taken: number[] = [];
const commands: Record<string, () => unknown> = {
  stats: () => ({ ...server.stats(), codes: errors }),
  exhaust: () => {
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch (error) {
      return (error as NodeJS.ErrnoException).code;
    }
  },
  release: () => {
    for (const fd of taken) closeSync(fd);
    taken = [];
  },
};
process.on('message', async (command: string) => {
  process.send?.((await commands[command]?.()) ?? null);
});
await once(server.listen({ path }), 'listening');
process.send?.('ready');
