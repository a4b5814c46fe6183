// A router: receives on a socket of its own, and passes everything on to another one. Keeps what that one refuses until the test says
// what becomes of it.
import { once } from 'node:events';
import { join } from 'node:path';
import {
  closeHandover,
  type Handover,
  type ListenPath,
  passOn,
  Receiver,
  type ReceiverOptions,
  Sender,
  type SendOutcome,
} from '@fdpass/scgi-fdpass';
import type { ExecutionContext } from 'ava';
import { temporaryFolder } from './serve.js';

export interface RouterOptions extends ReceiverOptions {
  /** As `timeoutMs` of its sender. @default 30000 */
  sendTimeoutMs?: number;
  listen?: Partial<ListenPath>;
}

export class Router {
  readonly path: string;
  /** The backend's socket. */
  to: string;
  readonly receiver: Receiver;
  /** One for each handover it tried to pass on, in the order of the answers. */
  readonly outcomes: SendOutcome[] = [];
  /** Codes of what could not be sent at all. */
  readonly failures: string[] = [];
  /** Not taken; the owner of their descriptors is who takes them out of here. */
  readonly kept: Handover[] = [];
  readonly errors: string[] = [];
  readonly #sendTimeoutMs: number;
  readonly #senders = new Set<Sender>();
  readonly #passes = new Set<Promise<void>>();

  constructor(path: string, to: string, { sendTimeoutMs = 30_000, ...options }: RouterOptions) {
    this.path = path;
    this.to = to;
    this.#sendTimeoutMs = sendTimeoutMs;
    this.receiver = new Receiver(options);
    this.receiver.on('handover', (handover) => {
      const pass = this.#pass(handover).finally(() => this.#passes.delete(pass));
      this.#passes.add(pass);
    });
    this.receiver.on('handoverError', ({ code }) => this.errors.push(code));
  }

  async #pass(handover: Handover): Promise<void> {
    const sender = new Sender({ path: this.to, timeoutMs: this.#sendTimeoutMs });
    this.#senders.add(sender);
    let isTaken = false;
    try {
      const outcome = await sender.send(passOn(handover));
      this.outcomes.push(outcome);
      isTaken = outcome.taken;
    } catch (error) {
      this.failures.push((error as NodeJS.ErrnoException).code ?? '');
    }
    this.#senders.delete(sender);
    if (isTaken) closeHandover(handover);
    else this.kept.push(handover);
  }

  async close(): Promise<void> {
    const closed = once(this.receiver, 'close');
    this.receiver.destroy();
    await closed;
    for (const sender of this.#senders) sender.destroy();
    await Promise.all(this.#passes);
    for (const handover of this.kept.splice(0)) closeHandover(handover);
  }
}

/** A router to `to`; closed with the test. */
export async function routeTo(
  t: ExecutionContext,
  to: string,
  { listen = {}, ...options }: RouterOptions = {},
): Promise<Router> {
  const router = new Router(join(await temporaryFolder(t), 'router'), to, options);
  router.receiver.listen({ path: router.path, ...listen });
  await once(router.receiver, 'listening');
  t.teardown(() => router.close());
  return router;
}
