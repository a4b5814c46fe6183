// Collectors of log lines in this process: what a datagram brought, whole and line by line.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { until } from './until.js';

const native = loadNative();

export class Collected {
  /** As latin1. */
  readonly datagrams: string[] = [];

  /** Of whole datagrams; each ends with a line break. */
  get lines(): string[] {
    return this.datagrams.join('').split('\n').slice(0, -1);
  }

  add(bytes: Uint8Array): void {
    this.datagrams.push(Buffer.from(bytes).toString('latin1'));
  }

  /** Resolves with the lines when there are so many. */
  async wait(count: number): Promise<string[]> {
    await until(`${count} lines have come (${this.lines.length} have)`, () => this.lines.length >= count);
    return this.lines;
  }
}

export interface Collector extends Collected {
  /** For the option `to`. */
  readonly to: string;
  close(): Promise<void>;
}

/** @param port 0 for any */
export async function udpCollector(t: ExecutionContext, host = '127.0.0.1', port = 0): Promise<Collector> {
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 << 20 });
  const collected = new Collected();
  socket.on('message', (bytes) => collected.add(bytes));
  socket.bind(port, host);
  await once(socket, 'listening');
  const to = `udp://${host.includes(':') ? `[${host}]` : host}:${socket.address().port}`;
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    socket.close();
    await once(socket, 'close');
  };
  t.teardown(close);
  return Object.assign(collected, { to, close });
}

/**
 * @param path may begin with NUL: an abstract one
 * @param isReading false: it takes nothing before `resume()`
 */
export function unixCollector(
  t: ExecutionContext,
  path: string,
  isReading = true,
): Collector & { resume(): void } {
  const { SOCK_DGRAM, READABLE } = native.constants;
  const fd = native.bindUnix(path, 0o600, SOCK_DGRAM);
  const collected = new Collected();
  const target = Buffer.alloc(1 << 18);
  const poller = new native.FdPoller(fd, () => {
    for (;;) {
      const length = native.read(fd, target);
      if (length === -1) return;
      collected.add(target.subarray(0, length));
    }
  });
  const resume = (): void => poller.start(READABLE);
  if (isReading) resume();
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    poller.close();
    native.closeFd(fd);
  };
  t.teardown(close);
  return Object.assign(collected, { to: `unix:${path.replace('\0', '@')}`, close, resume });
}
