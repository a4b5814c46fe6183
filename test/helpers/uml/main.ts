// The guest by hand, and for scripts: `main.js run [--writable <folder>] <seconds> <command> [argument]...` runs a command in a
// guest, its output and exit code are ours; `main.js kernel` and `main.js debian-13` fetch these and print where they are.
import { debian13 } from './debian-13.js';
import { runInGuest } from './guest.js';
import { umlKernel } from './kernel.js';

const USAGE =
  'Usage: main.js run [--writable <folder>]... <seconds> <command> [argument]... | kernel | debian-13\n';

async function run(args: string[]): Promise<number> {
  const writable: string[] = [];
  while (args[0] === '--writable') writable.push(...args.splice(0, 2).slice(1));
  const [seconds = '', ...command] = args;
  if (!(Number(seconds) > 0) || command.length === 0) throw new Error(USAGE);
  const told = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => told.abort());
  const { code, milliseconds } = await runInGuest(command, {
    timeoutMs: Number(seconds) * 1000,
    writable,
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
  kernel: async () => print((await umlKernel()).program),
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
