// Tells the log of what ends on one connection: each answer, and the connection itself if it was upgraded.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { HandoverObserver, IncomingHandover } from '../middleware.js';
import type { TcpInfo } from '../native.js';
import { openAccount } from '../request-account.js';
import { UpgradedBytes } from '../upgraded-bytes.js';
import type { UpgradedConnection } from './log-record.js';

/** Who writes the lines. */
export interface LineWriter {
  readonly usesTcpInfo: boolean;
  onResponse(tail: ConnectionTail, request: IncomingMessage, response: ServerResponse): void;
  onUpgraded(tail: ConnectionTail, upgraded: UpgradedConnection): void;
}

export class ConnectionTail implements HandoverObserver {
  readonly handover: IncomingHandover;
  /** Its number, from 1. */
  readonly connection: number;
  readonly #writer: LineWriter;
  #upgraded: Upgraded | undefined;
  #tcpInfo: TcpInfo | undefined;

  constructor(writer: LineWriter, handover: IncomingHandover, connection: number) {
    this.#writer = writer;
    this.handover = handover;
    this.connection = connection;
  }

  onRequest(request: IncomingMessage, response: ServerResponse): void {
    openAccount(request, response);
  }

  onResponse(request: IncomingMessage, response: ServerResponse): void {
    this.#writer.onResponse(this, request, response);
  }

  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#upgraded = new Upgraded(request, socket, head.length);
  }

  onClosing(): void {
    if (this.#upgraded !== undefined && this.#writer.usesTcpInfo) this.#tcpInfo = this.handover.info.tcpInfo;
  }

  onClose(): void {
    if (this.#upgraded === undefined) return;
    this.#writer.onUpgraded(this, this.#upgraded.end(this.#tcpInfo));
    this.#upgraded = undefined;
  }
}

type Write = (this: Duplex, ...args: unknown[]) => unknown;

/** Longer heads are none that an upgrade has. */
const MAX_HEAD_CHARACTERS = 16 * 1024;

class Upgraded {
  readonly #request: IncomingMessage;
  readonly #socket: Duplex;
  readonly #bytes: UpgradedBytes;
  #head = '';
  #isHeadWhole = false;
  #unwatch = (): void => {};

  /** @param earlyBytes of the client's, behind the request */
  constructor(request: IncomingMessage, socket: Duplex, earlyBytes: number) {
    this.#request = request;
    this.#socket = socket;
    this.#bytes = new UpgradedBytes(socket, earlyBytes);
    this.#watchHead();
  }

  end(tcpInfo: TcpInfo | undefined): UpgradedConnection {
    const { startedMs, received, sent } = this.#bytes;
    const head = this.#head;
    return {
      request: this.#request,
      startedMs,
      // An application that does not want the upgrade says so by another status.
      status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 101),
      head,
      requestBytes: received,
      responseBytes: Math.max(0, sent - head.length),
      tcpInfo,
    };
  }

  /** The answer is written to the socket itself: its head is what comes first. */
  #watchHead(): void {
    const socket = this.#socket as unknown as Record<'write' | 'end', Write>;
    const unwatch = (['write', 'end'] as const).map((name) => {
      // Another log may watch as well.
      const before = Object.hasOwn(socket, name) ? socket[name] : undefined;
      const add = (chunk: unknown, encoding: unknown): void => this.#addToHead(chunk, encoding);
      const watched: Write = function (this: Duplex, ...args: unknown[]): unknown {
        add(args[0], args[1]);
        return (before ?? (Object.getPrototypeOf(socket) as typeof socket)[name]).apply(this, args);
      };
      socket[name] = watched;
      return (): void => {
        if (socket[name] !== watched) return;
        if (before === undefined) delete (socket as Partial<typeof socket>)[name];
        else socket[name] = before;
      };
    });
    this.#unwatch = () => {
      for (const each of unwatch) each();
    };
  }

  #addToHead(chunk: unknown, encoding: unknown): void {
    if (this.#isHeadWhole) return;
    if (typeof chunk === 'string') this.#head += Buffer.from(chunk, asEncoding(encoding)).toString('latin1');
    else if (chunk instanceof Uint8Array) this.#head += Buffer.from(chunk).toString('latin1');
    const end = this.#head.indexOf('\r\n\r\n');
    this.#isHeadWhole = end !== -1 || this.#head.length > MAX_HEAD_CHARACTERS;
    if (end !== -1) this.#head = this.#head.slice(0, end + 4);
    if (this.#isHeadWhole) this.#unwatch();
  }
}

const asEncoding = (encoding: unknown): BufferEncoding =>
  typeof encoding === 'string' && Buffer.isEncoding(encoding) ? encoding : 'utf8';
