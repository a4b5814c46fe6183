// What handlers may ask about their connection. Two sources are kept apart: what the sender says (`client`, `variables`) and
// what the kernel says (`peer`, `local`, `ingress`).
import type { IncomingMessage } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { Handover, HandoverKind } from '@fdpass/scgi-fdpass';
import { RuntimeError } from './errors.js';
import { type KernelCipher, kernelCipher } from './kernel-tls.js';
import { native, type SocketAddress, type TcpInfo } from './native.js';

export interface IngressInterface {
  /** The interface the client came in by, as the kernel numbers it. */
  readonly ifindex: number;
  /** Undefined if there is no interface of that number any more. */
  readonly name: string | undefined;
  /** The source tag that a middleware has given it (`interfaceStats`); undefined without one. */
  readonly tag: string | undefined;
}

export interface TlsFacts {
  /** The kernel encrypts what we write (kTLS TX); false in a relay, where the web server does. */
  readonly kernelTx: boolean;
  /** The kernel decrypts what we read (kTLS RX); false where the web server decrypts and passes the bytes on. */
  readonly kernelRx: boolean;
  /** `TLSv1.2` or `TLSv1.3`; undefined in a relay and once the connection is closed. */
  readonly version: string | undefined;
  /** The kernel's name of it, e.g. `AES-128-GCM`; undefined as `version` is. */
  readonly cipher: string | undefined;
  /**
   * Whether the client's stream ended without a close_notify: what it sent may have been cut. Known in a full handover only; false
   * as long as it goes on.
   */
  readonly truncated: boolean;
}

/** Facts of one connection as one request on it sees them. */
export interface ConnectionInfo {
  readonly handover: HandoverKind;
  /** As the sender says, after realip or PROXY protocol. */
  readonly client: SocketAddress;
  /** As the kernel says; undefined in a relay (there is no client socket here) and once the connection is closed. */
  readonly peer: SocketAddress | undefined;
  /** The address the client connected to: the kernel's word, in a relay the sender's. */
  readonly local: SocketAddress | undefined;
  /** Undefined in a relay, for UNIX clients, and once the connection is closed. */
  readonly ingress: IngressInterface | undefined;
  /** Undefined for plain connections. */
  readonly tls: TlsFacts | undefined;
  /** The process that handed over, as of connect (SO_PEERCRED); behind one of `trustedRouters` the first one, by that router's word. */
  readonly sender: { readonly pid: number; readonly uid: number; readonly gid: number };
  /** Routers the connection was passed on by; 0 if it came from its web server directly. */
  readonly hops: number;
  /** What the sender added beyond the request and the protocol: `fd_pass_param`, `scgi_param`. Null prototype. */
  readonly variables: Readonly<Record<string, string>>;
  /** Bytes the sender had read past the first request's head. */
  readonly earlyBytes: number;
  /** 1 for the request that was handed over, 2 for the next on the same connection, ... */
  readonly requestNumber: number;
}

/** SCGI headers that belong to the request or the protocol; everything else the operator added. */
const PROTOCOL_HEADERS = new Set([
  'CONTENT_LENGTH',
  'CONTENT_TYPE',
  'DOCUMENT_ROOT',
  'DOCUMENT_URI',
  'FD_PASS_VERSION',
  'FD_PASS_KEEPALIVE',
  'FD_PASS_RELAY',
  'FD_PASS_VIA',
  'FD_PASS_VIA_GID',
  'FD_PASS_VIA_PID',
  'FD_PASS_VIA_UID',
  'FD_PASS_VIA_VERSION',
  'GATEWAY_INTERFACE',
  'HTTPS',
  'KTLS_RX',
  'PATH_INFO',
  'QUERY_STRING',
  'REMOTE_ADDR',
  'REMOTE_PORT',
  'REQUEST_METHOD',
  'REQUEST_SCHEME',
  'REQUEST_URI',
  'SCGI',
  'SCRIPT_NAME',
  'SERVER_ADDR',
  'SERVER_NAME',
  'SERVER_PORT',
  'SERVER_PROTOCOL',
  'SERVER_SOFTWARE',
]);

/** What is known of one connection; each fact is read when it is first asked for, and kept. */
export class ConnectionFacts {
  /** The sender's word, which is compared with the kernel's at adoption. */
  readonly isEncrypted: boolean;
  /** Requests begun on this connection. */
  requestNumber = 0;
  readonly #handover: Handover;
  #descriptor: () => number | undefined;
  #client: SocketAddress | undefined;
  #cipher: KernelCipher | undefined;
  #isTruncated = false;
  #peer: SocketAddress | undefined;
  #local: SocketAddress | undefined;
  #ifindex: number | undefined;
  #ingress: IngressInterface | undefined;
  #sourceTag: string | undefined;
  #variables: Readonly<Record<string, string>> | undefined;

  /** @param descriptor the client's descriptor, borrowed for a call at a time; undefined when there is none (any more) */
  constructor(handover: Handover, descriptor: () => number | undefined) {
    this.#handover = handover;
    this.#descriptor = descriptor;
    this.isEncrypted = handover.headers.get('HTTPS')?.toLowerCase() === 'on';
  }

  /** The descriptor has another owner now, as in the constructor. */
  set descriptor(descriptor: () => number | undefined) {
    this.#descriptor = descriptor;
  }

  get client(): SocketAddress {
    this.#client ??= addressFrom(this.#handover.headers, 'REMOTE_ADDR', 'REMOTE_PORT') ?? UNKNOWN;
    return this.#client;
  }

  /** As SocketFacts has it. */
  get encrypted(): boolean {
    return this.isEncrypted;
  }

  get tls(): TlsFacts | undefined {
    if (!this.isEncrypted) return undefined;
    const { kind } = this.#handover;
    this.#cipher ??= kind === 'relay' ? undefined : this.#ask(kernelCipher);
    return {
      kernelTx: kind !== 'relay',
      kernelRx: kind === 'full',
      version: this.#cipher?.version,
      cipher: this.#cipher?.cipher,
      truncated: this.#isTruncated,
    };
  }

  /** The client's stream has ended without a close_notify. */
  noteTruncation(): void {
    this.#isTruncated = true;
  }

  get handover(): HandoverKind {
    return this.#handover.kind;
  }

  get sender(): ConnectionInfo['sender'] {
    return this.#handover.sender;
  }

  get hops(): number {
    return this.#handover.hops;
  }

  get earlyBytes(): number {
    return this.#handover.earlyBytes.length;
  }

  get peer(): SocketAddress | undefined {
    this.#peer ??= this.#ask((fd) => native().peerAddress(fd));
    return this.#peer;
  }

  get local(): SocketAddress | undefined {
    this.#local ??=
      this.#handover.kind === 'relay'
        ? addressFrom(this.#handover.headers, 'SERVER_ADDR', 'SERVER_PORT')
        : this.#ask((fd) => native().localAddress(fd));
    return this.#local;
  }

  /** 0 where the kernel does not know it; undefined as `ingress` is. */
  get ifindex(): number | undefined {
    this.#ifindex ??= this.#ask((fd) => native().ingressIfindex(fd));
    return this.#ifindex;
  }

  get ingress(): IngressInterface | undefined {
    const { ifindex } = this;
    if (ifindex === undefined || ifindex === 0) return undefined;
    this.#ingress ??= { ifindex, name: interfaceName(ifindex), tag: this.#sourceTag };
    return this.#ingress;
  }

  /** Of the interface the client came in by, as a middleware names it; undefined before that. */
  get sourceTag(): string | undefined {
    return this.#sourceTag;
  }

  set sourceTag(tag: string | undefined) {
    this.#sourceTag = tag;
    this.#ingress = undefined;
  }

  /** The kernel's figures of the client's connection as they are now; undefined as `peer` is. */
  get tcpInfo(): TcpInfo | undefined {
    return this.#ask((fd) => native().tcpInfo(fd));
  }

  /**
   * Bytes that came from the client (0) and went to it (1), in `target`: what is still to be sent counts, what was sent again does not.
   * @returns false, and nothing is written, if there is no client's TCP socket (any more)
   */
  readWireBytes(target: Float64Array): boolean {
    return this.#ask((fd) => native().tcpBytes(fd, target)) === true;
  }

  get variables(): Readonly<Record<string, string>> {
    if (this.#variables === undefined) {
      const variables: Record<string, string> = Object.create(null);
      for (const [name, value] of this.#handover.headers.entries()) {
        if (!name.startsWith('HTTP_') && !PROTOCOL_HEADERS.has(name)) variables[name] ??= value;
      }
      // One object for all requests of the connection.
      this.#variables = Object.freeze(variables);
    }
    return this.#variables;
  }

  /** The facts as plain data, for one request. */
  snapshot(requestNumber: number): ConnectionInfo {
    return {
      handover: this.handover,
      client: this.client,
      peer: this.peer,
      local: this.local,
      ingress: this.ingress,
      tls: this.tls,
      sender: this.sender,
      hops: this.hops,
      variables: this.variables,
      earlyBytes: this.earlyBytes,
      requestNumber,
    };
  }

  /** A client that is gone by now makes the kernel refuse the answer: then the fact is unknown, not an error. */
  #ask<T>(question: (fd: number) => T): T | undefined {
    const fd = this.#descriptor();
    if (fd === undefined) return undefined;
    try {
      return question(fd);
    } catch {
      return undefined;
    }
  }
}

const interfaceName = (ifindex: number): string | undefined =>
  native()
    .interfaces()
    .find(({ index }) => index === ifindex)?.name;

const PORT = /^\d{1,5}$/;
const UNKNOWN: SocketAddress = { family: 'unix', address: '', port: 0 };

/** An address as the sender says it, from two SCGI headers; undefined if there is none, or none of an IP client. */
export function addressFrom(
  headers: Handover['headers'],
  addressName: string,
  portName: string,
): SocketAddress | undefined {
  const address = headers.get(addressName);
  const version = isIP(address ?? '');
  if (address === undefined || version === 0) return undefined;
  const port = headers.get(portName) ?? '';
  return {
    family: version === 4 ? 'IPv4' : 'IPv6',
    address,
    port: PORT.test(port) && Number(port) <= 0xffff ? Number(port) : 0,
  };
}

// On the objects themselves: a WeakMap entry for each would burden the garbage collector.
const FACTS = Symbol('connectionFacts');
type KnownSocket = Socket & { [FACTS]?: ConnectionFacts };
const REQUEST_NUMBER = Symbol('requestNumber');
type NumberedRequest = (IncomingMessage | Socket) & { [REQUEST_NUMBER]?: number };

/** @internal Makes {@link connectionInfo} know a socket. */
export function registerSocket(socket: Socket, facts: ConnectionFacts): void {
  (socket as KnownSocket)[FACTS] = facts;
}

/** @internal Counts a request on its connection. */
export function registerRequest(request: IncomingMessage, facts: ConnectionFacts): number {
  const requestNumber = ++facts.requestNumber;
  (request as NumberedRequest)[REQUEST_NUMBER] = requestNumber;
  return requestNumber;
}

/** @internal 1 for the request that was handed over, 2 for the next on the same connection, ...; 0 for one that was not registered */
export const requestNumberOf = (request: IncomingMessage): number =>
  (request as NumberedRequest)[REQUEST_NUMBER] ?? 0;

/** @internal The facts themselves; undefined for what did not come by handover. */
export const factsOf = (of: IncomingMessage | Socket): ConnectionFacts | undefined =>
  (('httpVersion' in of ? of.socket : of) as KnownSocket)[FACTS];

/**
 * The facts of the connection a request came by, or of a socket itself (then `requestNumber` is the latest request's).
 * @throws `BKR_ERR_NO_CONNECTION_INFO` for a request that did not come by handover
 */
export function connectionInfo(of: IncomingMessage | Socket): ConnectionInfo {
  const facts = factsOf(of);
  if (facts === undefined) throw new RuntimeError('BKR_ERR_NO_CONNECTION_INFO');
  return facts.snapshot((of as NumberedRequest)[REQUEST_NUMBER] ?? facts.requestNumber);
}
