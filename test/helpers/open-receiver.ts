// A receiver on a socket of its own that keeps what it emits until the test asks for it.
import { EventEmitter, once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  closeHandover,
  type Handover,
  type ListenPath,
  Receiver,
  type ReceiverOptions,
  type WireError,
} from '@fdpass/scgi-fdpass';
import type { ExecutionContext } from 'ava';
import { WireSender } from './wire-sender.js';

export class OpenReceiver {
  readonly receiver: Receiver;
  readonly path: string;
  readonly errors: WireError[] = [];
  readonly #handovers: Handover[] = [];
  readonly #senders: WireSender[] = [];
  readonly #arrivals = new EventEmitter();

  constructor(path: string, options: ReceiverOptions) {
    this.path = path;
    this.receiver = new Receiver(options);
    this.receiver.on('handover', (handover) => {
      this.#handovers.push(handover);
      this.#arrivals.emit('arrival');
    });
    this.receiver.on('handoverError', (error) => {
      this.errors.push(error);
      this.#arrivals.emit('arrival');
    });
  }

  /** How many handovers nobody asked for yet. */
  get waiting(): number {
    return this.#handovers.length;
  }

  /** A sender that is closed with the test. */
  connect(): WireSender {
    const sender = new WireSender(this.path);
    this.#senders.push(sender);
    return sender;
  }

  /** The next handover; the caller owns its descriptors. @throws an error that came instead */
  async next<Kind extends Handover['kind'] = 'full'>(): Promise<Handover & { kind: Kind }> {
    for (;;) {
      const handover = this.#handovers.shift();
      if (handover !== undefined) return handover as Handover & { kind: Kind };
      const [error] = this.errors;
      if (error !== undefined) throw error;
      await once(this.#arrivals, 'arrival');
    }
  }

  /** The next error, taken out of `errors`. */
  async nextError(): Promise<WireError> {
    for (;;) {
      const error = this.errors.shift();
      if (error !== undefined) return error;
      await once(this.#arrivals, 'arrival');
    }
  }

  /** Takes one proper handover to the end: the listener serves. @param fd borrowed */
  async serves(fd: number, message: Uint8Array): Promise<Handover> {
    const sender = new WireSender(this.path);
    await sender.send(message, fd);
    const handover = await this.next();
    closeHandover(handover);
    sender.close();
    return handover;
  }

  async close(): Promise<void> {
    if (this.receiver.active) {
      const closed = once(this.receiver, 'close');
      this.receiver.destroy();
      await closed;
    }
    for (const handover of this.#handovers.splice(0)) closeHandover(handover);
    for (const sender of this.#senders) sender.close();
  }
}

/** Listens; closed with the test. */
export async function openReceiver(
  t: ExecutionContext,
  options: ReceiverOptions = {},
  listenOptions: Partial<ListenPath> = {},
): Promise<OpenReceiver> {
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-receiver-'));
  const open = new OpenReceiver(join(folder, 'socket'), options);
  open.receiver.listen({ path: open.path, ...listenOptions });
  await once(open.receiver, 'listening');
  t.teardown(async () => {
    await open.close();
    await rm(folder, { recursive: true, force: true });
  });
  return open;
}
