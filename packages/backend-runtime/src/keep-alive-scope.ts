// Whether a later request of a connection is still what the web server's operator meant to let in. Pure.

/** Encoded separators and NUL: a web server that decodes them sees another path than the one compared here. */
const ENCODED_SEPARATOR = /%(?:2f|5c|00)/i;

/** What the later requests of one connection are held against. */
export interface RequestScope {
  /** Path prefix. */
  readonly scope: string;
  /** The first request's Host field. */
  readonly host: string | undefined;
}

/**
 * True if a request must be answered 421 Misdirected Request: it names another Host, its path (decoded) is outside the scope, its
 * target is in absolute form, has a fragment, or has a path whose raw and normal forms disagree (dot segments, empty segments,
 * encoded separators): the web server would have judged another path than the one the application serves.
 */
export function isMisdirected(
  target: string,
  host: string | undefined,
  { scope, host: firstHost }: RequestScope,
): boolean {
  if (host?.toLowerCase() !== firstHost?.toLowerCase()) return true;
  if (!target.startsWith('/')) return !(target === '*' && scope === '/');
  // No target has a fragment (RFC 9112 section 3.2.1): nginx cuts it off, an application may take it for a part of the path.
  if (target.includes('#')) return true;
  const queryAt = target.indexOf('?');
  const path = queryAt === -1 ? target : target.slice(0, queryAt);
  if (ENCODED_SEPARATOR.test(path)) return true;
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return true;
  }
  return hasMeaninglessSegment(decoded) || !decoded.startsWith(scope);
}

function hasMeaninglessSegment(path: string): boolean {
  const segments = path.split('/').slice(1);
  return segments.some(
    (segment, index) =>
      segment === '.' ||
      segment === '..' ||
      segment.includes('\\') ||
      (segment === '' && index < segments.length - 1),
  );
}
