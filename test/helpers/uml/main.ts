// Runs a command in a guest with kernel TLS by hand: `node build/test/helpers/uml/main.js <seconds> <command> [argument]...`.
// Its output is ours, its exit code too.
import { runInGuest } from './guest.js';

const [seconds = '', ...command] = process.argv.slice(2);
if (!(Number(seconds) > 0) || command.length === 0) {
  process.stderr.write('Usage: main.js <seconds> <command> [argument]...\n');
  process.exit(2);
}

const told = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => told.abort());
try {
  const { code, milliseconds } = await runInGuest(command, {
    timeoutMs: Number(seconds) * 1000,
    onOutput: (text) => process.stdout.write(text),
    onErrors: (text) => process.stderr.write(text),
    signal: told.signal,
  });
  process.stderr.write(`The guest took ${(milliseconds / 1000).toFixed(1)} s.\n`);
  process.exitCode = code;
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
