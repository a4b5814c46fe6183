// CPU time of other processes, from /proc/PID/task/TID/schedstat (kernel file Documentation/scheduler/sched-stats.rst): nanoseconds,
// where /proc/PID/stat counts in hundredths of a second and would see nothing of a short round.
import { readdirSync, readFileSync } from 'node:fs';

/** User and system time of all threads of the processes, in seconds. A thread that has ended no longer counts. */
export function cpuSeconds(pids: readonly number[]): number {
  let nanoseconds = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) nanoseconds += threadNanoseconds(pid, thread);
  }
  return nanoseconds / 1e9;
}

function threadNanoseconds(pid: number, thread: string): number {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ', 1)[0]);
  } catch (error) {
    // ESRCH when it ended between the opening and the reading.
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return 0;
    throw error;
  }
}
