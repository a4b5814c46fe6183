// CPU time of other processes, from proc(5).
import { readFileSync } from 'node:fs';

/** USER_HZ: what /proc counts in, 100 on every Linux that Node.js runs on. */
const TICKS_PER_SECOND = 100;
/** Fields of /proc/PID/stat behind the command's closing parenthesis. */
const UTIME = 11;
const STIME = 12;

/** User and system time of all threads of the processes, in seconds, 10 ms fine. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[UTIME]) + Number(fields[STIME]);
  }
  return ticks / TICKS_PER_SECOND;
}
