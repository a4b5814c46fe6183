// Offers one client to several backends, one after the other, until one takes it. Borrows the client's descriptor: what to do with it
// afterwards follows from the result.

import { setTimeout as delay } from 'node:timers/promises';
import type { OutgoingHandover, Sender, WireErrorCode } from '@fdpass/scgi-fdpass';

/** A backend's socket as shown to people, and the way to it. */
export interface Backend {
  readonly name: string;
  readonly sender: Sender;
}

export interface Refusal {
  readonly backend: string;
  readonly code: WireErrorCode;
  readonly error: Error;
}

export interface Offer {
  readonly handover: OutgoingHandover;
  readonly backends: readonly Backend[];
  /** How long to try again when it is this process that lacks descriptors or memory. */
  readonly shortageTimeoutMs: number;
  /** Asked before each attempt: true ends the offer. */
  cancelled(): boolean;
  /** Ends the attempt under way. */
  readonly signal?: AbortSignal;
  onRefusal(refusal: Refusal): void;
  /** This process lacks descriptors, or has too many in flight. */
  onShortage(error: NodeJS.ErrnoException): void;
}

/** errno codes that say something about this process or host, and nothing about the backend. */
const SHORTAGES: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'ETOOMANYREFS']);
const SHORTAGE_RETRY_MS = 50;

/**
 * Those that refused are asked once more in the end.
 * @returns undefined if a backend took the client: our copy must be closed and the socket left alone. Else the last refusal:
 * nothing of the client was touched.
 */
export async function handOver(offer: Offer): Promise<Refusal | undefined> {
  let last: Refusal | undefined;
  const refusing: Backend[] = [];
  for (const backend of offer.backends) {
    const refusal = await offerTo(backend, offer);
    if (refusal === undefined) return undefined;
    last = refusal;
    if (offer.cancelled()) return last;
    offer.onRefusal(refusal);
    if (refusal.code === 'FDPASS_ERR_REFUSED') refusing.push(backend);
  }
  // One that drains refuses what waits in its accept queue: after a takeover its successor listens on the same path.
  for (const backend of refusing) {
    if ((await offerTo(backend, offer)) === undefined) return undefined;
    if (offer.cancelled()) break;
  }
  return last;
}

async function offerTo({ name, sender }: Backend, offer: Offer): Promise<Refusal | undefined> {
  const giveUpAt = performance.now() + offer.shortageTimeoutMs;
  for (;;) {
    const outcome = await sender.send(offer.handover, offer.signal);
    if (outcome.taken) return undefined;
    const shortage = outcome.error.cause as NodeJS.ErrnoException | undefined;
    if (SHORTAGES.has(shortage?.code) && shortage !== undefined) {
      offer.onShortage(shortage);
      if (performance.now() < giveUpAt && !offer.cancelled()) {
        await delay(SHORTAGE_RETRY_MS);
        if (!offer.cancelled()) continue;
      }
    }
    return { backend: name, code: outcome.code, error: outcome.error };
  }
}
