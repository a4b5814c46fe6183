// How a command ends: SIGTERM or SIGINT close politely and exit 0; a second signal ends the process at once.
import { describeFailure } from './failure.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/** A terminal and a parent process (npm) may both deliver one Ctrl-C. */
const SAME_KEYSTROKE_MS = 500;

/**
 * @param close drains; its failure is the process's (exit code 1)
 * @param more further signals for a command that lives in a terminal; others are left to nohup(1)
 */
export function onShutdown(close: () => Promise<unknown>, more: readonly NodeJS.Signals[] = []): void {
  let firstSignalMs: number | undefined;
  const onSignal = (): void => {
    const nowMs = performance.now();
    if (firstSignalMs !== undefined) {
      if (nowMs - firstSignalMs > SAME_KEYSTROKE_MS) process.exit(1);
      return;
    }
    firstSignalMs = nowMs;
    close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`fdpass: ${describeFailure(error)}\n`);
        process.exit(1);
      },
    );
  };
  for (const signal of [...SIGNALS, ...more]) process.on(signal, onSignal);
}
