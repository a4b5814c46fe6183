// A handover server on a socket of its own, that keeps what it reports and logs.
import { deepStrictEqual } from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type HandoverServer, type HandoverServerOptions } from '@fdpass/backend-runtime';
import type { ListenPath } from '@fdpass/scgi-fdpass';
import type { ExecutionContext } from 'ava';

export interface Served {
  readonly server: HandoverServer;
  readonly path: string;
  /** Codes of `'handoverError'`, in order. */
  readonly errors: string[];
  /** What the logger got. */
  readonly lines: { facts: object; message: string }[];
}

export type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A folder that is removed with the test. */
export async function temporaryFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Not listening yet; destroyed with the test. */
export async function makeServer(
  t: ExecutionContext,
  options: HandoverServerOptions = {},
  handler: Handler = (_request, response) => response.end('served'),
): Promise<Served> {
  const path = join(await temporaryFolder(t), 'socket');
  const errors: string[] = [];
  const lines: Served['lines'] = [];
  const log = (facts: object, message: string): void => void lines.push({ facts, message });
  const server = createServer({ logger: { warn: log, error: log }, ...options }, (request, response) => {
    handler(request, response);
  });
  server.on('handoverError', ({ code }) => errors.push(code));
  t.teardown(async () => {
    await closed(server);
    // Each error is counted under its code, whatever the test looks at.
    const counted: Record<string, number> = {};
    for (const code of errors) counted[code] = (counted[code] ?? 0) + 1;
    deepStrictEqual(server.stats().errors, counted);
  });
  return { server, path, errors, lines };
}

export async function serve(
  t: ExecutionContext,
  options: HandoverServerOptions = {},
  handler?: Handler,
  listenOptions: Partial<ListenPath> = {},
): Promise<Served> {
  const served = await makeServer(t, options, handler);
  served.server.listen({ path: served.path, ...listenOptions });
  await once(served.server, 'listening');
  return served;
}

/** Destroys a server, and waits for the end. */
export async function closed(server: HandoverServer): Promise<void> {
  await new Promise<void>((resolve) => {
    server.once('close', resolve);
    server.close((error) => {
      if (error !== undefined) resolve();
    });
    server.destroy();
  });
}
