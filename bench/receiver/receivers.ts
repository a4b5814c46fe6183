// The receivers that are compared, each a process on its own socket: ours, and the one in C, which is told how its senders behave.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { cpuSeconds } from '../cpu-time.js';
import { end, pidsOf, start, startModule, untilReady } from '../processes.js';
import { benchMessage } from './message.js';
import { compilePrograms, type Mode, type Passed, passHandovers } from './programs.js';

export const RECEIVERS = ['our receiver', 'receiver in C'] as const;
export type ReceiverName = (typeof RECEIVERS)[number];

export interface RunningReceivers {
  /** False: ours closes every connection after one handover. */
  readonly keepsConnections: boolean;
  /** Passes handovers for so many seconds. CPU time is the receiver's, in seconds. */
  run(name: ReceiverName, mode: Mode, seconds: number): Promise<Passed & { readonly cpuSeconds: number }>;
  close(): Promise<void>;
}

const MODULE = new URL('./receiver-process.js', import.meta.url);
const PROBE_SECONDS = 0.01;

/** Compiles the programs and starts the receivers. @param folder for programs, messages and sockets */
export async function startReceivers(folder: string): Promise<RunningReceivers> {
  const programs = compilePrograms(folder);
  const messages: Record<Mode, string> = { each: join(folder, 'each.scgi'), kept: join(folder, 'kept.scgi') };
  writeFileSync(messages.each, benchMessage(false));
  writeFileSync(messages.kept, benchMessage(true));

  const children: ChildProcess[] = [];
  const close = async (): Promise<void> => void (await Promise.all(children.map(end)));
  const inC = async (mode: Mode): Promise<Place> => {
    const path = join(folder, `c-${mode}.sock`);
    const child = start(programs.receiver, path, mode);
    children.push(child);
    await untilReady(child, () => listens(path));
    return { path, pids: pidsOf(child) };
  };
  const ours = async (): Promise<Place> => {
    const path = join(folder, 'ours.sock');
    const child = startModule(MODULE, [path], []);
    children.push(child);
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error('our receiver ended: its reason is above'))),
    ]);
    return { path, pids: pidsOf(child) };
  };

  try {
    const own = await ours();
    const places: Record<ReceiverName, Record<Mode, Place>> = {
      'our receiver': { each: own, kept: own },
      'receiver in C': { each: await inC('each'), kept: await inC('kept') },
    };
    const pass = ({ path }: Place, mode: Mode, seconds: number) =>
      passHandovers(programs, { path, message: messages[mode], mode, seconds });
    const probed = await pass(own, 'kept', PROBE_SECONDS);
    return {
      keepsConnections: probed !== undefined,
      run: async (name, mode, seconds) => {
        const place = places[name][mode];
        const before = cpuSeconds(place.pids);
        const passed = await pass(place, mode, seconds);
        if (passed === undefined) throw new Error(`${name} keeps no connection`);
        return { ...passed, cpuSeconds: cpuSeconds(place.pids) - before };
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Place {
  readonly path: string;
  readonly pids: readonly number[];
}

/** Whether something accepts there; it sees a connection that ends without a word. */
function listens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
