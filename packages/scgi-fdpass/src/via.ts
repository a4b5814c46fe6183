// The variables a router adds when it passes a handover on: their names, and how they are read. What they are believed for is the
// receiver's to say; how they are written is in onward.ts.

import { WireError } from './errors.js';
import type { PeerCredentials } from './native.js';
import type { ScgiHeaders } from './scgi-headers.js';

/** Most routers one after the other: a message that has come through so many goes in a circle. */
export const MAX_HOPS = 99;

/** What a router says, and each router anew. */
export const ROUTER_NAMES: readonly string[] = [
  'FD_PASS_VIA',
  'FD_PASS_VIA_PID',
  'FD_PASS_VIA_UID',
  'FD_PASS_VIA_GID',
  'FD_PASS_VIA_VERSION',
  'FD_PASS_RELAY',
];

/** Most headers that a message gets on its way: those, and FD_PASS_VERSION. */
export const ROUTER_HEADERS = ROUTER_NAMES.length + 1;

/** What a message says of its way; by the word of the router it came from. */
export interface Via {
  /** FD_PASS_VIA: routers it has come through, 1 to {@link MAX_HOPS}. */
  readonly hops: number;
  /** FD_PASS_VIA_PID, FD_PASS_VIA_UID and FD_PASS_VIA_GID: the process that handed over first. */
  readonly sender: PeerCredentials;
  /** FD_PASS_VIA_VERSION: what that process spoke; 0 in a relay. */
  readonly version: 0 | 1;
}

const MAX_PID = 2 ** 31 - 1;
const MAX_ID = 2 ** 32 - 1;
const DECIMAL = /^(?:0|[1-9][0-9]*)$/;

/**
 * @returns undefined if the message was not passed on
 * @throws SCGI_ERR_VIA
 */
export function readVia(headers: ScgiHeaders): Via | undefined {
  if (!headers.has('FD_PASS_VIA')) return undefined;
  return {
    hops: integer(headers, 'FD_PASS_VIA', 1, MAX_HOPS),
    sender: {
      pid: integer(headers, 'FD_PASS_VIA_PID', 0, MAX_PID),
      uid: integer(headers, 'FD_PASS_VIA_UID', 0, MAX_ID),
      gid: integer(headers, 'FD_PASS_VIA_GID', 0, MAX_ID),
    },
    version: headers.has('FD_PASS_VIA_VERSION')
      ? (integer(headers, 'FD_PASS_VIA_VERSION', 0, 1) as 0 | 1)
      : 1,
  };
}

/**
 * FD_PASS_RELAY: the CONTENT_LENGTH of a relay that was passed on.
 * @returns undefined if the message passes no relay on
 * @throws SCGI_ERR_RELAY
 */
export function readRelayLength(headers: ScgiHeaders, via: Via | undefined): number | undefined {
  const value = headers.get('FD_PASS_RELAY');
  if (value === undefined) return undefined;
  if (via === undefined) throw new WireError('SCGI_ERR_RELAY', 'comes without FD_PASS_VIA');
  const length = DECIMAL.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(length)) throw new WireError('SCGI_ERR_RELAY', 'is no length');
  return length;
}

function integer(headers: ScgiHeaders, name: string, min: number, max: number): number {
  const value = headers.get(name) ?? '';
  const number = DECIMAL.test(value) ? Number(value) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw new WireError('SCGI_ERR_VIA', name, min, max);
}
