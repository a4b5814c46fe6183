// Answers that the stats pass over.
import type { ServerResponse } from 'node:http';

const UNCOUNTED: unique symbol = Symbol('uncounted');
type Marked = ServerResponse & { [UNCOUNTED]?: true };

/** Leaves this request out of the stats, its bytes and its duration: for health checks, and for the scrape itself. */
export function leaveUncounted(response: ServerResponse): void {
  (response as Marked)[UNCOUNTED] = true;
}

export const isUncounted = (response: ServerResponse): boolean => (response as Marked)[UNCOUNTED] === true;
