// Watches the body of a request whose sender drops what it had read past the head: such a body may never become whole. A
// handler that does not read its body is not mistaken for that.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

const LOOKS_PER_TIMEOUT = 5;

/** Node.js keeps for itself whether the client still waits for `100 Continue`. */
type ContinueState = { _expect_continue?: boolean; _sent100?: boolean };

/** Calls back once if no byte of an incomplete body comes for `timeoutMs`. Ends by itself. */
export class EarlyBodyWatch {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse & ContinueState;
  readonly #socket: Socket;
  readonly #onLost: () => void;
  readonly #timer: NodeJS.Timeout;
  #bytesSeen: number;
  /** Looks, not time: after a pause of this process what came meanwhile is still to be read. */
  #looksInVain = 0;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    socket: Socket,
    timeoutMs: number,
    onLost: () => void,
  ) {
    this.#request = request;
    this.#response = response;
    this.#socket = socket;
    this.#onLost = onLost;
    this.#bytesSeen = socket.bytesRead;
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
    if (bytesRead !== this.#bytesSeen || this.#isHandlersTurn()) {
      this.#bytesSeen = bytesRead;
      this.#looksInVain = 0;
      return;
    }
    if (++this.#looksInVain < LOOKS_PER_TIMEOUT) return;
    clearInterval(this.#timer);
    this.#onLost();
  }

  /** Bytes wait to be read, or the client for the word to send them. */
  #isHandlersTurn(): boolean {
    const { _expect_continue: isExpected, _sent100: isSent } = this.#response;
    return this.#request.readableLength > 0 || (isExpected === true && isSent !== true);
  }
}
