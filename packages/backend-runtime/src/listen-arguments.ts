// What listen() may be called with, as net.Server's listen() has it for UNIX sockets. Pure.
import type { ListenAddress } from '@fdpass/scgi-fdpass';
import { RuntimeError } from './errors.js';

export interface ListenArguments {
  readonly address: ListenAddress;
  readonly signal: AbortSignal | undefined;
  readonly onListening: (() => void) | undefined;
}

/** A path string that net.Server would take for a port. */
const PORT = /^\d+$/;

/** @throws `BKR_ERR_LISTEN_ADDRESS` for a port or nothing at all */
export function listenArguments(args: readonly unknown[]): ListenArguments {
  const last = args.at(-1);
  const onListening = typeof last === 'function' ? (last as () => void) : undefined;
  const [first, second] = args;
  if (isPath(first) && !PORT.test(first)) {
    const backlog = typeof second === 'number' ? { backlog: second } : {};
    return { address: { path: first, ...backlog }, signal: undefined, onListening };
  }
  if (typeof first === 'object' && first !== null) {
    const { signal, fd, ...address } = first as { signal?: AbortSignal; path?: unknown; fd?: unknown };
    if (isPath(address.path)) return { address: address as ListenAddress, signal, onListening };
    if (typeof fd === 'number') return { address: { fd }, signal, onListening };
  }
  throw new RuntimeError('BKR_ERR_LISTEN_ADDRESS');
}

/** An empty path would let the kernel choose an abstract name (unix(7), autobind). */
const isPath = (value: unknown): value is string => typeof value === 'string' && value !== '';
