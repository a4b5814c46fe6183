// Datagrams to a UNIX socket, whose path may have another owner from time to time: one that left is looked for again with each
// datagram.
import { type FdPoller, native } from '../native.js';
import type { DatagramResult, DatagramSink } from './datagram-sink.js';

/** What the kernel needs of SO_SNDBUF for itself (unix_dgram_sendmsg). */
const SEND_BUFFER_OVERHEAD_BYTES = 32;

interface Waiting {
  readonly datagram: Uint8Array;
  readonly onDone: (result: DatagramResult) => void;
}

/** @throws what connect(2) says, except that nobody listens there: somebody may, later */
export function openUnixSink(path: string): DatagramSink {
  const { SOCK_DGRAM } = native().constants;
  const connect = (): number => {
    const fd = native().connectUnix(path, SOCK_DGRAM);
    // Of a worker thread that is ended it is closed, too.
    native().registerFd(fd);
    return fd;
  };
  let fd: number | undefined;
  try {
    fd = connect();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED') throw error;
  }
  return new UnixSink(connect, fd);
}

class UnixSink implements DatagramSink {
  readonly maxDatagramBytes: number;
  readonly #connect: () => number;
  #fd: number | undefined;
  #poller: FdPoller | undefined;
  /** In their order, while the collector has no room. */
  #waiting: Waiting[] = [];
  #isClosed = false;

  /** Owns what `connect` returns. */
  constructor(connect: () => number, fd: number | undefined) {
    this.#connect = connect;
    this.#fd = fd;
    this.maxDatagramBytes = sendBufferBytes(fd) - SEND_BUFFER_OVERHEAD_BYTES;
  }

  send(datagram: Uint8Array, onDone: (result: DatagramResult) => void): void {
    if (this.#isClosed) return onDone('dropped_error');
    const result = this.#waiting.length > 0 ? undefined : this.#trySend(datagram);
    if (result === undefined) this.#waiting.push({ datagram, onDone });
    else onDone(result);
  }

  close(): void {
    this.#isClosed = true;
    this.#disconnect();
    for (const { onDone } of this.#waiting.splice(0)) onDone('dropped_full');
  }

  /** @returns undefined if there is no room: then `#onRoom` is called when there is */
  #trySend(datagram: Uint8Array): DatagramResult | undefined {
    // A collector that has started again has the same path and another socket.
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        this.#fd ??= this.#connect();
        if (native().write(this.#fd, datagram) !== -1) return 'sent';
        this.#awaitRoom(this.#fd);
        return undefined;
      } catch {
        this.#disconnect();
      }
    }
    return 'dropped_error';
  }

  #awaitRoom(fd: number): void {
    if (this.#poller === undefined) {
      this.#poller = new (native().FdPoller)(fd, () => this.#onRoom());
      this.#poller.unref();
    }
    this.#poller.start(native().constants.WRITABLE);
  }

  #onRoom(): void {
    this.#poller?.stop();
    for (;;) {
      const [first] = this.#waiting;
      const result = first === undefined ? undefined : this.#trySend(first.datagram);
      if (first === undefined || result === undefined) return;
      this.#waiting.shift();
      first.onDone(result);
    }
  }

  #disconnect(): void {
    this.#poller?.close();
    this.#poller = undefined;
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) native().closeFd(fd);
  }
}

/** @param connected undefined: what a new socket has is read of one that is made for that */
function sendBufferBytes(connected: number | undefined): number {
  const { SOL_SOCKET, SO_SNDBUF } = native().constants;
  if (connected !== undefined) return native().getOption(connected, SOL_SOCKET, SO_SNDBUF);
  const pair = native().socketpair();
  try {
    return native().getOption(pair[0], SOL_SOCKET, SO_SNDBUF);
  } finally {
    for (const fd of pair) native().closeFd(fd);
  }
}
