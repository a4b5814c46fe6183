// The variables of log formats: nginx's, as far as they mean something on this side of a handover, and our own. A value of undefined
// is one that is not there; '' is one that is empty. Where nginx says what they are: ngx_http_core_module, ngx_http_log_module.
import { randomFillSync } from 'node:crypto';
import { hostname } from 'node:os';
import type { ConnectionFacts } from '../connection-info.js';
import { iso8601Time, localTime, seconds } from './log-clock.js';
import type { LogRecord } from './log-record.js';
import {
  argument,
  basicUser,
  cookie,
  fieldOf,
  hostOf,
  normalPath,
  queryOf,
  requestBytesOnWire,
  sentHeader,
} from './log-values.js';

export interface LogVariable {
  readonly read: (record: LogRecord) => string | undefined;
  /** Reads, so that it is kept, what the kernel tells only while the connection is open. */
  readonly prepare?: (info: ConnectionFacts) => unknown;
  readonly usesTcpInfo?: boolean;
}

type Read = LogVariable['read'];

const tcp = (field: 'rttUs' | 'rttVarianceUs' | 'sendCongestionWindow' | 'receiveSpace'): LogVariable => ({
  read: ({ tcpInfo }) => (tcpInfo === undefined ? undefined : String(tcpInfo[field])),
  usesTcpInfo: true,
});
const local = (info: ConnectionFacts): unknown => info.local;
const ingress = (info: ConnectionFacts): unknown => info.ingress;
const tls = (info: ConnectionFacts): unknown => info.tls;

const target = ({ request }: LogRecord): string => request.url ?? '';
/** A relay's is the sender's: its client may have come by HTTP/2, though what arrives here is HTTP/1.1. */
function protocol({ request, handover }: LogRecord): string {
  const said = handover.info.handover === 'relay' ? handover.headers.get('SERVER_PROTOCOL') : undefined;
  return said ?? (request.httpVersion === '1.1' ? 'HTTP/1.1' : 'HTTP/1.0');
}
const query: Read = (record) => queryOf(target(record));
const serverName: Read = ({ handover }) => handover.headers.get('SERVER_NAME');
const HOSTNAME = hostname();
const PID = String(process.pid);

const VARIABLES: Readonly<Record<string, LogVariable>> = {
  // The client, as the sender says: after realip or PROXY protocol.
  remote_addr: { read: ({ info }) => (info.client.family === 'unix' ? 'unix:' : info.client.address) },
  remote_port: { read: ({ info }) => (info.client.port === 0 ? '' : String(info.client.port)) },
  remote_user: { read: ({ request }) => basicUser(fieldOf(request, 'authorization')) },

  // The request.
  request_method: { read: ({ request }) => request.method },
  request_uri: { read: target },
  uri: { read: (record) => normalPath(target(record)) },
  args: { read: query },
  query_string: { read: query },
  is_args: { read: (record) => (queryOf(target(record)) === undefined ? '' : '?') },
  server_protocol: { read: protocol },
  host: { read: (record) => hostOf(fieldOf(record.request, 'host')) ?? serverName(record) },
  request_id: { read: ({ request }) => requestId(request) },
  /** Request line, header fields and body; without the framing of a chunked body. */
  request_length: { read: (record) => String(requestBytesOnWire(record.request) + record.requestBytes) },
  request_time: { read: ({ durationMs }) => seconds(durationMs) },

  // The answer.
  status: { read: ({ status }) => String(status) },
  /** Without the framing of a chunked body. */
  body_bytes_sent: { read: ({ responseBytes }) => String(responseBytes) },
  /** Head and body, without the framing of a chunked body and without what TLS adds. */
  bytes_sent: { read: ({ head, responseBytes }) => String(head.length + responseBytes) },

  // The time of the line.
  time_local: { read: ({ nowMs }) => localTime(nowMs) },
  time_iso8601: { read: ({ nowMs }) => iso8601Time(nowMs) },
  msec: { read: ({ nowMs }) => seconds(nowMs) },

  // The connection.
  connection: { read: ({ connection }) => String(connection) },
  connection_requests: { read: ({ requestNumber }) => String(requestNumber) },
  server_addr: { read: ({ info }) => info.local?.address, prepare: local },
  server_port: {
    read: ({ info }) => (info.local === undefined ? undefined : String(info.local.port)),
    prepare: local,
  },
  server_name: { read: serverName },
  scheme: { read: ({ info }) => (info.isEncrypted ? 'https' : 'http') },
  https: { read: ({ info }) => (info.isEncrypted ? 'on' : '') },
  ssl_protocol: { read: ({ info }) => info.tls?.version, prepare: tls },
  /** As the kernel names it: `AES-128-GCM`. */
  ssl_cipher: { read: ({ info }) => info.tls?.cipher, prepare: tls },
  tcpinfo_rtt: tcp('rttUs'),
  tcpinfo_rttvar: tcp('rttVarianceUs'),
  tcpinfo_snd_cwnd: tcp('sendCongestionWindow'),
  tcpinfo_rcv_space: tcp('receiveSpace'),
  handover: { read: ({ info }) => info.handover },
  source_tag: { read: ({ info }) => info.sourceTag },
  ingress_interface: { read: ({ info }) => info.ingress?.name, prepare: ingress },

  // The process.
  pid: { read: () => PID },
  hostname: { read: () => HOSTNAME },
};

/** Families of variables, by what their names begin with. Longer ones first. */
const FAMILIES: readonly (readonly [prefix: string, make: (name: string) => Read])[] = [
  [
    'sent_http_',
    (name) =>
      ({ head }) =>
        sentHeader(head, dashed(name)),
  ],
  ['http_', (name) => requestHeader(dashed(name))],
  [
    'cookie_',
    (name) =>
      ({ request }) =>
        cookie(fieldOf(request, 'cookie'), name),
  ],
  ['arg_', (name) => (record) => argument(queryOf(target(record)), name)],
];

/** Variables that are made of others: what those have in common from request to request need not be put together for each line. */
export const COMPOSED: Readonly<Record<string, string>> = {
  request: '$request_method $request_uri $server_protocol',
};

/** All that have a name of their own. */
export const VARIABLE_NAMES: readonly string[] = [...Object.keys(VARIABLES), ...Object.keys(COMPOSED)];

/** @returns undefined if there is none of that name */
export function findVariable(name: string): LogVariable | undefined {
  if (Object.hasOwn(VARIABLES, name)) return VARIABLES[name];
  for (const [prefix, make] of FAMILIES) {
    if (name.startsWith(prefix) && name.length > prefix.length)
      return { read: make(name.slice(prefix.length)) };
  }
  return undefined;
}

const dashed = (name: string): string => name.toLowerCase().replaceAll('_', '-');

const requestHeader =
  (name: string): Read =>
  ({ request }) =>
    fieldOf(request, name);

type Identified = LogRecord['request'] & { id?: unknown };

const ID_BYTES = 16;
const randomBytes = Buffer.alloc(ID_BYTES * 256);
let randomUsed = randomBytes.length;

/** The web server's id where it sends one (`REQUEST_ID`), else one of our own in the form of nginx's. */
function requestId(request: Identified): string {
  if (typeof request.id === 'string') return request.id;
  if (randomUsed === randomBytes.length) {
    randomFillSync(randomBytes);
    randomUsed = 0;
  }
  const id = randomBytes.toString('hex', randomUsed, randomUsed + ID_BYTES);
  randomUsed += ID_BYTES;
  // The same for each variable that asks, and for whoever logs the request besides.
  request.id = id;
  return id;
}
