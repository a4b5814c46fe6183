// Decides which handovers are answered without a socket, and keeps an eye on them: handlers that take their time, connections
// that wait for their next request.
import type { Handover } from '@fdpass/scgi-fdpass';
import type { Connection } from './connection.js';
import type { ConnectionFacts } from './connection-info.js';
import type { HandoverSocket } from './handover-socket.js';
import { isPlain } from './kernel-tls.js';
import { LeanConnection, type LeanHost, type LeanServer } from './lean-connection.js';
import { leanHead } from './lean-head.js';
import type { ResolvedOptions } from './options.js';
import { Parking } from './parking.js';

export class LeanIntake {
  readonly #host: LeanHost;
  /** Since the last turn of the event loop. */
  #begun: LeanConnection[] = [];

  constructor(server: LeanServer, options: ResolvedOptions, onClosed: LeanHost['onClosed']) {
    this.#host = { server, parking: new Parking(), options, onClosed };
  }

  /**
   * Serves a handover if its request is simple enough: then its descriptor is owned here.
   * @param serve makes the connection of a socket
   * @returns false if it has to go the ordinary way; nothing was touched
   */
  take(
    handover: Handover,
    facts: ConnectionFacts,
    serve: (socket: HandoverSocket, writeFd: number) => Connection,
  ): boolean {
    if (handover.kind !== 'full' || handover.version !== 1 || handover.earlyBytes.length > 0) return false;
    if (facts.isEncrypted || !this.#host.server.allowsLean) return false;
    const head = leanHead(handover.headers);
    if (head === undefined) return false;
    const { fd } = handover.passedFd;
    // Node.js takes the lowest numbers for the standard streams; and what is encrypted in spite of its sender is an error.
    if (fd <= 2 || !isPlain(fd)) return false;
    const lean = new LeanConnection(this.#host, handover, facts);
    facts.descriptor = () => lean.clientFd;
    if (this.#begun.length === 0) setImmediate(() => this.#watch());
    this.#begun.push(lean);
    lean.begin(serve(lean.socket, fd), head);
    return true;
  }

  /** Closes those that wait for their next request. */
  closeIdle(): void {
    for (const connection of this.#host.parking.connections()) {
      if (!connection.hasNextRequest) connection.closeIfIdle();
    }
  }

  /** Closes all of them, also in the middle of an answer. */
  closeAll(): void {
    for (const connection of [...this.#host.parking.connections(), ...this.#begun]) connection.destroy();
  }

  /** The server has stopped: nothing is left. */
  stop(): void {
    this.#host.parking.close();
  }

  /** Most handlers have answered by now. */
  #watch(): void {
    const begun = this.#begun;
    this.#begun = [];
    for (const lean of begun) lean.watch();
  }
}
