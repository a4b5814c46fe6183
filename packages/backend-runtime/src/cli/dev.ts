// `fdpass dev`: a front door in this process, the application in another, and a new one of those whenever files change. The new one
// takes the socket over before the old one drains, so a reload costs no client.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { createFrontDoor } from '../front-door/index.js';
import { AppProcesses } from './app-processes.js';
import { describeFailure } from './failure.js';
import { listening } from './front.js';
import { appFile } from './load-app.js';
import { logger } from './logger.js';
import { onShutdown } from './shutdown.js';
import { watchApp } from './watch-app.js';
import { webAddress } from './web-address.js';

export interface DevOptions {
  port: number;
  host: string;
  watch: boolean;
  logLevel: string;
}

/** Resolves when the application answers on its TCP address. @throws `BKR_ERR_APP`, `BKR_ERR_LISTEN` */
export async function dev(app: string, { port, host, logLevel, ...options }: DevOptions): Promise<void> {
  appFile(app);
  const log = logger(logLevel, true);
  const socket = join(temporaryFolder(), 'app.sock');
  const serving = { socket, takeover: true, keepAliveScope: '/', pretty: true, logLevel };
  const processes = new AppProcesses(app, serving, (how) => {
    log.error(`The application ended (${how}); a change starts it again`);
  });
  const door = createFrontDoor({ listeners: [{ host, port, to: socket }], logger: log });
  onShutdown(async () => {
    await door.close();
    await processes.close();
  }, ['SIGHUP']);
  // First of all: an application shall not be started in vain.
  await listening(door, `${host}:${port}`);
  try {
    await processes.replace();
    if (options.watch) {
      const onError = (error: unknown): void => log.warn({ err: error }, 'Watching files failed');
      await watchApp(app, reloading(processes, log), onError);
    }
  } catch (error) {
    await processes.close();
    throw error;
  }
  const [address] = door.addresses();
  if (address !== undefined) process.stdout.write(`${app} is served on ${webAddress(address)}\n`);
}

/** Open to this user only. */
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-dev-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** One reload at a time; what changes meanwhile makes for one more. */
function reloading(processes: AppProcesses, log: Logger): () => void {
  let isDue = false;
  let isRunning = false;
  const run = async (): Promise<void> => {
    isRunning = true;
    while (isDue) {
      isDue = false;
      try {
        await processes.replace();
        log.info('reloaded');
      } catch (error) {
        log.error(`${describeFailure(error)}; the application as it was goes on`);
      }
    }
    isRunning = false;
  };
  return () => {
    isDue = true;
    if (!isRunning) void run();
  };
}
