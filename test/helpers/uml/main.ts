// The guest by hand, and for scripts. `run` runs a command in a guest, its output and exit code are ours; `kernel` and `debian-13`
// fetch these and print where they are.
import { parseArgs } from 'node:util';
import { DEBIAN_RELEASES, type DebianRelease } from './apt.js';
import { debian13 } from './debian-13.js';
import { runInGuest } from './guest.js';
import { umlKernel } from './kernel.js';

const RELEASES = DEBIAN_RELEASES.join('|');
const USAGE = `Usage: main.js run [--kernel ${RELEASES}] [--processor <n>] [--writable <folder>]... --timeout <s> -- <command>...
       main.js kernel [${RELEASES}]
       main.js debian-13
`;

function releaseNamed(name: string | undefined): DebianRelease | undefined {
  const release = DEBIAN_RELEASES.find((known) => known === name);
  if (name !== undefined && release === undefined) throw new Error(USAGE);
  return release;
}

async function run(args: string[]): Promise<number> {
  const { values, positionals: command } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      kernel: { type: 'string' },
      processor: { type: 'string', default: '0' },
      timeout: { type: 'string', default: '' },
      writable: { type: 'string', multiple: true, default: [] },
    },
  });
  const [seconds, processor] = [Number(values.timeout), Number(values.processor)];
  if (!(seconds > 0) || !(processor >= 0) || command.length === 0) throw new Error(USAGE);
  const told = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => told.abort());
  const { code, milliseconds } = await runInGuest(command, {
    release: releaseNamed(values.kernel),
    processor,
    timeoutMs: seconds * 1000,
    writable: values.writable,
    onOutput: (text) => process.stdout.write(text),
    onErrors: (text) => process.stderr.write(text),
    signal: told.signal,
  });
  process.stderr.write(`The guest took ${(milliseconds / 1000).toFixed(1)} s.\n`);
  return code;
}

const print = (text: string): number => {
  process.stdout.write(`${text}\n`);
  return 0;
};

const commands: Record<string, (args: string[]) => Promise<number>> = {
  run,
  kernel: async ([release]) => print((await umlKernel(releaseNamed(release))).program),
  'debian-13': async () => print(await debian13()),
};

const [name = '', ...args] = process.argv.slice(2);
try {
  const command = commands[name];
  if (command === undefined) throw new Error(USAGE);
  process.exitCode = await command(args);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
