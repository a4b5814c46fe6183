// `fdpass dev`: a front door in this process, the application in a child, and a new child whenever files change. The new one
// takes the socket over before the old one drains, so a reload costs no client.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { watch } from 'chokidar';
import { RuntimeError } from '../errors.js';
import { createFrontDoor } from '../front-door/index.js';
import { appFile } from './load-app.js';
import { logger } from './logger.js';
import { onShutdown } from './shutdown.js';
import { webAddress } from './web-address.js';

export interface DevOptions {
  port: number;
  host: string;
  watch: boolean;
  logLevel: string;
}

const BIN = fileURLToPath(new URL('../../bin/fdpass.js', import.meta.url));
const IGNORED = /(^|[/\\])(node_modules|\.[^./\\][^/\\]*)([/\\]|$)/;
/** Editors and compilers write several files at once. */
const SETTLE_MS = 100;

/** Resolves when the application answers on its TCP address. @throws `BKR_ERR_APP`, EADDRINUSE */
export async function dev(app: string, options: DevOptions): Promise<void> {
  appFile(app);
  const log = logger(options.logLevel, true);
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-dev-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const children = new AppChildren(app, join(folder, 'app.sock'), options.logLevel);
  const door = createFrontDoor({
    listeners: [{ host: options.host, port: options.port, to: join(folder, 'app.sock') }],
    logger: log,
  });
  onShutdown(async () => {
    await door.close();
    await children.close();
  });
  try {
    await children.replace();
    await door.listen();
  } catch (error) {
    await children.close();
    throw error;
  }
  const [address] = door.addresses();
  if (address !== undefined) process.stdout.write(`${app} is served on ${webAddress(address)}\n`);
  if (options.watch) watchApp(app, () => reload(children, log));
}

async function reload(children: AppChildren, log: ReturnType<typeof logger>): Promise<void> {
  try {
    await children.replace();
    log.info('reloaded');
  } catch (error) {
    log.error(`${(error as Error).message}; the application as it was goes on`);
  }
}

function watchApp(app: string, onChange: () => void): void {
  const path = resolve(app);
  const folder = statSync(path).isDirectory() ? path : dirname(path);
  let settling: NodeJS.Timeout | undefined;
  watch(folder, { ignored: (file) => IGNORED.test(file.slice(folder.length)), ignoreInitial: true }).on(
    'all',
    () => {
      clearTimeout(settling);
      settling = setTimeout(onChange, SETTLE_MS);
    },
  );
}

/** The processes that serve the application: one, and older ones that still drain. */
class AppChildren {
  readonly #app: string;
  readonly #socket: string;
  readonly #logLevel: string;
  readonly #all = new Set<ChildProcess>();
  #current: ChildProcess | undefined;
  #isClosing = false;

  constructor(app: string, socket: string, logLevel: string) {
    this.#app = app;
    this.#socket = socket;
    this.#logLevel = logLevel;
  }

  /** Starts a new child; when it listens, the old one drains. @throws `BKR_ERR_APP` if it ends before it listens */
  async replace(): Promise<void> {
    const child = this.#spawn();
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => resolve());
      child.once('exit', () =>
        reject(new RuntimeError('BKR_ERR_APP', this.#app, 'ended before it listened')),
      );
      child.once('error', reject);
    });
    if (this.#isClosing) return;
    const old = this.#current;
    this.#current = child;
    old?.kill('SIGTERM');
  }

  /** Lets all of them drain. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await Promise.all(
      [...this.#all].map((child) => {
        child.kill('SIGTERM');
        return new Promise((resolve) => child.once('exit', resolve));
      }),
    );
  }

  #spawn(): ChildProcess {
    const args = ['serve', this.#app, '--socket', this.#socket, '--takeover', '--pretty'];
    const child = spawn(
      process.execPath,
      [BIN, ...args, '--keep-alive-scope', '/', '--log-level', this.#logLevel],
      // A session of its own: Ctrl-C in the terminal is for this process, which ends its children after the front door.
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], detached: true },
    );
    this.#all.add(child);
    child.once('exit', () => this.#all.delete(child));
    return child;
  }
}
