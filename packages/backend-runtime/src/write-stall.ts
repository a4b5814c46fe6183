// The timeout nginx has as send_timeout and Node.js has not: closes connections whose client takes nothing of what waits for
// it. Progress is the kernel's word, so that one large write on a slow line is not mistaken for a stall.
import type { Socket } from 'node:net';
import type { Connection } from './connection.js';
import { native } from './native.js';

const LOOKS_PER_TIMEOUT = 4;
const MIN_INTERVAL_MS = 50;

export class WriteStallWatch {
  readonly #timeoutMs: number;
  readonly #onStall: (connection: Connection) => void;
  readonly #stalled = new Map<Connection, { progress: number; sinceMs: number }>();
  #timer: NodeJS.Timeout | undefined;

  /** @param timeoutMs 0 watches nothing */
  constructor(timeoutMs: number, onStall: (connection: Connection) => void) {
    this.#timeoutMs = timeoutMs;
    this.#onStall = onStall;
  }

  /** @param watched asked again at each look */
  start(watched: () => Iterable<Connection>): void {
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

  #look(watched: Iterable<Connection>): void {
    const nowMs = performance.now();
    const waiting = new Set<Connection>();
    for (const each of watched) {
      // Only connections with output waiting cost a system call.
      if (!each.socket.destroyed && hasOutput(each)) waiting.add(each);
    }
    for (const each of this.#stalled.keys()) if (!waiting.has(each)) this.#stalled.delete(each);
    for (const each of waiting) this.#judge(each, nowMs);
  }

  #judge(connection: Connection, nowMs: number): void {
    const progress = bytesTaken(connection);
    const before = this.#stalled.get(connection);
    if (before === undefined || before.progress !== progress) {
      this.#stalled.set(connection, { progress, sinceMs: nowMs });
    } else if (nowMs - before.sinceMs >= this.#timeoutMs) {
      this.#stalled.delete(connection);
      this.#onStall(connection);
    }
  }
}

/** What is written, a file, or the end of either: under kernel TLS that is a record, which waits for room as well. */
const hasOutput = ({ socket, isSendingFile }: Connection): boolean =>
  socket.writableLength > 0 || isSendingFile || (socket.writableEnded && !socket.writableFinished);

/** Node.js has no public name for how much of its writes the kernel has taken. */
type Handled = Socket & {
  readonly _handle?: { readonly bytesWritten: number; readonly writeQueueSize: number } | null;
};

/**
 * A number that changes whenever the peer takes something: of TCP every byte, of a UNIX socket in steps of the kernel's buffers
 * (some 32 KiB). There the queue alone would not do: who reads steadily is always found with a full one.
 */
function bytesTaken({ socket, writeFd }: Connection): number {
  try {
    return native().tcpInfo(writeFd).bytesAcked;
  } catch {
    const { bytesWritten = 0, writeQueueSize = 0 } = (socket.sink as Handled)._handle ?? {};
    return bytesWritten - writeQueueSize - native().writeQueueBytes(writeFd);
  }
}
