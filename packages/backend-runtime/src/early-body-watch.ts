// Watches the body of a request whose sender drops what it had read past the head: such a body may never become whole. A
// handler that does not read its body is not mistaken for that.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

const LOOKS_PER_TIMEOUT = 5;

/** Calls back once if no byte of an incomplete body comes for `timeoutMs`. Ends by itself. */
export class EarlyBodyWatch {
  readonly #request: IncomingMessage;
  readonly #socket: Socket;
  readonly #onLost: () => void;
  readonly #timer: NodeJS.Timeout;
  readonly #timeoutMs: number;
  #bytesSeen: number;
  #lastProgressMs = performance.now();

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    socket: Socket,
    timeoutMs: number,
    onLost: () => void,
  ) {
    this.#request = request;
    this.#socket = socket;
    this.#onLost = onLost;
    this.#bytesSeen = socket.bytesRead;
    this.#timeoutMs = timeoutMs;
    this.#timer = setInterval(() => this.#look(), Math.ceil(timeoutMs / LOOKS_PER_TIMEOUT));
    this.#timer.unref();
    const stop = (): void => clearInterval(this.#timer);
    request.once('close', stop);
    response.once('close', stop);
    socket.once('close', stop);
  }

  #look(): void {
    if (this.#request.complete) return clearInterval(this.#timer);
    const { bytesRead } = this.#socket;
    const nowMs = performance.now();
    // Bytes that wait in the request: it is the handler that does not go on.
    if (bytesRead !== this.#bytesSeen || this.#request.readableLength > 0) {
      this.#bytesSeen = bytesRead;
      this.#lastProgressMs = nowMs;
      return;
    }
    if (nowMs - this.#lastProgressMs < this.#timeoutMs) return;
    clearInterval(this.#timer);
    this.#onLost();
  }
}
