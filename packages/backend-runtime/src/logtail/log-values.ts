// Parts of requests and answers as nginx's variables have them. Pure; text is latin1, one character for each byte.
import type { IncomingMessage } from 'node:http';

/**
 * A field of the request, several of a name with a comma between them. `request.headers` is an object that Node.js makes when it is first
 * asked for: for a line alone it costs as much as all the rest of it.
 * @param name in lower case
 */
export function fieldOf(request: FieldsOnly, name: string): string | undefined {
  const { rawHeaders } = request;
  let value: string | undefined;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const given = rawHeaders[at] as string;
    if (given.length !== name.length || given.toLowerCase() !== name) continue;
    if (value !== undefined) {
      const all = request.headers[name];
      return typeof all === 'object' ? all.join(', ') : all;
    }
    value = rawHeaders[at + 1];
  }
  return value;
}

type FieldsOnly = Pick<IncomingMessage, 'rawHeaders' | 'headers'>;

/** What follows the first `?`, without a fragment; undefined if nothing does. */
export function queryOf(target: string): string | undefined {
  const at = target.indexOf('?');
  if (at === -1) return undefined;
  const fragmentAt = target.indexOf('#');
  const end = fragmentAt === -1 ? target.length : fragmentAt;
  return end > at + 1 ? target.slice(at + 1, end) : undefined;
}

const NEEDS_WORK = /[%#]|\/[/.]/;
const ENCODED = /%([0-9A-Fa-f]{2})/g;
const ABSOLUTE_FORM = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]*/;

/** The path, decoded, with empty and dot segments removed; `$uri`. */
export function normalPath(target: string): string {
  const relative = target.startsWith('/') ? target : target.replace(ABSOLUTE_FORM, '') || '/';
  const queryAt = relative.indexOf('?');
  const path = queryAt === -1 ? relative : relative.slice(0, queryAt);
  if (!NEEDS_WORK.test(path)) return path;
  const fragmentAt = path.indexOf('#');
  const decoded = (fragmentAt === -1 ? path : path.slice(0, fragmentAt)).replace(
    ENCODED,
    (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const segments: string[] = [];
  const raw = decoded.split('/').slice(1);
  for (const segment of raw) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  const last = raw.at(-1);
  const isFolder = last === '' || last === '.' || last === '..';
  return `/${segments.join('/')}${isFolder && segments.length > 0 ? '/' : ''}`;
}

/** The value of the first `name=`, letter case aside; as it came, not decoded. */
export function argument(query: string | undefined, name: string): string | undefined {
  if (query === undefined) return undefined;
  return find(query, '&', name);
}

/** The value of a cookie, letter case of its name aside, as nginx finds it. */
export function cookie(header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined;
  return find(header, ';', name);
}

function find(list: string, separator: string, name: string): string | undefined {
  let at = 0;
  while (at <= list.length) {
    const next = list.indexOf(separator, at);
    const end = next === -1 ? list.length : next;
    let start = at;
    while (separator === ';' && list[start] === ' ') start++;
    const equalsAt = start + name.length;
    if (list[equalsAt] === '=' && equalsAt < end && isSameName(list.slice(start, equalsAt), name)) {
      return list.slice(equalsAt + 1, end);
    }
    at = end + 1;
  }
  return undefined;
}

const isSameName = (one: string, other: string): boolean =>
  one === other || one.toLowerCase() === other.toLowerCase();

/** The user of Basic authentication; undefined without one. */
export function basicUser(authorization: string | undefined): string | undefined {
  if (authorization === undefined || !/^basic /i.test(authorization)) return undefined;
  const credentials = Buffer.from(authorization.slice('basic '.length).trim(), 'base64').toString('latin1');
  const colonAt = credentials.indexOf(':');
  return colonAt > 0 ? credentials.slice(0, colonAt) : undefined;
}

/** A Host field without its port, in lower case. */
export function hostOf(host: string | undefined): string | undefined {
  if (host === undefined || host === '') return undefined;
  const portAt = host.indexOf(':', host.startsWith('[') ? host.indexOf(']') : 0);
  const name = (portAt === -1 ? host : host.slice(0, portAt)).toLowerCase();
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

/** The values of a field in an answer's head; those of several lines with a comma between them. */
export function sentHeader(head: string, name: string): string | undefined {
  let found: string | undefined;
  let lineAt = head.indexOf('\r\n') + 2;
  while (lineAt > 1) {
    const end = head.indexOf('\r\n', lineAt);
    if (end <= lineAt) break;
    const colonAt = lineAt + name.length;
    if (head[colonAt] === ':' && head.slice(lineAt, colonAt).toLowerCase() === name) {
      const value = head.slice(colonAt + 1, end).trim();
      found = found === undefined ? value : `${found}, ${value}`;
    }
    lineAt = end + 2;
  }
  return found;
}

/** The head of a request as a client usually writes it: one space behind each colon. */
export function requestBytesOnWire({ method = '', url = '', rawHeaders }: IncomingMessage): number {
  // Two spaces, HTTP/1.1, the line break, and the empty line.
  let bytes = method.length + url.length + 14;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    bytes += (rawHeaders[at] as string).length + (rawHeaders[at + 1] as string).length + 4;
  }
  return bytes;
}
