// For what a timer decides in a test whose client and server are one process: on a busy machine both are late at once.
import { monitorEventLoopDelay } from 'node:perf_hooks';

/**
 * Runs an attempt, and again if it threw while this process stood still for longer than `mostMs`. Assert on what it returns:
 * an assertion that fails inside of it has failed the test.
 */
export async function unlessStalled<T>(mostMs: number, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    const delays = monitorEventLoopDelay({ resolution: 10 });
    delays.enable();
    try {
      return await attempt();
    } catch (error) {
      if (delays.max / 1e6 < mostMs) throw error;
    } finally {
      delays.disable();
    }
  }
}
