// A connection as patterns see it: each fact is asked for only when a pattern needs it.
import type { ConnectionFacts } from '../connection-info.js';
import type { MatchedFacts } from './connection-table.js';

export class MatchedConnection implements MatchedFacts {
  readonly #facts: ConnectionFacts;

  constructor(facts: ConnectionFacts) {
    this.#facts = facts;
  }

  get local(): MatchedFacts['local'] {
    return this.#facts.local;
  }

  get source(): string {
    return this.#facts.client.address;
  }

  get ingress(): string | undefined {
    return this.#facts.sourceTag ?? this.#facts.ingress?.name;
  }
}
