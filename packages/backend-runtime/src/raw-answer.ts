// The answers given without an http.ServerResponse: when a handover is rejected before it becomes a request, or must not.
import { STATUS_CODES } from 'node:http';

/** Status codes an answer can be given with. */
export function isAnswerStatus(status: number): boolean {
  return Number.isInteger(status) && status >= 400 && status <= 599;
}

/**
 * A whole HTTP/1.1 answer with a one-line text body that says `Connection: close`.
 * @param headers added as they are; the caller vouches for them
 */
export function rawAnswer(status: number, headers: Readonly<Record<string, string>> = {}): string {
  const reason = STATUS_CODES[status] ?? 'Error';
  const body = `${status} ${reason}\n`;
  let head = `HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n`;
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
  return `${head}\r\n${body}`;
}

/** As http.Server answers what is no request: nothing but the status. */
export const bareAnswer = (status: number): string =>
  `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\nConnection: close\r\n\r\n`;
