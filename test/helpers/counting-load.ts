// Clients one after the other, several at a time, each with a connection of its own and a number that its answer has to repeat:
// what was lost, answered twice or mixed up shows.
import { RawClient } from './raw-client.js';
import { until } from './until.js';

/** What a backend under this load answers with: `n` of the target `/?n=1` and the name of who answered. */
export const loadAnswer = (url: string | undefined, name: string | number): string =>
  `${/\?n=(\d+)$/.exec(url ?? '')?.[1]} ${name}`;

export class CountingLoad {
  /** By the request's number: who answered. */
  readonly answers = new Map<number, string>();
  /** Everything else, by the request's number: what came instead. */
  readonly problems = new Map<number, string>();
  #sent = 0;
  #isOver = false;
  readonly #clients: Promise<unknown>;

  /** @param atATime clients */
  constructor(port: number, host: string, atATime = 8) {
    this.#clients = Promise.all(
      Array.from({ length: atATime }, async () => {
        while (!this.#isOver) await this.#one(port, host, this.#sent++);
      }),
    );
  }

  async #one(port: number, host: string, n: number): Promise<void> {
    let client: RawClient;
    try {
      client = await RawClient.connect(port, host);
    } catch (error) {
      this.problems.set(n, (error as NodeJS.ErrnoException).code ?? 'no connection');
      return;
    }
    await client.send(`GET /?n=${n} HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n`);
    const received = await client.readToEnd();
    const [head = '', body = '', ...more] = received.split('\r\n\r\n');
    const length = /^HTTP\/1\.1 200 .*^Content-Length: (\d+)$/ims.exec(head)?.[1];
    const [number, name = ''] = body.split(' ');
    const isWhole = Number(length) === body.length && more.length === 0 && client.error === undefined;
    if (isWhole && Number(number) === n) this.answers.set(n, name);
    else this.problems.set(n, `${received.slice(0, 300)}${client.error ?? ''}`);
  }

  /** Resolves when so many more clients have been answered. */
  async answered(more: number): Promise<void> {
    const wanted = this.answers.size + more;
    await until(`${more} more clients are answered`, () => this.answers.size >= wanted, 30_000);
  }

  /** Lets the clients that are on their way finish. @returns how many there were */
  async stop(): Promise<number> {
    this.#isOver = true;
    await this.#clients;
    return this.#sent;
  }

  /** Who answered, sorted. */
  names(): string[] {
    return [...new Set(this.answers.values())].sort();
  }
}
