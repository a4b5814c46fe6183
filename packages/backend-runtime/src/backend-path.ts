// A backend's UNIX socket as an operator writes it, and as it is shown to people.
import { checkOption } from './option-check.js';

/** sun_path is 108 bytes with its NUL (unix(7)). */
const MAX_PATH_BYTES = 107;

/**
 * @param target `unix:/path`, `/path`, or an abstract name (with a NUL before it)
 * @param place where it is written, as `listeners[0].to`
 * @returns the path, or NUL and the name
 * @throws `BKR_ERR_OPTION`
 */
export function backendPath(target: unknown, place: string): string {
  const path = typeof target === 'string' ? target.replace(/^unix:/, '') : '';
  const isPath = /^[/\0]./s.test(path) && !path.includes('\0', 1);
  checkOption(place, isPath, '"unix:" and an absolute path, or NUL and an abstract name');
  checkOption(place, Buffer.byteLength(path) <= MAX_PATH_BYTES, `at most ${MAX_PATH_BYTES} bytes long`);
  return path;
}

export const backendName = (path: string): string => `unix:${path.replace('\0', '@')}`;
