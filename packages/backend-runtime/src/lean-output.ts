// What an http.ServerResponse without a socket has kept: sent by one native call, and the rest of it if the socket is full.
import type { OutgoingMessage } from 'node:http';
import { native } from './native.js';

/** One write, as Node.js keeps it for a response that waits for its turn. */
export interface Kept {
  data: string | Uint8Array;
  readonly encoding: BufferEncoding | null | undefined;
  readonly callback: ((error?: Error | null) => void) | null | undefined;
}

/** Node.js has no public name for it, and has kept it so since pipelining came. */
type WithOutput = OutgoingMessage & { outputData: Kept[]; outputSize: number };

const NOT_ASCII = /[\u0080-\uffff]/;

/**
 * Sends what `response` has kept.
 * @param endFollows nothing is sent behind it: the client hears the end, whoever else has the descriptor
 * @returns false if the socket did not take all of it: what is left is the response's output then
 */
export function sendOutput(fd: number, response: OutgoingMessage, endFollows: boolean): boolean {
  const { outputData } = response as WithOutput;
  const [first, second] = outputData;
  // The last one is often empty, for its callback only.
  const last = outputData.at(-1);
  const count = last !== undefined && isEmpty(last) ? outputData.length - 1 : outputData.length;
  let left: number;
  // The two forms of nearly all answers: head and body as one string, or a string and bytes.
  if (first !== undefined && isText(first) && count === 1) {
    left = native().sendAnswer(fd, endFollows, first.data);
  } else if (first !== undefined && isText(first) && isBytes(second) && count === 2) {
    left = native().sendAnswer(fd, endFollows, first.data, second.data);
  } else {
    left = native().sendAnswer(fd, endFollows, '', allBytes(outputData));
  }
  if (left > 0) keepRest(response as WithOutput, left);
  return left === 0;
}

/** Everything is written. @returns what it was, for those who wait for that */
export function takeWritten(response: OutgoingMessage): readonly Kept[] {
  const output = response as WithOutput;
  const written = output.outputData;
  output.outputData = [];
  output.outputSize = 0;
  return written;
}

/** Tells who waits for it; 'finish' is one of the callbacks. */
export function tellWritten(written: readonly Kept[]): void {
  for (const { callback } of written) callback?.();
}

function keepRest(response: WithOutput, left: number): void {
  const rest = allBytes(response.outputData).subarray(-left);
  const callbacks = response.outputData.filter(({ callback }) => typeof callback === 'function');
  response.outputData = [
    { data: rest, encoding: undefined, callback: null },
    ...callbacks.map(({ callback }): Kept => ({ data: '', encoding: 'latin1', callback })),
  ];
  response.outputSize = rest.length;
}

const allBytes = (output: readonly Kept[]): Buffer =>
  Buffer.concat(
    output.map(({ data, encoding }) =>
      typeof data === 'string' ? Buffer.from(data, encoding ?? 'utf8') : data,
    ),
  );

/** The addon writes strings as UTF-8. */
const isText = (kept: Kept): kept is Kept & { data: string } =>
  typeof kept.data === 'string' &&
  (kept.encoding === 'utf8' ||
    kept.encoding === undefined ||
    kept.encoding === null ||
    (kept.encoding === 'latin1' && !NOT_ASCII.test(kept.data)));

const isBytes = (kept: Kept | undefined): kept is Kept & { data: Uint8Array } =>
  kept !== undefined && typeof kept.data !== 'string';

const isEmpty = ({ data }: Kept): boolean => data.length === 0;
