// Ends a client without an answer, politely or by a reset; whoever else has a copy of its descriptor.
import { closeHandover, type Handover } from '@fdpass/scgi-fdpass';
import { native } from './native.js';
import { isConnected } from './tcp-state.js';

const BOTH_WAYS = 2;

/** Borrows. Whether the client has reset its connection: in a relay nobody but the web server knows. */
export const isClientGone = (handover: Handover): boolean =>
  handover.kind !== 'relay' && !isConnected(handover.passedFd.fd);

/** Takes the handover's descriptors. Closing alone would end nothing while a copy lies in the queue of a backend that has not taken it. */
export function endClient(handover: Handover): void {
  try {
    if (handover.kind !== 'relay') native().shutdown(handover.passedFd.fd, BOTH_WAYS);
    if (handover.kind !== 'full') native().shutdown(handover.connection.fd, BOTH_WAYS);
  } finally {
    closeHandover(handover);
  }
}

/**
 * Takes the handover's descriptors. The client of a full or a partial handover gets a reset (TCP RST); the client of a relay is the web
 * server's, which answers 502 when its connection ends.
 */
export function resetClient(handover: Handover): void {
  try {
    if (handover.kind !== 'relay') native().resetTcp(handover.passedFd.take());
  } finally {
    if (handover.kind !== 'full') handover.connection.close();
  }
}
