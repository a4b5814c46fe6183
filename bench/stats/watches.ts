// Who watches the requests that are measured.

/** In the order they are told; the first is what the others are compared with. */
export const WATCHES = ['nothing', 'stats', 'log', 'both'] as const;
export type Watch = (typeof WATCHES)[number];
