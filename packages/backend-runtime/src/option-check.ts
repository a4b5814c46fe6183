// What the options of all parts have in common: how a wrong one is refused, and what a timer can take.
import { RuntimeError } from './errors.js';

/** Node.js's timers are 32 bits of milliseconds. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * @param name with its place, as `interfaces[2].tag`
 * @param wanted completes "must be ..."
 * @throws `BKR_ERR_OPTION`
 */
export function checkOption(name: string, isRight: boolean, wanted: string): void {
  if (!isRight) throw new RuntimeError('BKR_ERR_OPTION', name, wanted);
}

/**
 * What is said under a misspelt name is not said at all.
 * @throws `BKR_ERR_OPTION`
 */
export function checkMembers(name: string, value: object, members: readonly string[]): void {
  for (const member of Object.keys(value)) {
    checkOption(`${name}.${member}`, members.includes(member), `left out: there are ${members.join(', ')}`);
  }
}

/** @throws `BKR_ERR_OPTION` */
export function checkInteger(name: string, value: number, least: number, most: number): void {
  checkOption(
    name,
    Number.isInteger(value) && value >= least && value <= most,
    `an integer from ${least} to ${most}`,
  );
}
