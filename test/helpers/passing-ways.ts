// Every way in which a client comes to a router, and a handler that tells what became of it on the way.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { connectionInfo } from '@fdpass/backend-runtime';
import type { HandOverOptions } from './hand-over.js';

export const ways: Record<string, HandOverOptions> = {
  full: { kind: 'full' },
  'full, version 0': { kind: 'full', version: 0 },
  partial: { kind: 'partial' },
  'partial, version 0': { kind: 'partial', version: 0 },
  relay: { kind: 'relay' },
};

/** Answers with what it knows and what it read. */
export async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { handover, hops, earlyBytes, variables } = connectionInfo(request);
  // A client that breaks off gets no answer.
  const body = await text(request).catch(() => undefined);
  if (body === undefined) return;
  response.end(
    `${request.method} ${request.url} HTTP/${request.httpVersion} ${handover} ${hops} ` +
      `${JSON.stringify(variables)} ${earlyBytes} early: ${body}\n`,
  );
}
