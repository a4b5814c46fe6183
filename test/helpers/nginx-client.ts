// Raw clients of an nginx under test: they end with the test, and know when what they sent has been read.
import { readFile } from 'node:fs/promises';
import type { ExecutionContext } from 'ava';
import type { Answer } from './answer-reader.js';
import type { Arrived } from './body-digest.js';
import { RawClient } from './raw-client.js';

/** A client that is closed with the test, if it is not before. */
export async function openClient(
  t: ExecutionContext,
  { host, port }: { host: string; port: number },
): Promise<RawClient> {
  const client = await RawClient.connect(port, host);
  t.teardown(() => client.close());
  return client;
}

/** The answer of `answerDigest`. */
export function arrivedIn({ status, body }: Answer): Arrived {
  if (status !== 200) throw new Error(`answered ${status}: ${body}`);
  return JSON.parse(body);
}

/** An end of a TCP connection as /proc/net/tcp writes it, see proc_net_tcp.txt of the kernel: the address in the host's order. */
function endpoint(address: string, port: number): string {
  const bytes = Buffer.from(address.split('.').map(Number)).reverse();
  return `${bytes.toString('hex')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
}

// One table for all who wait: with many connections on the machine it takes milliseconds.
let lastTable: Promise<string> = Promise.resolve('');
let nextTable: Promise<string> | undefined;

/** The kernel's IPv4 connections as they are at some time after the call. */
function connectionTable(): Promise<string> {
  nextTable ??= lastTable.then(() => {
    nextTable = undefined;
    lastTable = readFile('/proc/net/tcp', 'latin1');
    return lastTable;
  });
  return nextTable;
}

/** Bytes that wait for whoever has the other end of an IPv4 client, accepted already or not; undefined if nobody has. */
export async function unreadBytes({ socket }: RawClient): Promise<number | undefined> {
  const { remoteAddress = '', remotePort = 0, localAddress = '', localPort = 0 } = socket;
  const pair = `: ${endpoint(remoteAddress, remotePort)} ${endpoint(localAddress, localPort)} `;
  const table = await connectionTable();
  const at = table.indexOf(pair);
  if (at === -1) return undefined;
  const [, queues = ''] = table.slice(at + pair.length, at + pair.length + 20).split(' ');
  return Number.parseInt(queues.split(':')[1] ?? '', 16);
}

/** Resolves when the other side has read everything that was sent: what comes next is not in the same read. */
export async function untilRead(client: RawClient, timeoutMs = 10_000): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  while (!client.socket.destroyed && (await unreadBytes(client)) !== 0) {
    if (performance.now() > giveUpAt) throw new Error(`the other side did not read for ${timeoutMs} ms`);
  }
}
