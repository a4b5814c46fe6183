// What a listener threw, in the middle of work that must go on: an uncaught exception all the same, and nobody else's trouble.

/** Throws it in the next tick. */
export function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}
