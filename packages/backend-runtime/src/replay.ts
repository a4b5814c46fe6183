// Makes http.Server take over in the middle of an exchange that it did not begin: its parser gets the request once more, and what
// it makes of it stands in for the request and the response that the handler has.
import { IncomingMessage, type ServerResponse } from 'node:http';
import type { Connection } from './connection.js';
import { dump, type LeanExchange } from './lean-exchange.js';

/**
 * @param head of the request
 * @param exchange the response writes to the connection's socket when this returns
 * @param announce gives the socket to http.Server
 */
export function replay(
  head: Buffer,
  connection: Connection,
  { request, response }: LeanExchange,
  announce: () => void,
): void {
  const { socket } = connection;
  const double = doubleOf(head, connection, announce);
  if (double === undefined) return;
  const original = response as unknown as ServerResponse;
  double.response.detachSocket(socket);
  // At once, as http.Server does it: the request hears that it is aborted before its response does.
  double.request.destroy = (error) => {
    // Without one it is at its end.
    if (error) request.destroy(error);
    return Reflect.apply(IncomingMessage.prototype.destroy, double.request, [error]);
  };
  // http.Server is the first that hears of it.
  original.prependOnceListener('finish', () => finish(request, original, double));
  original.assignSocket(socket);
}

/**
 * The same when the answer is written already: http.Server waits for the next request then, for as long as it would.
 * @param head of the last request
 */
export function replayAnswered(head: Buffer, connection: Connection, announce: () => void): void {
  const double = doubleOf(head, connection, announce);
  if (double !== undefined) end(double.response as Finished);
}

function doubleOf(head: Buffer, connection: Connection, announce: () => void): Double | undefined {
  const { socket } = connection;
  const double = connection.takeNextRequest(() => {
    announce();
    // At once: what is written next must not overtake what the response has written.
    socket.emit('data', head);
  });
  // The parser is stricter than whoever began: nothing that is on its way may be trusted.
  if (double === undefined) socket.destroy();
  return double;
}

export interface Double {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

type Finished = ServerResponse & { _last: boolean; _closed: boolean; finished: boolean; destroyed: boolean };

/** The original is written: http.Server goes on from its double's end. */
function finish(request: LeanExchange['request'], original: ServerResponse, { response }: Double): void {
  const { socket } = original;
  dump(request);
  const closed = original as Finished;
  process.nextTick(() => {
    if (closed._closed) return;
    closed.destroyed = true;
    closed._closed = true;
    original.emit('close');
  });
  // Gone already: http.Server has heard of that itself.
  if (socket === null) return;
  original.detachSocket(socket);
  const double = response as Finished;
  double.assignSocket(socket);
  double._last = closed._last;
  end(double);
}

/** It has nothing to write: for http.Server it is done. */
function end(double: Finished): void {
  double.finished = true;
  double.emit('prefinish');
  double.emit('finish');
}
