// What the backend is told about a request: the SCGI headers of one handover, in the order nginx's module sends them. Pure.
import type { SocketAddress } from '../native.js';
import type { RequestHead } from './request-head-parser.js';
import { hostOf, queryOf } from './request-target.js';

/** How many headers a message has beside the request's own fields: those below, and what the sender adds itself. */
export const OWN_VARIABLES = 13;

/** The sender's side of the connection: where the request came in. */
export type ServerAddress = Pick<SocketAddress, 'address' | 'port'>;

/** Field names seen in most requests, as clients write them, so that they need not be rewritten for each one. */
const COMMON_NAMES = new Map<string, string>();
for (const name of [
  'Host Connection Cache-Control User-Agent Accept Accept-Encoding Accept-Language Cookie Referer Origin Upgrade Pragma',
  'Upgrade-Insecure-Requests Content-Type Content-Length Transfer-Encoding If-None-Match If-Modified-Since Range',
  'Authorization Expect DNT Priority Sec-Fetch-Site Sec-Fetch-Mode Sec-Fetch-Dest Sec-Fetch-User Sec-CH-UA',
  'Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-WebSocket-Key Sec-WebSocket-Version Sec-WebSocket-Extensions X-Forwarded-For',
]
  .join(' ')
  .split(' ')) {
  COMMON_NAMES.set(name, variableName(name)).set(name.toLowerCase(), variableName(name));
}

/**
 * Builds the variables of one request.
 *
 * Fields with an underscore in their name are left out (`X_User` and `X-User` would become one: nginx leaves them out too),
 * and so is `Proxy`, which CGI programs take for their own proxy setting (httpoxy).
 */
export function scgiVariables(
  head: RequestHead,
  client: ServerAddress,
  server: ServerAddress,
): [name: string, value: string][] {
  const serverAddress = plainAddress(server.address);
  const variables: [string, string][] = [
    ['REMOTE_ADDR', plainAddress(client.address)],
    ['REMOTE_PORT', String(client.port)],
    ['REQUEST_METHOD', head.method],
    ['REQUEST_URI', head.target],
    ['SERVER_ADDR', serverAddress],
    ['SERVER_PORT', String(server.port)],
    ['QUERY_STRING', queryOf(head.target)],
    ['SERVER_PROTOCOL', head.protocol],
    ['REQUEST_SCHEME', 'http'],
    ['SERVER_NAME', hostOf(head.authority) || serverAddress],
  ];
  const { fields } = head;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string;
    const known = COMMON_NAMES.get(name);
    if (known === undefined && (name.includes('_') || (name.length === 5 && name.toLowerCase() === 'proxy')))
      continue;
    variables.push([known ?? variableName(name), fields[at + 1] as string]);
  }
  return variables;
}

/** An IPv4 client of a dual-stack listener is an IPv4 client: `::ffff:192.0.2.1` becomes `192.0.2.1`. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}

function variableName(fieldName: string): string {
  return `HTTP_${fieldName.toUpperCase().replaceAll('-', '_')}`;
}
