// Makes this process another user's, as a service manager does before it starts a server. What root has opened stays open.
import { stopCoverage } from 'node:v8';

/** @param groups supplementary ones */
export function runAs(uid: number, gid: number = uid, groups: readonly number[] = []): void {
  // It would be written at the end, where only root may write.
  stopCoverage();
  // Groups first: afterwards there is no right to change them.
  process.setgroups?.([...groups]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}
