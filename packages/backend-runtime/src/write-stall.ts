// The timeout nginx has as send_timeout and Node.js has not: closes connections whose client takes nothing of what waits for
// it. Progress is the kernel's word, so that one large write on a slow line is not mistaken for a stall.
import type { Socket } from 'node:net';
import type { HandoverSocket } from './handover-socket.js';
import { native } from './native.js';

const LOOKS_PER_TIMEOUT = 4;
const MIN_INTERVAL_MS = 50;

/** What is written to a client. */
export interface Written {
  readonly socket: HandoverSocket;
  /** What the answer is written to: borrowed, valid until the socket is closed. */
  readonly writeFd: number;
  /** A file is on its way past the socket. */
  readonly isSendingFile: boolean;
}

export class WriteStallWatch<T extends Written> {
  readonly #timeoutMs: number;
  readonly #onStall: (written: T) => void;
  readonly #stalled = new Map<T, { progress: number; sinceMs: number }>();
  #timer: NodeJS.Timeout | undefined;

  /** @param timeoutMs 0 watches nothing */
  constructor(timeoutMs: number, onStall: (written: T) => void) {
    this.#timeoutMs = timeoutMs;
    this.#onStall = onStall;
  }

  /** @param watched asked again at each look */
  start(watched: () => Iterable<T>): void {
    if (this.#timeoutMs === 0 || this.#timer !== undefined) return;
    const intervalMs = Math.max(MIN_INTERVAL_MS, Math.floor(this.#timeoutMs / LOOKS_PER_TIMEOUT));
    this.#timer = setInterval(() => this.#look(watched()), intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#stalled.clear();
  }

  #look(watched: Iterable<T>): void {
    const nowMs = performance.now();
    const waiting = new Set<T>();
    for (const each of watched) {
      // Only connections with output waiting cost a system call.
      if (!each.socket.destroyed && hasOutput(each)) waiting.add(each);
    }
    for (const each of this.#stalled.keys()) if (!waiting.has(each)) this.#stalled.delete(each);
    for (const each of waiting) this.#judge(each, nowMs);
  }

  #judge(written: T, nowMs: number): void {
    const progress = bytesTaken(written);
    const before = this.#stalled.get(written);
    if (before === undefined || before.progress !== progress) {
      this.#stalled.set(written, { progress, sinceMs: nowMs });
    } else if (nowMs - before.sinceMs >= this.#timeoutMs) {
      this.#stalled.delete(written);
      this.#onStall(written);
    }
  }
}

/** What is written, a file, or the end of either: under kernel TLS that is a record, which waits for room as well. */
const hasOutput = ({ socket, isSendingFile }: Written): boolean =>
  socket.writableLength > 0 || isSendingFile || (socket.writableEnded && !socket.writableFinished);

/** Node.js has no public name for how much of its writes the kernel has taken. */
type Handled = Socket & {
  readonly _handle?: { readonly bytesWritten: number; readonly writeQueueSize: number } | null;
};

/**
 * A number that changes whenever the peer takes something: of TCP every byte, of a UNIX socket in steps of the kernel's buffers
 * (some 32 KiB). There the queue alone would not do: who reads steadily is always found with a full one.
 */
function bytesTaken({ socket, writeFd }: Written): number {
  try {
    return native().tcpInfo(writeFd).bytesAcked;
  } catch {
    const { bytesWritten = 0, writeQueueSize = 0 } = (socket.sink as Handled)._handle ?? {};
    return bytesWritten - writeQueueSize - native().writeQueueBytes(writeFd);
  }
}
