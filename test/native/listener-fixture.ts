// An FdListener on a socket of its own, and a plain sender for it: what came is kept as readable parts.
import { readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type FdListener, type FdListenerOptions, loadNative, RECORD, RECORD_FLAG } from '#native/index.js';

const native = loadNative();

export const roomyOptions: FdListenerOptions = {
  maxBatch: 64,
  messageTimeoutMs: 60_000,
  maxPendingConnections: 1024,
  minFreeDescriptors: 16,
};

/** One record of a batch. */
export interface Part {
  connection: number;
  bytes: string;
  flags: readonly (keyof typeof RECORD_FLAG)[];
  errno: number;
  fds: readonly number[];
  /** What each of `fds` refers to, as /proc names it. */
  targets: readonly string[];
  facts: number;
  pid: number;
  uid: number;
  gid: number;
}

/** What an open descriptor refers to: equal for a descriptor and its copy. */
export const targetOf = (fd: number): string => readlinkSync(`/proc/self/fd/${fd}`);

export function readParts(bytes: Buffer, records: Int32Array): Part[] {
  const parts: Part[] = [];
  for (let at = 0; at < records.length; at += RECORD.STRIDE) {
    const field = (name: Exclude<keyof typeof RECORD, 'STRIDE'>): number => records[at + RECORD[name]]!;
    const fds = [field('FD_0'), field('FD_1')].slice(0, field('FD_COUNT'));
    const flags = Object.entries(RECORD_FLAG).filter(([, bit]) => (field('FLAGS') & bit) !== 0);
    parts.push({
      connection: field('CONNECTION'),
      bytes: bytes.toString('latin1', field('OFFSET'), field('OFFSET') + field('LENGTH')),
      flags: flags.map(([name]) => name as keyof typeof RECORD_FLAG),
      errno: field('ERRNO'),
      fds,
      targets: fds.map(targetOf),
      facts: field('FD_0_FACTS'),
      pid: field('PID'),
      uid: field('UID') >>> 0,
      gid: field('GID') >>> 0,
    });
  }
  return parts;
}

export interface Fixture {
  readonly path: string;
  readonly listener: FdListener;
  readonly batches: readonly (readonly Part[])[];
  readonly parts: readonly Part[];
  /** Connects; closed with the test unless closed before. */
  connect(): Sender;
  /** Everything that came on a connection, as one string. */
  bytesOf(connection: number): string;
}

/** The sending end of one UNIX connection. */
export class Sender {
  readonly fd: number;
  #closed = false;
  constructor(path: string) {
    this.fd = native.connectUnix(path);
  }
  send(bytes: string, ...fds: number[]): void {
    const data = Buffer.from(bytes, 'latin1');
    const sent = fds.length === 0 ? native.write(this.fd, data) : native.sendFds(this.fd, data, fds);
    if (sent !== data.length) throw new Error(`sent ${sent} of ${data.length} bytes`);
  }
  /** One byte of the answer: -1 if there is none yet, `undefined` at the end. */
  reply(): number | undefined {
    const target = Buffer.alloc(1);
    const count = native.read(this.fd, target);
    return count === 1 ? target[0] : count === 0 ? undefined : -1;
  }
  close(): void {
    if (!this.#closed) native.closeFd(this.fd);
    this.#closed = true;
  }
}

/** What a test does with the parts of one batch; descriptors are closed when it returns. @default nothing */
export type OnParts = (parts: readonly Part[], listener: FdListener) => void;

export async function openListener(
  t: ExecutionContext,
  options: Partial<FdListenerOptions> = {},
  onParts: OnParts = () => {},
): Promise<Fixture> {
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-listener-'));
  const path = join(folder, 'socket');
  const fd = native.bindUnix(path, 0o600);
  native.listen(fd, 4096);
  const batches: Part[][] = [];
  const senders: Sender[] = [];
  const listener = new native.FdListener(fd, { ...roomyOptions, ...options }, (bytes, records) => {
    const parts = readParts(bytes, records);
    batches.push(parts);
    try {
      onParts(parts, listener);
    } finally {
      for (const part of parts) for (const passed of part.fds) native.closeFd(passed);
    }
  });
  t.teardown(async () => {
    listener.close();
    for (const sender of senders) sender.close();
    await rm(folder, { recursive: true });
  });
  return {
    path,
    listener,
    batches,
    get parts() {
      return batches.flat();
    },
    connect() {
      const sender = new Sender(path);
      senders.push(sender);
      return sender;
    },
    bytesOf: (connection) =>
      batches
        .flat()
        .filter((part) => part.connection === connection)
        .map((part) => part.bytes)
        .join(''),
  };
}

/** A connected pair, both ends closed with the test: something to pass. */
export function pair(t: ExecutionContext): [number, number] {
  const ends = native.socketpair();
  t.teardown(() => {
    for (const end of ends) native.closeFd(end);
  });
  return ends;
}

/** Lets the event loop turn `turns` times: long enough for anything that spins to show. */
export async function turnLoop(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
}
