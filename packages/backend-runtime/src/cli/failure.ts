// A failure as the one line a command prints: what went wrong, why, and where in the application's own files.
import { fileURLToPath } from 'node:url';
import { RuntimeError } from '../errors.js';

const OUR_PACKAGE = fileURLToPath(new URL('../../', import.meta.url));
/** The end of a stack's line: a file URL or an absolute path, and a line number. `node:` modules are neither. */
const PLACE = /(?:^|[\s(])(?:(file:\/\/[^\s()]+?)|(\/[^():]+)):(\d+)(?::\d+)?\)?$/;

/** One line, without a stack; the cause is in brackets, with its place if it arose in an application. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(String(error));
  const { message, cause } = error;
  if (!(cause instanceof Error)) return oneLine(message);
  const isOfApp = error instanceof RuntimeError && error.code === 'BKR_ERR_APP';
  return oneLine(`${message} (${isOfApp ? inApp(cause) : cause.message})`);
}

/** Where in the application an error arose, as `file:line`; undefined if its stack does not say. */
export function placeOf({ stack = '' }: Error): string | undefined {
  for (const line of stack.split('\n')) {
    const [, url, path, number] = PLACE.exec(line) ?? [];
    const file = url === undefined ? path : fileURLToPath(url);
    if (file === undefined || file.includes('/node_modules/') || file.startsWith(OUR_PACKAGE)) continue;
    return `${file}:${number}`;
  }
  return undefined;
}

function inApp(error: Error): string {
  const { name, message } = error;
  const named = name === 'Error' || 'code' in error ? message : `${name}: ${message}`;
  const place = placeOf(error);
  // Some parsers name the place themselves.
  return place === undefined || message.includes(place) ? named : `${named}, at ${place}`;
}

const oneLine = (text: string): string => text.trim().replace(/\s*\n\s*/g, ' ');
