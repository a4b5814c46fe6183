// Which listening socket of a shared port is whose. Pure.

/** Of those that have no other: nobody's clients, or those of the listener for everything else. */
export const REST_SLOT = 0;

/**
 * Whoever had a socket keeps it, so that its clients are not accepted by way of another's; the others get those that are left, and share
 * them where there are too few.
 * @param names of listeners, besides the one for everything else; each once
 * @param before slots they had
 * @param sockets at least one; slot 0 is given away only where there are too few
 */
export function assignSlots(
  names: readonly string[],
  before: ReadonlyMap<string, number>,
  sockets: number,
): Map<string, number> {
  const slots = new Map<string, number>();
  const taken = new Set([REST_SLOT]);
  for (const name of names) {
    const slot = before.get(name);
    if (slot === undefined || slot >= sockets || taken.has(slot)) continue;
    slots.set(name, slot);
    taken.add(slot);
  }
  const free = Array.from({ length: sockets }, (_, slot) => slot).filter((slot) => !taken.has(slot));
  let shared = 0;
  for (const name of names) {
    if (!slots.has(name)) slots.set(name, free.shift() ?? shared++ % sockets);
  }
  return slots;
}
