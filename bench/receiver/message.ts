// The message that is passed in benchmarks without a web server: about what nginx sends for a browser's request.
import { encodeMessage } from '@fdpass/scgi-fdpass';

const HEADERS: readonly (readonly [string, string])[] = [
  ['FD_PASS_VERSION', '1'],
  ['REMOTE_ADDR', '192.0.2.17'],
  ['REMOTE_PORT', '52814'],
  ['REQUEST_METHOD', 'GET'],
  ['REQUEST_URI', '/hello?from=benchmark'],
  ['SERVER_PROTOCOL', 'HTTP/1.1'],
  ['REQUEST_SCHEME', 'http'],
  ['SERVER_ADDR', '192.0.2.1'],
  ['SERVER_PORT', '80'],
  ['SERVER_NAME', 'bench.example'],
  ['QUERY_STRING', 'from=benchmark'],
  ['FD_PASS_LOCATION', '/'],
  ['HTTP_HOST', 'bench.example'],
  ['HTTP_USER_AGENT', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'],
  ['HTTP_ACCEPT', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'],
  ['HTTP_ACCEPT_LANGUAGE', 'en-US,en;q=0.5'],
  ['HTTP_ACCEPT_ENCODING', 'gzip, deflate'],
  ['HTTP_COOKIE', 'session=0123456789abcdef'],
];

/** About 600 bytes. @param keeps whether the sender asks for the connection to be kept */
export const benchMessage = (keeps: boolean): Buffer =>
  encodeMessage({ headers: keeps ? [...HEADERS, ['FD_PASS_KEEPALIVE', '1']] : HEADERS });
