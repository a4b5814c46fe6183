// A list whose members know their place in it. Not a Set: connections come and go so fast that the tables a Set outgrows reach the
// old generation with members that are long gone, and keep them, and all that they refer to, from the garbage collector's fast path
// (measured: half of all CPU time; docs/performance.md).

/** Something that is on one roster at a time. */
export interface Listed<Member> {
  /** The roster's own. */
  place?: Place<Member> | undefined;
}

interface Place<Member> {
  readonly roster: object;
  before: Member | undefined;
  after: Member | undefined;
}

export class Roster<Member extends Listed<Member>> {
  #first: Member | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(member: Member): boolean {
    return member.place?.roster === this;
  }

  /** `member` must be on no roster. */
  add(member: Member): void {
    const first = this.#first;
    member.place = { roster: this, before: undefined, after: first };
    if (first?.place !== undefined) first.place.before = member;
    this.#first = member;
    this.#size++;
  }

  /** Harmless for one that is not on it. */
  delete(member: Member): void {
    const { place } = member;
    if (place === undefined || !this.has(member)) return;
    const { before, after } = place;
    if (before?.place === undefined) this.#first = after;
    else before.place.after = after;
    if (after?.place !== undefined) after.place.before = before;
    member.place = undefined;
    this.#size--;
  }

  /** Latest first. The member at hand may leave. */
  *[Symbol.iterator](): IterableIterator<Member> {
    for (let member = this.#first; member !== undefined; ) {
      const after: Member | undefined = member.place?.after;
      yield member;
      member = after;
    }
  }
}
