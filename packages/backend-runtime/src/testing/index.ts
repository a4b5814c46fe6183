// Real handovers in an application's own tests, without a web server: a gateway listens on a TCP port of loopback and brings
// its clients to a handover server in the kind of handover asked for. Any HTTP or WebSocket client can be pointed at it.

import type { Server } from 'node:http';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import { RuntimeError } from '../errors.js';
import { createFrontDoor } from '../front-door/index.js';
import { PassingGateway } from './passing-gateway.js';
import { RelayGateway } from './relay-gateway.js';

export interface GatewayOptions {
  kind: HandoverKind;
  /**
   * 1: a sender of ours. 0: one like the public nginx module, which drops what it read past the head, and waits for no
   * acknowledgement. Relays have no versions. @default 1
   */
  version?: 0 | 1;
  /** SCGI headers beside the request's, as an operator adds them (`fd_pass_param`, `scgi_param`). @default none */
  variables?: Readonly<Record<string, string>>;
}

/** Stands where the web server would be. */
export interface Gateway {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Stops listening and closes what it still holds; clients that were handed over are not touched. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens a gateway to a listening server, or to the UNIX socket of one.
 * @param target a listening `createServer()` server (Fastify's is `app.server`), or its path
 * @throws `BKR_ERR_OPTION` if the server does not listen
 */
export async function openGateway(target: Server | string, options: GatewayOptions): Promise<Gateway> {
  const path = typeof target === 'string' ? target : target.address();
  if (typeof path !== 'string')
    throw new RuntimeError('BKR_ERR_OPTION', 'target', 'a server that listens on a UNIX socket');
  const { kind, version = 1, variables = {} } = options;
  if (kind === 'relay') return RelayGateway.open(path, variables);
  if (kind === 'full' && version === 1 && Object.keys(variables).length === 0) return openFrontDoor(path);
  return PassingGateway.open(path, { kind, version, variables });
}

/** The product's own sender is the best stand-in for itself. */
async function openFrontDoor(path: string): Promise<Gateway> {
  const door = createFrontDoor({ listeners: [{ port: 0, to: path }] });
  await door.listen();
  const port = door.addresses()[0]?.port ?? 0;
  return { url: `http://127.0.0.1:${port}`, port, close: () => door.destroy() };
}
