// What a receiver emits: one whole message with the descriptors it came with, and who owns what.
import type { PeerCredentials } from './native.js';
import type { PassedFd } from './passed-fd.js';
import type { ScgiHeaders } from './scgi-headers.js';

/**
 * How the client reaches us. `full`: the descriptor alone. `partial`: we write the descriptor, and read the client's
 * (decrypted) bytes from the UNIX connection. `relay`: no descriptor, both ways go over the UNIX connection.
 */
export type HandoverKind = 'full' | 'partial' | 'relay';

/** Answers on the UNIX connection to a version-1 sender. After `TAKEN_KEPT` the connection is a channel: more messages may follow. */
export const ACKNOWLEDGEMENT = { TAKEN: 0x06, REFUSED: 0x15, TAKEN_KEPT: 0x16 } as const;

interface HandoverFacts {
  readonly headers: ScgiHeaders;
  /** 1 if the sender speaks version 1 of the wire (early bytes, acknowledgement), else 0; if it was passed on, the first sender. */
  readonly version: 0 | 1;
  /**
   * The sender's process as of connect (SO_PEERCRED, unix(7)); if one of `trustedRouters` has passed it on, the first sender's by that
   * router's word.
   */
  readonly sender: PeerCredentials;
  /** Routers it was passed on by, as the last one says; 0 if it came from its sender directly. */
  readonly hops: number;
  /** What the sender had read past the request head: the next bytes of the client's stream. */
  readonly earlyBytes: Buffer;
}

export interface FullHandover extends HandoverFacts {
  readonly kind: 'full';
  readonly passedFd: PassedFd;
}

export interface PartialHandover extends HandoverFacts {
  readonly kind: 'partial';
  /** Only written. */
  readonly passedFd: PassedFd;
  /** The sender's UNIX connection, the first one's if it was passed on: only read. Its end is the end of the client's stream. */
  readonly connection: PassedFd;
}

export interface RelayHandover extends HandoverFacts {
  readonly kind: 'relay';
  /** The sender's UNIX connection, the first one's if it was passed on. */
  readonly connection: PassedFd;
  /** Bytes of the body still to come, `earlyBytes` among them: the sender's CONTENT_LENGTH. */
  readonly contentLength: number;
}

/** Whoever gets a handover owns its descriptors: take or close each of them. */
export type Handover = FullHandover | PartialHandover | RelayHandover;

/** Closes every descriptor of a handover that nobody took. */
export function closeHandover(handover: Handover): void {
  try {
    if (handover.kind !== 'relay') handover.passedFd.close();
  } finally {
    if (handover.kind !== 'full') handover.connection.close();
  }
}
