// A workspace in a temporary folder with our real scripts/ and stand-ins for all they start. Each stand-in adds a line to a log.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root, as seen from a compiled test. */
export const repositoryRoot = fileURLToPath(new URL('../../../', import.meta.url));

const json = (value: unknown) => JSON.stringify(value);
const appendToLog = (line: string) =>
  `require('fs').appendFileSync(process.env.STAND_IN_LOG, [${json(line)}, ...process.argv.slice(2)].join(' ') + '\\n');\n`;

/** What {@link StandInWorkspace.run} starts a script with. */
export interface RunOptions {
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
}

export class StandInWorkspace {
  readonly folder = mkdtempSync(join(tmpdir(), 'fdpass-scripts-'));
  readonly #log = join(this.folder, 'log');

  constructor() {
    cpSync(join(repositoryRoot, 'scripts'), join(this.folder, 'scripts'), { recursive: true });
    this.write('package.json', json({ packageManager: 'pnpm@1.2.3', devDependencies: { typescript: '1' } }));
    this.write('pnpm-lock.yaml', 'lockfileVersion: 9');
    this.write('tsconfig.json', json({ files: [], references: [{ path: 'packages/app' }] }));
    this.write('packages/app/package.json', json({ name: 'app' }));
    const compilerOptions = { rootDir: 'src', outDir: 'dist' };
    this.write('packages/app/tsconfig.json', json({ compilerOptions, include: ['src'] }));
    this.write('packages/app/src/kept.ts', '');
    this.write('packages/app/dist/kept.js', '');
    this.write('native/addon/build/Release/addon.node', '');
    this.write('native/addon/install.cjs', appendToLog('addon'));
    const tsc = 'node_modules/typescript/bin/tsc';
    this.write(tsc, appendToLog('tsc'));
    this.write('node_modules/typescript/package.json', '{}');
    this.write(
      'bin/npx',
      `#!${process.execPath}\n${appendToLog('npx')}` +
        "require('fs').writeFileSync(process.env.STAND_IN_LOG + '.npx', JSON.stringify(process.env));\n" +
        "if (process.env.STAND_IN_NPX_FAILS) { console.log('the registry is away'); process.exit(1); }\n",
      0o755,
    );
  }

  write(file: string, content: string, mode?: number): void {
    const path = join(this.folder, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content, { mode });
  }

  has(file: string): boolean {
    return existsSync(join(this.folder, file));
  }

  delete(file: string): void {
    rmSync(join(this.folder, file), { recursive: true, force: true });
  }

  /** The environment in which the stand-ins are found and log. */
  environment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
    const PATH = `${join(this.folder, 'bin')}${delimiter}${process.env.PATH}`;
    return { PATH, HOME: this.folder, STAND_IN_LOG: this.#log, ...extra };
  }

  /** Runs one of the scripts to its end. */
  run(script: string, { args = [], env = {} }: RunOptions = {}): SpawnSyncReturns<string> {
    const path = join(this.folder, 'scripts', script);
    return spawnSync(process.execPath, [path, ...args], { encoding: 'utf8', env: this.environment(env) });
  }

  /** Which stand-ins ran since the last call, with their arguments. */
  takeLog(): string[] {
    const lines = existsSync(this.#log) ? readFileSync(this.#log, 'utf8').trim().split('\n') : [];
    rmSync(this.#log, { force: true });
    return lines;
  }

  /** The environment npx was started with the last time. */
  npxEnvironment(): Record<string, string> {
    return JSON.parse(readFileSync(`${this.#log}.npx`, 'utf8'));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
