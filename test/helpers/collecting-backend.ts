// A backend for front door tests: a real receiver on a socket of its own that keeps each handover until the test asks for it.
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FullHandover, Receiver, type ReceiverOptions } from '@fdpass/scgi-fdpass';

export class CollectingBackend {
  readonly path: string;
  readonly receiver: Receiver;
  readonly #handovers: FullHandover[] = [];
  readonly #arrivals = new EventEmitter();
  readonly #directory: string | undefined;

  private constructor(options: ReceiverOptions, path?: string) {
    this.#directory = path === undefined ? mkdtempSync(join(tmpdir(), 'fdpass-front-door-')) : undefined;
    this.path = path ?? join(this.#directory as string, 'backend.sock');
    this.receiver = new Receiver(options);
    this.receiver.on('handover', (handover) => {
      this.#handovers.push(handover as FullHandover);
      this.#arrivals.emit('handover');
    });
  }

  static async listen(options: ReceiverOptions = {}, path?: string): Promise<CollectingBackend> {
    const backend = new CollectingBackend(options, path);
    backend.receiver.listen({ path: backend.path });
    await once(backend.receiver, 'listening');
    return backend;
  }

  /** The next client; the caller owns its descriptor. */
  async next(): Promise<FullHandover> {
    for (;;) {
      const handover = this.#handovers.shift();
      if (handover !== undefined) return handover;
      await once(this.#arrivals, 'handover');
    }
  }

  /** The next client as a socket. */
  async nextSocket(): Promise<{ handover: FullHandover; socket: Socket }> {
    const handover = await this.next();
    return {
      handover,
      socket: new Socket({
        fd: handover.passedFd.take(),
        readable: true,
        writable: true,
        allowHalfOpen: true,
      }),
    };
  }

  async close(): Promise<void> {
    for (const { passedFd } of this.#handovers.splice(0)) passedFd.close();
    const closed = once(this.receiver, 'close');
    this.receiver.destroy();
    await closed;
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true });
  }
}
