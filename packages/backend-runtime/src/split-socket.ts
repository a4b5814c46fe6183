// A socket whose read side and write side are two streams: partial handovers read the UNIX connection and write the client's
// descriptor; full ones under kernel TLS read records; relays read and write the UNIX connection in different forms.
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { CloseNotify } from './close-notify.js';
import { DepartureWatch } from './departure-watch.js';
import { HandoverSocket, type LingeringLimits, type SocketFacts } from './handover-socket.js';
import type { SocketAddress } from './native.js';

/** What a socket is read from. */
export interface Source extends Readable {
  readonly bytesRead: number;
  ref(): this;
  unref(): this;
}

export interface SplitSocketOptions {
  facts: SocketFacts;
  lingering: LingeringLimits;
  /** Only read. The socket owns it. */
  source: Source;
  /** Only written; may be the same as `source`. The socket owns it. */
  sink: Socket;
  /** Under kernel TLS: sent before the write side ends. */
  closeNotify?: CloseNotify | undefined;
  local: SocketAddress;
  /** Asked at the end of the source: true if its peer is gone altogether, and with it the client. */
  isPeerGone: () => boolean;
  /** Asked now and then while the client, whose side has ended, is still owed an answer. */
  isClientGone: () => boolean;
  /** @default Node.js's */
  highWaterMark?: number | undefined;
}

type WriteCallback = (error?: Error | null) => void;

/** What a socket is written through; Node.js has no public name for what waits in it. */
type Handled = Socket & { readonly _handle?: { readonly writeQueueSize: number } | null };

export class SplitSocket extends HandoverSocket {
  readonly #source: Source;
  readonly #sink: Socket;
  readonly #closeNotify: CloseNotify | undefined;
  readonly #local: SocketAddress;
  readonly #departure: DepartureWatch;
  #endIsHeld = false;
  /** What the latest write gave to the sink: its callback comes later than its bytes are the kernel's. */
  #handedLength = 0;
  /** Bytes that waited in the sink when a timeout was last due. */
  #queuedBefore = 0;

  constructor(options: SplitSocketOptions) {
    const { facts, lingering, source, sink, closeNotify, local, highWaterMark } = options;
    super(facts, lingering, highWaterMark === undefined ? {} : ({ highWaterMark } as object));
    this.#source = source;
    this.#sink = sink;
    this.#closeNotify = closeNotify;
    this.#local = local;
    this.#departure = new DepartureWatch(options.isClientGone, () => this.destroy(connectionReset()));
    source.on('data', (chunk: Buffer) => {
      this.#refreshTimeout();
      const accepted = this.receive(chunk);
      if (!accepted) source.pause();
    });
    source.on('end', () => {
      // Once everything is written, its close is how a connection ends, and nobody's error.
      if (!this.writableFinished && options.isPeerGone()) this.destroy(connectionReset());
      else this.push(null);
    });
    for (const stream of new Set([source, sink])) {
      stream.on('error', (error) => this.destroy(error));
    }
    const { _destroy } = sink;
    sink._destroy = (error, callback) => {
      this.tellClosing();
      _destroy.call(sink, error, callback);
    };
    // After our own end() the read side may go on: a lingering close needs it.
    sink.on('close', () => {
      if (!this.writableEnded) this.destroy();
    });
    source.pause();
  }

  get localSocketAddress(): SocketAddress {
    return this.#local;
  }

  get sourceBytes(): number {
    return this.#source.bytesRead;
  }

  override get sink(): Socket {
    return this.#sink;
  }

  /** Takes bytes off the source. @returns false to pause it */
  protected receive(chunk: Buffer): boolean {
    return this.push(chunk);
  }

  /** Lets a withheld end of the client's stream through. */
  releaseEnd(): void {
    if (!this.#endIsHeld) return;
    this.#endIsHeld = false;
    this.#departure.stop();
    super.emit('end');
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    // http.Server would drop an answer that is still due; `releaseEnd()` lets the client's half-close through.
    if (event === 'end' && this.owner?.owesAnswer() === true) {
      this.#endIsHeld = true;
      this.#departure.start(this.#sink);
      return true;
    }
    if (event === 'timeout' && this.#isBeingTaken()) {
      this.#refreshTimeout();
      return true;
    }
    // net.Socket says whether there was an error where it has a handle.
    if (event === 'close') return super.emit(event, this.errored !== null);
    return super.emit(event as string, ...args);
  }

  override _read(): void {
    this.#source.resume();
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: WriteCallback): void {
    this.#refreshTimeout();
    this.#handedLength = chunk.length;
    this.#sink.write(chunk, encoding, callback);
  }

  override _writev(
    chunks: Array<{ chunk: Buffer | string; encoding: BufferEncoding }>,
    callback: WriteCallback,
  ): void {
    this.#refreshTimeout();
    this.#handedLength = chunks.reduce((sum, { chunk }) => sum + chunk.length, 0);
    this.#sink.cork();
    chunks.forEach(({ chunk, encoding }, index) => {
      this.#sink.write(chunk, encoding, index === chunks.length - 1 ? callback : undefined);
    });
    this.#sink.uncork();
  }

  override _final(callback: WriteCallback): void {
    if (this.#closeNotify === undefined) this.#sink.end(callback);
    // Everything before is written: the kernel has it.
    else this.#closeNotify.send(() => this.#sink.end(callback));
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#departure.stop();
    this.#source.destroy();
    if (this.#closeNotify !== undefined && this.#isQuiet(error)) this.#endPolitely(this.#closeNotify);
    else {
      this.#closeNotify?.cancel();
      this.#sink.destroy();
    }
    super._destroy(error, callback);
  }

  override setNoDelay(enable?: boolean): this {
    this.#sink.setNoDelay(enable);
    return this;
  }

  override setKeepAlive(enable?: boolean, initialDelayMs?: number): this {
    this.#sink.setKeepAlive(enable, initialDelayMs);
    return this;
  }

  override ref(): this {
    this.#source.ref();
    this.#sink.ref();
    return this;
  }

  override unref(): this {
    this.#source.unref();
    this.#sink.unref();
    return this;
  }

  override resetAndDestroy(): this {
    this.#sink.resetAndDestroy();
    return this.destroy();
  }

  override address(): object {
    const { address, family, port } = this.#local;
    return family === 'unix' ? {} : { address, family, port };
  }

  /** Whether closing cuts nothing off: what was said before is whole, and the kernel has it. */
  #isQuiet(error: Error | null): boolean {
    if (!this.sinkIsOpen || this.writableEnded || !this.#isWritten()) return false;
    return this.owner?.isSpeaking() === false && (error === null || isOfHttp(error));
  }

  /** Whether the kernel has all that was written, though not everybody may have been told. */
  #isWritten(): boolean {
    const isHanded = this.writableLength === 0 || this.writableLength === this.#handedLength;
    return isHanded && this.writableCorked === 0 && this.#sink.writableLength === 0;
  }

  #endPolitely(closeNotify: CloseNotify): void {
    this.tellClosing();
    closeNotify.sendLast(() => this.#sink.destroy());
  }

  /** Whether the client took some of a write since this was last asked: net.Socket, too, calls such a connection busy. */
  #isBeingTaken(): boolean {
    const queued = (this.#sink as Handled)._handle?.writeQueueSize ?? 0;
    const isBeingTaken = queued > 0 && queued !== this.#queuedBefore;
    this.#queuedBefore = queued;
    return isBeingTaken;
  }

  /** net.Socket does this where it has a handle. */
  #refreshTimeout(): void {
    if (this.timeout !== undefined && this.timeout > 0) this.setTimeout(this.timeout);
  }
}

/** What http.Server destroys a socket with when it has answered what is no request. */
const isOfHttp = ({ code = '' }: NodeJS.ErrnoException): boolean => /^(HPE_|ERR_HTTP_)/.test(code);

const connectionReset = (): Error =>
  Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' });

const localPart =
  (part: 'address' | 'port' | 'family') =>
  (socket: SplitSocket): string | number | undefined =>
    socket.localSocketAddress.family === 'unix' ? undefined : socket.localSocketAddress[part];

const accessors: Record<string, (socket: SplitSocket) => unknown> = {
  localAddress: localPart('address'),
  localPort: localPart('port'),
  localFamily: localPart('family'),
  bytesRead: (socket) => socket.sourceBytes,
  bytesWritten: (socket) => socket.sink.bytesWritten,
  pending: (socket) => socket.destroyed,
};

for (const [name, read] of Object.entries(accessors)) {
  Object.defineProperty(SplitSocket.prototype, name, {
    configurable: true,
    get(this: SplitSocket) {
      return read(this);
    },
  });
}
