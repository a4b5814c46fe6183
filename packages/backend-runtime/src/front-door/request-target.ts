// The request target: its three forms (RFC 9112 section 3.2) and the authority in them (RFC 3986 section 3.2). It neither
// decodes nor normalises anything: the backend gets the target as it came.
import { RuntimeError } from '../errors.js';

/** A host (name, IPv4 address or IPv6 address in brackets; may be empty) and a port that may be missing. No user names. */
const AUTHORITY = /^(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?$/;

/**
 * Visible ASCII without "#": a fragment is never sent. RFC 3986 forbids a few more ("|", "^", "{" ...), but browsers send
 * them in queries and every server takes them.
 */
const TARGET = /^[!"$-~]+$/;

/** True for `host` or `host:port` as a Host field has it; the empty string is one too. */
export const isAuthority = (text: string): boolean => AUTHORITY.test(text);

/** The host in an authority, without the port; an IPv6 address keeps its brackets. */
export function hostOf(authority: string): string {
  const portColon = authority.lastIndexOf(':');
  return portColon > authority.lastIndexOf(']') ? authority.slice(0, portColon) : authority;
}

/** Compares two authorities of http: hosts without case, a missing port as 80. */
export function namesSameHost(one: string, other: string): boolean {
  return withPort(one) === withPort(other);
}

function withPort(authority: string): string {
  const host = hostOf(authority);
  const port = authority.slice(host.length + 1);
  return `${host.toLowerCase()}:${port === '' ? 80 : Number(port)}`;
}

/** What follows the first "?" of a target, '' without one. */
export function queryOf(target: string): string {
  const mark = target.indexOf('?');
  return mark === -1 ? '' : target.slice(mark + 1);
}

/**
 * Checks a target: origin-form (`/path?query`), absolute-form (`http://host/path?query`) or, for OPTIONS, `*`.
 *
 * @returns the authority of an absolute-form target, undefined for the other forms
 * @throws RuntimeError BKR_ERR_FRONT_DOOR_BAD_REQUEST
 */
export function targetAuthority(target: string, method: string): string | undefined {
  if (!TARGET.test(target)) throw malformed('the request target is empty or has a character no URI has');
  if (target.startsWith('/') || (target === '*' && method === 'OPTIONS')) return undefined;
  const authority = /^http:\/\/([^/?]+)/i.exec(target)?.[1];
  if (authority === undefined)
    throw malformed('the request target is neither a path nor a URI that begins with http://');
  if (hostOf(authority) === '' || !isAuthority(authority))
    throw malformed('the request target does not name a host');
  return authority;
}

const malformed = (what: string): RuntimeError => new RuntimeError('BKR_ERR_FRONT_DOOR_BAD_REQUEST', what);
