// A client that asks at a constant rate, whatever the server does: a latency counts from the moment the request was to be sent, so
// that requests held up behind a slow answer are counted as slow as they were ("coordinated omission", which wrk and h2load have).
//
// It does not sleep between requests (timers are a millisecond coarse) and so takes one CPU for itself.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { quantile } from '../statistics.js';

export interface Asking {
  /** TCP port on loopback. */
  readonly port: number;
  readonly path: string;
  /** Kept alive; each has one request under way at most. */
  readonly connections: number;
  readonly seconds: number;
}

export interface RateResult {
  /** Answers a second. */
  readonly rate: number;
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** How long answers may take after the last request is due. What is unanswered then counts with the time it has waited. */
const GRACE_MS = 5_000;
const HEAD_END = '\r\n\r\n';
/** Of each connection, before anything counts: it is handed over, and code gets warm. */
const WARM_UP_REQUESTS = 3;

/** Asks `perSecond` times a second. @throws on an answer that is not 200, or a connection that ends */
export async function askAtRate(asking: Asking, perSecond: number): Promise<RateResult> {
  const count = Math.floor(perSecond * asking.seconds);
  return ask(asking, (startMs, number) =>
    number < count ? startMs + (number / perSecond) * 1000 : undefined,
  );
}

/** Asks on every connection as soon as it has its answer: the highest rate this client and the server are capable of together. */
export async function askAtCapacity(asking: Asking): Promise<RateResult> {
  return ask(asking, (startMs) => {
    const now = performance.now();
    return now < startMs + asking.seconds * 1000 ? now : undefined;
  });
}

/** When the request with this number is to be sent, by performance.now(); undefined: there are no more. */
type Schedule = (startMs: number, number: number) => number | undefined;

async function ask({ port, path, connections }: Asking, schedule: Schedule): Promise<RateResult> {
  const all = await Promise.all(Array.from({ length: connections }, () => connected(port)));
  try {
    const askers = all.map((socket) => new Asker(socket, path));
    const failed = Promise.race(askers.map(({ failed }) => failed));
    for (let round = 0; round < WARM_UP_REQUESTS; round++) {
      await Promise.race([Promise.all(askers.map((asker) => asker.ask(0))), failed]);
    }
    return await Promise.race([asScheduled(askers, schedule), failed]);
  } finally {
    for (const socket of all) socket.resetAndDestroy();
  }
}

/** Spins until the last answer. */
function asScheduled(askers: readonly Asker[], schedule: Schedule): Promise<RateResult> {
  const idle = [...askers];
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  let number = 0;
  let lastDueMs = startMs;

  const result = (): RateResult => {
    const endMs = performance.now();
    const waiting = askers.flatMap(({ askedMs }) => (askedMs === undefined ? [] : endMs - askedMs));
    const all = latenciesMs.concat(waiting);
    const rate = latenciesMs.length / ((endMs - startMs) / 1000);
    return { rate, requests: latenciesMs.length, p50Ms: quantile(all, 0.5), p99Ms: quantile(all, 0.99) };
  };

  return new Promise((resolve) => {
    const turn = (): void => {
      let due = schedule(startMs, number);
      while (due !== undefined && due <= performance.now()) {
        const asker = idle.shift();
        if (asker === undefined) break;
        const dueMs = due;
        lastDueMs = dueMs;
        asker.ask(dueMs).then((answeredMs) => {
          latenciesMs.push(answeredMs - dueMs);
          idle.push(asker);
        });
        number += 1;
        due = schedule(startMs, number);
      }
      const isOver = due === undefined && idle.length === askers.length;
      if (isOver || performance.now() > lastDueMs + GRACE_MS) resolve(result());
      else setImmediate(turn);
    };
    turn();
  });
}

async function connected(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return socket;
}

/** One connection. */
class Asker {
  /** Rejects when the connection ends, or an answer is not 200. */
  readonly failed: Promise<never>;
  /** Since when its answer is due; undefined when it waits for none. */
  askedMs: number | undefined;
  readonly #socket: Socket;
  readonly #request: string;
  #answer = '';
  #done: (answeredMs: number) => void = () => {};

  /** @param socket borrowed */
  constructor(socket: Socket, path: string) {
    this.#socket = socket;
    this.#request = `GET ${path} HTTP/1.1\r\nHost: bench\r\n\r\n`;
    this.failed = new Promise((_, reject) => {
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('the server closed a kept-alive connection')));
      socket.on('data', (chunk: Buffer) => {
        this.#answer += chunk.toString('latin1');
        if (!isWhole(this.#answer)) return;
        if (!this.#answer.startsWith('HTTP/1.1 200 '))
          reject(new Error(`unexpected answer: ${this.#answer}`));
        this.#answer = '';
        this.askedMs = undefined;
        this.#done(performance.now());
      });
    });
    // Nobody waits for it once the run is over and the connection is closed.
    this.failed.catch(() => {});
  }

  /** Resolves when the answer is there, with that time. @param sinceMs what its latency counts from */
  ask(sinceMs: number): Promise<number> {
    this.askedMs = sinceMs;
    this.#socket.write(this.#request);
    return new Promise((resolve) => {
      this.#done = resolve;
    });
  }
}

function isWhole(answer: string): boolean {
  const headEnd = answer.indexOf(HEAD_END);
  if (headEnd < 0) return false;
  const [, length = '0'] = /\r\ncontent-length: *(\d+)/i.exec(answer) ?? [];
  return answer.length >= headEnd + HEAD_END.length + Number(length);
}
