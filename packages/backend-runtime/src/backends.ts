// The ways to the backends that clients are passed to, one for each path: a backend is known by it, however often it is written.
import { Sender } from '@fdpass/scgi-fdpass';
import { backendName } from './backend-path.js';
import type { Backend } from './handing-over.js';

export class Backends {
  readonly #sendTimeoutMs: number;
  readonly #byPath = new Map<string, Backend>();

  /** @param sendTimeoutMs from connecting to a backend to its acknowledgement */
  constructor(sendTimeoutMs: number) {
    this.#sendTimeoutMs = sendTimeoutMs;
  }

  at(path: string): Backend {
    let backend = this.#byPath.get(path);
    if (backend === undefined) {
      backend = {
        name: backendName(path),
        sender: new Sender({ path, timeoutMs: this.#sendTimeoutMs }),
      };
      this.#byPath.set(path, backend);
    }
    return backend;
  }

  /** Forgets all others. What is under way to one that is none any more goes on. */
  keep(paths: ReadonlySet<string>): void {
    for (const path of this.#byPath.keys()) if (!paths.has(path)) this.#byPath.delete(path);
  }
}
