// Which names of a message have come before in it, of those that may come only once.

/**
 * Tells repeated singletons without hashing every name that comes: few names have the length and the ends of one of ours, and only
 * those are compared.
 */
export class SingletonJudge {
  readonly #candidates: (number[] | undefined)[] = [];
  readonly #names: readonly string[];
  /** For each of our names the last message it was seen in. */
  readonly #seenIn: Float64Array;
  #message = 0;

  /** @param names the singletons */
  constructor(names: Iterable<string>) {
    this.#names = [...names];
    this.#seenIn = new Float64Array(this.#names.length);
    for (const [nth, name] of this.#names.entries()) {
      const key = keyOf(name);
      const candidates = this.#candidates[key] ?? [];
      candidates.push(nth);
      this.#candidates[key] = candidates;
    }
  }

  /** Forgets what it has seen. */
  begin(): void {
    this.#message++;
  }

  /** True if `name`, which is not empty, is a singleton and was asked about before. */
  isRepeated(name: string): boolean {
    const candidates = this.#candidates[keyOf(name)];
    if (candidates === undefined) return false;
    for (const nth of candidates) {
      if (this.#names[nth] !== name) continue;
      if (this.#seenIn[nth] === this.#message) return true;
      this.#seenIn[nth] = this.#message;
    }
    return false;
  }
}

/** 0 to 1023. */
const keyOf = (name: string): number =>
  (name.length * 32 + (name.charCodeAt(0) & 0x1f) * 5 + (name.charCodeAt(name.length - 1) & 0x1f)) & 0x3ff;
