// A reader who does what a document says: in a folder that looks like the root of a checkout, with ports that are free here.
// Owns the folder and every process it starts.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { root } from './markdown.js';

/** What a document calls a port: the test puts a free one in its place. */
const PORT = /\b80\d\d\b/g;
const OUTPUT_TIMEOUT_MS = 45_000;
const END_TIMEOUT_MS = 10_000;

/** Tests install nothing: npx may run what is there. */
const NPX = '#!/bin/sh\ncase "$*" in *pnpm*) echo "a test must not install anything" >&2; exit 1;; esac\n';

export class DocumentRun {
  readonly #folder: string;
  readonly #ports = new Map<string, number>();
  readonly #running: ChildProcess[] = [];

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'fdpass-docs-'));
    for (const name of readdirSync(root)) {
      if (name !== '.git') symlinkSync(join(root, name), join(this.#folder, name));
    }
    mkdirSync(join(this.#folder, '.bin'));
    const folders = (process.env.PATH ?? '').split(delimiter);
    const npx = folders.map((folder) => join(folder, 'npx')).find((file) => existsSync(file));
    const standIn = join(this.#folder, '.bin', 'npx');
    writeFileSync(standIn, `${NPX}exec "${npx}" --no -- "$@"\n`);
    chmodSync(standIn, 0o755);
  }

  /** Chooses a free port for each one that `texts` name. */
  async choosePorts(texts: readonly string[]): Promise<void> {
    for (const port of new Set(['8080', ...texts.flatMap((text) => text.match(PORT) ?? [])])) {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      this.#ports.set(port, (server.address() as { port: number }).port);
      server.close();
      await once(server, 'close');
    }
  }

  save(name: string, text: string): void {
    writeFileSync(join(this.#folder, name), `${this.#here(text)}\n`);
  }

  /** Runs a block to its end and answers what it printed. @throws if it fails */
  async run(text: string): Promise<string> {
    const { child, output } = this.#spawn(text);
    const [code] = await once(child, 'close');
    if (code !== 0) throw new Error(`exit code ${code}: ${text}\n${output.all}`);
    return this.#asWritten(output.stdout);
  }

  /** Starts a block that goes on, and resolves when it has printed `sign`. @throws if it ends before that */
  async start(text: string, sign: string): Promise<void> {
    const { child, output } = this.#spawn(text);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => fail('did not print'), OUTPUT_TIMEOUT_MS);
      const fail = (why: string): void => reject(new Error(`${text} ${why} "${sign}"\n${output.all}`));
      child.stdout?.on('data', () => {
        if (!this.#asWritten(output.stdout).includes(sign)) return;
        clearTimeout(timer);
        resolve();
      });
      child.once('close', () => {
        clearTimeout(timer);
        fail('ended before it printed');
      });
    });
  }

  /** Ends what still runs, as Ctrl-C does, and removes the folder. */
  async close(): Promise<void> {
    await Promise.all(this.#running.splice(0).map(endGroup));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #spawn(text: string): { child: ChildProcess; output: { stdout: string; all: string } } {
    const child = spawn('bash', ['-euc', this.#here(text)], {
      cwd: this.#folder,
      env: {
        ...process.env,
        PATH: `${join(this.#folder, '.bin')}${delimiter}${process.env.PATH}`,
        PORT: String(this.#ports.get('8080')),
        // What a terminal's user has not.
        NODE_V8_COVERAGE: '',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A process group of its own: what the block starts ends with it.
      detached: true,
    });
    this.#running.push(child);
    child.once('close', () => {
      const place = this.#running.indexOf(child);
      if (place !== -1) this.#running.splice(place, 1);
    });
    const output = { stdout: '', all: '' };
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      output.stdout += chunk;
      output.all += chunk;
    });
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      output.all += chunk;
    });
    return { child, output };
  }

  #here(text: string): string {
    return text
      .replace(PORT, (port) => String(this.#ports.get(port) ?? port))
      .replaceAll('/tmp/', `${this.#folder}/`);
  }

  #asWritten(output: string): string {
    let text = output.replaceAll(`${this.#folder}/`, '/tmp/');
    for (const [written, port] of this.#ports) text = text.replaceAll(String(port), written);
    return text;
  }
}

async function endGroup(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close');
  signalGroup(child, 'SIGTERM');
  const late = setTimeout(() => signalGroup(child, 'SIGKILL'), END_TIMEOUT_MS);
  await closed;
  clearTimeout(late);
}

function signalGroup({ pid = 0 }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Gone already.
  }
}
