// Handovers without descriptors, for what only looks at their headers. The headers pass the real encoder and decoder.
import { encodeMessage, type Handover, MessageDecoder, type ScgiHeaders } from '@fdpass/scgi-fdpass';

export type Entries = readonly (readonly [name: string, value: string])[];

export interface StandIn {
  kind?: Handover['kind'];
  version?: 0 | 1;
  /** In `relay` the body that CONTENT_LENGTH announces. @default none */
  earlyBytes?: Buffer;
}

export function scgiHeaders(
  entries: Entries,
  { kind = 'full', earlyBytes = Buffer.alloc(0) }: StandIn = {},
): ScgiHeaders {
  const dialect = kind === 'relay' ? 'plain' : 'fd_pass';
  const message = new MessageDecoder().push(encodeMessage({ headers: entries, dialect, earlyBytes }));
  if (message === undefined) throw new Error('the encoder wrote less than a message');
  return message.headers;
}

/** Has no descriptors: they must not be asked for. */
export function standIn(entries: Entries, options: StandIn = {}): Handover {
  const { kind = 'full', version = kind === 'relay' ? 0 : 1, earlyBytes = Buffer.alloc(0) } = options;
  const sender = { pid: 4711, uid: 33, gid: 33 };
  const facts = { kind, version, headers: scgiHeaders(entries, options), sender, hops: 0, earlyBytes };
  return (kind === 'relay' ? { ...facts, contentLength: earlyBytes.length } : facts) as unknown as Handover;
}

/** The least a request needs, and what is given. */
export const requestEntries = (...more: Entries): Entries => [
  ['REQUEST_METHOD', 'GET'],
  ['REQUEST_URI', '/'],
  ['HTTP_HOST', 'example.org'],
  ...more,
];
