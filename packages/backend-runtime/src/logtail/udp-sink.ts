// Datagrams by UDP, to an address that is looked up once.
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { DatagramResult, DatagramSink } from './datagram-sink.js';

/** Of an IP header and a UDP header. */
const HEADER_BYTES = { 4: 28, 6: 48 } as const;
/** What passes through most tunnels on the way: nobody knows the path beyond the first link. */
const SAFE_BYTES = { 4: 1452, 6: 1432 } as const;
const MAX_PACKET_BYTES = { 4: 0xffff, 6: 0xffff + 40 } as const;

/** @throws what the resolver and the kernel throw */
export async function openUdpSink(host: string, port: number): Promise<DatagramSink> {
  const { address, family } = await lookup(host);
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
  try {
    socket.connect(port, address);
    await once(socket, 'connect');
  } catch (error) {
    socket.close();
    throw error;
  }
  return new UdpSink(socket, family === 6 ? 6 : 4);
}

class UdpSink implements DatagramSink {
  readonly maxDatagramBytes: number;
  readonly #socket: Socket;
  /** The collector's host said that nobody listens there. */
  #isRefused = false;
  #isClosed = false;

  constructor(socket: Socket, version: 4 | 6) {
    this.#socket = socket;
    this.maxDatagramBytes = pathBytes(socket.address().address, version);
    // An answer to what was sent, which came too late for the call that sent it. There is nothing to read.
    socket.on('error', () => {
      this.#isRefused = true;
    });
    socket.unref();
  }

  send(datagram: Uint8Array, onDone: (result: DatagramResult) => void): void {
    if (this.#isClosed) return onDone('dropped_error');
    this.#socket.send(datagram, (error) => {
      if (error !== null) return onDone('dropped_error');
      // A refusal on this machine is heard in the next turn of the loop. A later one is the next datagram's, as the kernel has it.
      setImmediate(() => setImmediate(() => onDone(this.#takeRefusal() ? 'dropped_error' : 'sent')));
    });
  }

  #takeRefusal(): boolean {
    const isRefused = this.#isRefused;
    this.#isRefused = false;
    return isRefused;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
  }
}

/** By the MTU of the interface that the kernel has chosen. */
function pathBytes(localAddress: string, version: 4 | 6): number {
  const [name, addresses] =
    Object.entries(networkInterfaces()).find(([, each]) =>
      each?.some(({ address }) => address === localAddress),
    ) ?? [];
  const mtuBytes = name === undefined ? undefined : interfaceMtuBytes(name);
  const isInternal = addresses?.some(({ internal }) => internal) === true;
  const most = isInternal ? MAX_PACKET_BYTES[version] - HEADER_BYTES[version] : SAFE_BYTES[version];
  return mtuBytes === undefined ? SAFE_BYTES[version] : Math.min(most, mtuBytes - HEADER_BYTES[version]);
}

function interfaceMtuBytes(name: string): number | undefined {
  try {
    return Number(readFileSync(`/sys/class/net/${name}/mtu`, 'latin1')) || undefined;
  } catch {
    return undefined;
  }
}
