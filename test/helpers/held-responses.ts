// Responses that a test ends when it wants to.
import type { ServerResponse } from 'node:http';
import { until } from './until.js';

/** A request listener that keeps what it gets. */
export class Held {
  readonly responses: ServerResponse[] = [];
  readonly handler = (_request: unknown, response: ServerResponse): void =>
    void this.responses.push(response);
  async next(count = 1): Promise<ServerResponse> {
    await until(`${count} requests came`, () => this.responses.length >= count);
    return this.responses[count - 1] as ServerResponse;
  }
}
