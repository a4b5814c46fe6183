// What the addon's receiving side costs in instructions and system calls, counted by callgrind from the wake-up of its listener to the
// end of the batch, with what JavaScript asks of the addon in between.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Mode } from '../receiver/programs.js';
import { costOf, type ObjectCost } from './callgrind.js';

const DRIVER = fileURLToPath(new URL('./receiver-load.js', import.meta.url));
const ADDON = 'fdpass_native.node';
/** Entered once in a wake-up: everything the listener does is below it. */
const WAKE_UP = 'fdpass::FdListener::OnReadable*';
const BURSTS = 64;
/** As in the driver. */
const BURST = 32;
const KEEPS_NONE = 3;
const execute = promisify(execFile);

/** For each handover; undefined if the receiver keeps no connection. @throws when nothing was counted */
export async function instructionsOf(mode: Mode): Promise<ObjectCost | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-guard-'));
  const profile = join(folder, 'callgrind.out');
  const valgrind = ['--quiet', '--tool=callgrind', '--collect-atstart=no', `--toggle-collect=${WAKE_UP}`];
  try {
    await execute(
      'valgrind',
      [...valgrind, `--callgrind-out-file=${profile}`, process.execPath, DRIVER, mode, String(BURSTS)],
      // What the dynamic linker does at the first call of each function is no cost of a handover.
      { env: { ...process.env, LD_BIND_NOW: '1' } },
    );
    const { instructions, systemCalls } = costOf(readFileSync(profile, 'latin1'), ADDON);
    if (instructions === 0) {
      throw new Error(
        `callgrind counted nothing below ${WAKE_UP} in ${ADDON}: is its name another, or stripped?`,
      );
    }
    const handovers = BURSTS * BURST;
    return { instructions: instructions / handovers, systemCalls: systemCalls / handovers };
  } catch (error) {
    if ((error as { code?: unknown }).code === KEEPS_NONE) return undefined;
    throw error;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
