// What is compared: the same application on a plain http server, and behind the front door by handover. Each subject is its
// own processes, so that their CPU time can be read from the kernel.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { canConnect, end, freePort, pidsOf, start, untilReady } from './processes.js';

export interface Subject {
  readonly name: string;
  readonly url: string;
  /** The processes whose CPU time counts. */
  readonly pids: readonly number[];
  close(): Promise<void>;
}

const FDPASS = 'packages/backend-runtime/bin/fdpass.js';
const APP = 'packages/demo-app';
const QUIET = ['--log-level', 'warn'];

/** The application as a user would run it without us. */
export async function plainHttp(): Promise<Subject> {
  const port = await freePort();
  const server = start(process.execPath, 'build/bench/plain-server.js', String(port));
  await untilReady(server, () => canConnect(port));
  return {
    name: 'plain http',
    url: `http://127.0.0.1:${port}`,
    pids: pidsOf(server),
    close: () => end(server),
  };
}

/** The application by handover from the front door. */
export async function handover(folder: string): Promise<Subject> {
  const socket = join(folder, 'app.sock');
  const port = await freePort();
  const fdpass = (...args: string[]) => start(process.execPath, FDPASS, ...args, ...QUIET);
  const backend = fdpass('serve', APP, '--socket', socket, '--keep-alive-scope', '/');
  const front = fdpass('front', '--listen', `127.0.0.1:${port}`, '--to', `unix:${socket}`);
  await untilReady(backend, () => existsSync(socket));
  await untilReady(front, () => canConnect(port));
  return {
    name: 'handover',
    url: `http://127.0.0.1:${port}`,
    pids: pidsOf(backend, front),
    close: async () => {
      await end(front);
      await end(backend);
    },
  };
}
