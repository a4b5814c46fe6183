// A handover server in a process with few descriptors: answers after a while, so that clients pile up, and on /last-descriptor sends a
// file that gets the only one that is left. Commands: `stats`, `exhaust` takes every descriptor that is left, `release` gives them back,
// `open` counts them, `exhaustAtHandover` takes every one as soon as the next client's has been received.
import { once } from 'node:events';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createServer, sendFile } from '@fdpass/backend-runtime';

const [path = '', file = ''] = process.argv.slice(2);
const errors: string[] = [];
const endings: string[] = [];
const server = createServer(
  { logger: { warn() {}, error() {} }, minFreeDescriptors: 32 },
  async (request, response) => {
    if (request.url === '/last-descriptor') {
      commands.exhaust();
      closeSync(taken.pop() as number);
      const ending = sendFile(response, file).then(
        () => 'done',
        ({ code }: NodeJS.ErrnoException) => code ?? '',
      );
      return void endings.push(await ending);
    }
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
let exhausts = false;
server.use((_handover, next) => {
  if (exhausts) commands.exhaust();
  exhausts = false;
  next();
});
const commands = {
  stats: () => ({ ...server.stats(), codes: errors, endings }),
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
  exhaustAtHandover: () => {
    exhausts = true;
  },
  open: () => readdirSync('/proc/self/fd').length,
};
process.on('message', async (command: keyof typeof commands) => {
  process.send?.(commands[command]() ?? null);
});
await once(server.listen({ path, mode: 0o666 }), 'listening');
process.send?.('ready');
