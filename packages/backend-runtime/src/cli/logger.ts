// The commands' logger: JSON lines for machines, or lines for people.
import { type Logger, pino } from 'pino';
import pretty from 'pino-pretty';

/** @param isPretty for people; colours on a terminal only */
export function logger(level: string, isPretty: boolean): Logger {
  if (!isPretty) return pino({ level });
  const stream = pretty({
    colorize: process.stdout.isTTY === true,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname',
    singleLine: true,
    // Nothing is lost when the process ends.
    sync: true,
  });
  return pino({ level }, stream);
}
