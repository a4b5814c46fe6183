// Which processes an option means, by their user or group in the kernel's word (SO_PEERCRED).

import { integerOption } from './limits.js';
import type { PeerCredentials } from './native.js';

/** Processes: one whose user or whose group is listed is meant. With neither list, nobody. */
export interface PeerList {
  readonly uids?: readonly number[];
  readonly gids?: readonly number[];
}

const MAX_ID = 2 ** 32 - 1;

/**
 * Checks the list in an option, and copies it.
 * @throws SCGI_ERR_LIMIT_OPTION an id is not an integer from 0 to 4294967295
 */
export function peerList(option: string, { uids = [], gids = [] }: PeerList): Required<PeerList> {
  const checked = (name: string, ids: readonly number[]): number[] =>
    ids.map((id, nth) => integerOption(`${option}.${name}[${nth}]`, id, 0, MAX_ID));
  return { uids: checked('uids', uids), gids: checked('gids', gids) };
}

export const isListed = ({ uids, gids }: Required<PeerList>, { uid, gid }: PeerCredentials): boolean =>
  uids.includes(uid) || gids.includes(gid);
