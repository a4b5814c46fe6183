// `fdpass serve` with an application in a folder of its own, and a web server's port in front of it.
import { openGateway } from '@fdpass/backend-runtime/testing';
import type { ExecutionContext } from 'ava';
import { FdpassCommand, type RunOptions } from './fdpass-command.js';

const LISTENING = 'Server listening at';

/** Starts it and waits until it listens. */
export async function serve(
  t: ExecutionContext,
  args: readonly string[],
  options: RunOptions = {},
): Promise<FdpassCommand> {
  const command = FdpassCommand.start(t, ['serve', ...args], options);
  await command.printed(LISTENING);
  return command;
}

/** A web server's port in front of a socket. */
export async function openPort(t: ExecutionContext, socket: string): Promise<{ url: string; port: number }> {
  const gateway = await openGateway(socket, { kind: 'full' });
  t.teardown(() => gateway.close());
  return gateway;
}

/** What `path` is answered with, behind a web server of the test's. */
export async function get(t: ExecutionContext, socket: string, path = '/'): Promise<string> {
  const { url } = await openPort(t, socket);
  const response = await fetch(`${url}${path}`, { headers: { connection: 'close' } });
  t.is(response.status, 200);
  return response.text();
}

/** `app.get('/', ...)` that answers `text`, as a Fastify plugin. */
export const answering = (text: string): string =>
  `export default async (app) => { app.get('/', () => '${text}'); };\n`;
