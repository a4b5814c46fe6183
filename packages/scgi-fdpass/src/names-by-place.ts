// The names of SCGI headers, as the strings they were in the message before.

/**
 * One web server's messages have the same names in the same places, most of the time. A name that is where it was before is not cut
 * out of the message but is the string it was then: nothing to allocate, and nothing to hash for whoever looks it up.
 */
export class NamesByPlace {
  /** The bounds are for hostile clients. */
  static readonly #MAX_PLACES = 64;
  static readonly #MAX_LENGTH = 64;
  readonly #before: string[] = [];
  /** How many names the latest judged message had, if they still are in `#before` as they were; else -1. */
  #judged = -1;
  /** Whether all names of the message at hand are in `#before`. */
  #isWhole = true;
  readonly #interned: ReadonlyMap<string, string>;

  /** @param names of which the very strings given here are answered: whoever compares with them compares pointers */
  constructor(names: Iterable<string>) {
    this.#interned = new Map([...names].map((name) => [name, name]));
  }

  /** The name that begins at `begin`, up to its NUL; undefined if there is none. */
  at(place: number, text: string, begin: number): string | undefined {
    if (place === 0) this.#isWhole = true;
    const before = this.#before[place];
    if (
      before !== undefined &&
      text.charCodeAt(begin + before.length) === 0 &&
      text.startsWith(before, begin)
    ) {
      return before;
    }
    const end = text.indexOf('\0', begin);
    if (end === -1) return undefined;
    const name = text.slice(begin, end);
    this.#judged = -1;
    if (place >= NamesByPlace.#MAX_PLACES || name.length > NamesByPlace.#MAX_LENGTH) {
      this.#isWhole = false;
      return name;
    }
    // A string cut out of a message would keep the whole message in memory.
    const own = this.#interned.get(name) ?? Buffer.from(name, 'latin1').toString('latin1');
    this.#before[place] = own;
    return own;
  }

  /** Whether a message with so many names has the very names of one that was judged. */
  areJudged(count: number): boolean {
    return count === this.#judged;
  }

  /** The names of a message that were asked for one after the other are in order. */
  judged(count: number): void {
    if (this.#isWhole) this.#judged = count;
  }
}
