// Where datagrams go: the one interface of the ways to a collector, and how its address is written.
import { isIPv6 } from 'node:net';
import { RuntimeError } from '../errors.js';

/** What became of a datagram: `dropped_full` did not find room in time, `dropped_error` did not find its collector. */
export type DatagramResult = 'sent' | 'dropped_full' | 'dropped_error';

/** Sends datagrams without ever waiting for anybody, and without throwing. */
export interface DatagramSink {
  /** The most that one datagram can carry on this way. */
  readonly maxDatagramBytes: number;
  /**
   * The bytes are not to be changed before `onDone`, which is called exactly once: perhaps at once, perhaps much later if the kernel
   * has no room for more.
   */
  send(datagram: Uint8Array, onDone: (result: DatagramResult) => void): void;
  /** What still waits for room is `dropped_full`. Idempotent. */
  close(): void;
}

export type CollectorAddress =
  | { readonly family: 'udp'; readonly host: string; readonly port: number }
  /** An abstract one begins with NUL. */
  | { readonly family: 'unix'; readonly path: string };

const UDP = /^udp:\/\/(?:\[([^\]]+)\]|([^:/?#@[\]\s]+)):(\d{1,5})$/;

/**
 * @param to `udp://host:port`, `unix:/path` or `unix:@name` (an abstract address)
 * @throws `BKR_ERR_OPTION`
 */
export function parseCollectorAddress(to: unknown): CollectorAddress {
  if (typeof to === 'string') {
    const [, address6, host = address6, portText] = UDP.exec(to) ?? [];
    const port = Number(portText);
    const isHost = host !== undefined && (address6 === undefined || isIPv6(address6));
    if (isHost && port >= 1 && port <= 0xffff) return { family: 'udp', host, port };
    const path = to.startsWith('unix:') ? to.slice('unix:'.length) : '';
    if (path.length > 1 && !path.includes('\0')) {
      if (path.startsWith('/')) return { family: 'unix', path };
      if (path.startsWith('@')) return { family: 'unix', path: `\0${path.slice(1)}` };
    }
  }
  throw new RuntimeError('BKR_ERR_OPTION', 'to', '"udp://host:port", "unix:/path" or "unix:@name"');
}
